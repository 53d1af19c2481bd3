// Puts the bundle viewer on the node Inspect Bundle.

import { app } from "/scripts/app.js";
import { api } from "/scripts/api.js";
import { findNode } from "./graph_nodes.js";
import { Viewer } from "./viewer/viewer.js";

const NODE = "Bundle3D_InspectBundle";
const OUTPUT = "bundle3d_views";
const MINIMUM_HEIGHT = 420;
const START_SIZE = [520, 640];

const urlOf = (file) => api.apiURL(`/view?${new URLSearchParams(file)}`);

app.registerExtension({
  name: "Bundle3D.InspectBundle",

  nodeCreated(node) {
    if (node.comfyClass !== NODE) return;
    const viewer = new Viewer();
    const widget = node.addDOMWidget("viewer", "bundle3d_viewer", viewer.element, {
      serialize: false,
      getMinHeight: () => MINIMUM_HEIGHT,
    });
    widget.serialize = false;
    node.setSize([Math.max(node.size[0], START_SIZE[0]), Math.max(node.size[1], START_SIZE[1])]);
    const show = (output) => {
      const batch = output?.[OUTPUT];
      if (!batch?.length || batch[0].atlas.filename === node.bundle3dShown) return;
      node.bundle3dShown = batch[0].atlas.filename;
      viewer.show(batch, urlOf).catch(() => (viewer.readout.textContent = "Run the node again to see the bundle."));
    };
    const onExecuted = node.onExecuted;
    node.onExecuted = function (output) {
      onExecuted?.call(this, output);
      show(output);
    };
    node.bundle3dShow = show;
  },

  // Results that come back with a reopened workflow; they are listed by the id of their node.
  onNodeOutputsUpdated(outputs) {
    for (const [id, output] of Object.entries(outputs)) {
      const node = output?.[OUTPUT] && findNode(id);
      if (node?.comfyClass === NODE) node.bundle3dShow(output);
    }
  },
});
