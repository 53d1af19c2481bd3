// Shows the words of the node Bundle Prompt after a run, and lets them be edited.

import { app } from "/scripts/app.js";

const NODE = "Bundle3D_BundlePrompt";
const MINIMUM_HEIGHT = 60;

app.registerExtension({
  name: "Bundle3D.BundlePrompt",

  nodeCreated(node) {
    if (node.comfyClass !== NODE) return;
    const shown = Object.assign(document.createElement("textarea"), { readOnly: true, placeholder: "Run to see the words." });
    shown.className = "comfy-multiline-input";
    const widget = node.addDOMWidget("words", "bundle3d_words", shown, {
      serialize: false,
      getMinHeight: () => MINIMUM_HEIGHT,
    });
    widget.serialize = false;
    const edit = () => {
      const description = node.widgets.find(({ name }) => name === "description");
      if (!shown.value) return;
      description.value = shown.value;
      description.callback?.(shown.value);
    };
    const button = node.addWidget("button", "edit these words", null, edit, { serialize: false });
    button.serialize = false;
    const onExecuted = node.onExecuted;
    node.onExecuted = function (output) {
      onExecuted?.call(this, output);
      shown.value = output?.text?.join("\n") ?? shown.value;
    };
  },
});
