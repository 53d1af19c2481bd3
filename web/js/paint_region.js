// Puts the painter on the node Paint Region; what is painted goes as PNG into ComfyUI's input folder.

import { app } from "/scripts/app.js";
import { api } from "/scripts/api.js";
import { executionId, findNode } from "./graph_nodes.js";
import { Painter } from "./painter/painter.js";

const NODE = "Bundle3D_PaintRegion";
const OUTPUT = "bundle3d_picture";
const FOLDER = "bundle3d";
const MINIMUM_HEIGHT = 300;
const START_SIZE = [620, 500];

const urlOf = (file) => api.apiURL(`/view?${new URLSearchParams(file)}`);

// The address of a file that a widget names: "folder/name.png", or "name.png [output]".
function addressOf(value) {
  const [, path, type = "input"] = value.match(/^(.*?)(?: \[(\w+)\])?$/);
  const cut = path.lastIndexOf("/");
  return urlOf({ filename: path.slice(cut + 1), subfolder: path.slice(0, Math.max(0, cut)), type });
}

// Every state has a file of its own, so that neither a job in the queue nor an older workflow changes afterwards.
function newName() {
  const words = [...crypto.getRandomValues(new Uint32Array(2))].map((word) => word.toString(16).padStart(8, "0"));
  return `${FOLDER}/region-${words.join("")}.png`;
}

async function upload(blob, path) {
  const body = new FormData();
  body.append("image", blob, path.slice(FOLDER.length + 1));
  body.append("subfolder", FOLDER);
  body.append("overwrite", "true");
  const response = await api.fetchApi("/upload/image", { method: "POST", body });
  if (!response.ok) throw new Error(`${response.status} ${response.statusText}`);
}

async function loadImage(address) {
  const image = Object.assign(new Image(), { src: address });
  await image.decode();
  return image;
}

// Shows results, listed by the ids of their nodes.
function showAll(outputs) {
  for (const [id, output] of Object.entries(outputs)) {
    const node = output?.[OUTPUT] && findNode(id);
    if (node?.comfyClass === NODE) node.bundle3dShow(output);
  }
}

function paint(node) {
  const file = node.widgets.find(({ name }) => name === "mask_file");
  const saved = new Map(); // uploads, by the value that names their file

  const save = (value) => {
    if (!value || saved.has(value)) return saved.get(value);
    const work = painter.painting.png().then((blob) => upload(blob, value));
    saved.set(value, work);
    work.catch((error) => {
      saved.delete(value);
      app.extensionManager.toast.add({ severity: "error", summary: "The painting was not saved", detail: error.message, life: 6000 });
    });
    return work;
  };
  const painter = new Painter({
    newName,
    changed: (name) => {
      file.value = name;
      save(file.value)?.catch(() => {}); // the message is on the screen, and the next run tries again
      app.graph.setDirtyCanvas(true);
    },
    wanted: () => app.queuePrompt(0, 1, [executionId(node)]),
  });

  // What the widget names, after it has come from a workflow or from the keyboard.
  const load = async () => {
    const value = file.value;
    if (value === painter.painting.name) return;
    let mask = null;
    try {
      if (value) mask = await loadImage(addressOf(value));
    } catch {
      painter.load(null, "");
      painter.say(`${value} is not in ComfyUI's input folder: press Clear and paint again.`);
      return;
    }
    if (value !== file.value) return; // it names another one meanwhile
    if (value) saved.set(value, Promise.resolve());
    painter.load(mask, value);
  };

  file.serializeValue = async () => {
    if (file.value === painter.painting.name) await Promise.allSettled([save(file.value)]);
    return file.value;
  };
  const callback = file.callback;
  file.callback = function (...values) {
    callback?.apply(this, values);
    load();
  };
  const widget = node.addDOMWidget("painter", "bundle3d_painter", painter.element, {
    serialize: false,
    getMinHeight: () => MINIMUM_HEIGHT,
  });
  widget.serialize = false;
  node.setSize([Math.max(node.size[0], START_SIZE[0]), Math.max(node.size[1], START_SIZE[1])]);

  const show = async (output) => {
    const found = output?.[OUTPUT]?.[0];
    if (!found || found.picture.filename === node.bundle3dShown) return;
    node.bundle3dShown = found.picture.filename;
    try {
      await painter.show(urlOf(found.picture), found.size, found.grid);
      painter.say(output.text?.[0] ?? "");
    } catch {
      painter.say("Run the node again to see the picture.");
    }
  };
  const { onExecuted, onConfigure } = node;
  node.onExecuted = function (output) {
    onExecuted?.call(this, output);
    show(output);
  };
  node.onConfigure = function (...values) {
    onConfigure?.apply(this, values);
    load();
    showAll(app.nodeOutputs ?? {}); // they are still there where the graph's own undo has made the node anew
  };
  node.bundle3dShow = show;
}

app.registerExtension({
  name: "Bundle3D.PaintRegion",

  nodeCreated(node) {
    if (node.comfyClass === NODE) paint(node);
  },

  onNodeOutputsUpdated: showAll, // results that come back with a reopened workflow
});
