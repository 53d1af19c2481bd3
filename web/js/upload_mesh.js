// An upload button on the node Load Mesh.

import { app } from "/scripts/app.js";
import { api } from "/scripts/api.js";

const NODE = "Bundle3D_LoadMesh";
const FOLDER = "3d";
const TYPES = ".glb,.gltf,.obj,.ply,.stl";

async function upload(file) {
  const body = new FormData();
  body.append("image", file);
  body.append("subfolder", FOLDER);
  const response = await api.fetchApi("/upload/image", { method: "POST", body });
  if (!response.ok) throw new Error(`${response.status} ${response.statusText}`);
  const { name, subfolder } = await response.json();
  return subfolder ? `${subfolder}/${name}` : name;
}

function choose() {
  return new Promise((resolve) => {
    const input = Object.assign(document.createElement("input"), { type: "file", accept: TYPES });
    input.onchange = () => resolve(input.files[0]);
    input.click();
  });
}

app.registerExtension({
  name: "Bundle3D.UploadMesh",

  nodeCreated(node) {
    if (node.comfyClass !== NODE) return;
    const list = node.widgets.find((widget) => widget.name === "model_file");
    const button = node.addWidget("button", "upload mesh", null, async () => {
      const file = await choose();
      try {
        const name = await upload(file);
        if (!list.options.values.includes(name)) list.options.values.push(name);
        list.value = name;
        list.callback?.(name);
      } catch (error) {
        app.extensionManager.toast.add({ severity: "error", summary: "Upload failed", detail: error.message, life: 6000 });
      }
    });
    button.serialize = false;
  },
});
