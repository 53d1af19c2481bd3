// The bundle viewer: tiles above, the object and its cameras below, a line that reads out the pixel under the pointer.

import { element } from "../element.js";
import { Scene } from "./scene.js";
import { TileStrip } from "./tile_strip.js";
import { ViewData } from "./view_data.js";

const STYLE = `
.bundle3d-viewer { display: flex; flex-direction: column; gap: 4px; width: 100%; height: 100%; overflow: hidden;
  font: 12px sans-serif; color: var(--input-text, #ddd); box-sizing: border-box; }
.bundle3d-viewer .bar { display: flex; gap: 4px; flex: none; flex-wrap: wrap; }
.bundle3d-viewer button, .bundle3d-viewer select { font: inherit; padding: 2px 8px; border-radius: 4px; cursor: pointer;
  border: 1px solid var(--border-color, #555); background: var(--comfy-input-bg, #222); color: inherit; }
.bundle3d-viewer button[aria-pressed="true"] { background: var(--p-primary-color, #4a7dbd); color: #fff; }
.bundle3d-viewer canvas { display: block; border-radius: 4px; background: #fff; }
.bundle3d-viewer .strip { flex: none; width: 100%; cursor: crosshair; }
.bundle3d-viewer .scene { flex: 1 1 0; min-height: 0; position: relative; }
.bundle3d-viewer .scene canvas { position: absolute; inset: 0; width: 100%; height: 100%; cursor: grab; touch-action: none;
  background: linear-gradient(#f4f6f9, #cdd5df); }
.bundle3d-viewer .readout { flex: none; min-height: 32px; line-height: 16px; white-space: pre-wrap;
  font-variant-numeric: tabular-nums; }
`;
const HINT = "Point at a tile to read its normal and world position. Drag to turn, scroll to zoom, double-click to reset.";

const vector = (values) => values.map((value) => value.toFixed(3).padStart(6)).join(", ");

export class Viewer {
  constructor() {
    if (!document.getElementById("bundle3d-viewer-style")) {
      document.head.append(element("style", { id: "bundle3d-viewer-style", textContent: STYLE }));
    }
    this.strip = new TileStrip(element("canvas", { className: "strip" }), (pixel) => this.hover(pixel));
    this.scene = new Scene(element("canvas"));
    this.readout = element("div", { className: "readout", textContent: HINT });
    this.chooser = element("select", { title: "Bundle of the batch", onchange: () => this.choose(this.chooser.value) });
    this.chooser.hidden = true;
    this.normals = this.toggle("Normals", false, (on) => {
      this.strip.row = this.scene.options.row = on ? "normal" : "rgb";
    });
    const points = this.toggle("Surface", true, (on) => (this.scene.options.points = on));
    const cameras = this.toggle("Cameras", true, (on) => (this.scene.options.cameras = on));
    const bar = element("div", { className: "bar" }, this.chooser, this.normals, points, cameras);
    const frame = element("div", { className: "scene" }, this.scene.canvas);
    this.element = element("div", { className: "bundle3d-viewer" }, bar, this.strip.canvas, frame, this.readout);
    new ResizeObserver(() => this.resize()).observe(frame);
  }

  toggle(label, pressed, change) {
    const button = element("button", { textContent: label, type: "button", ariaPressed: String(pressed) });
    button.onclick = () => {
      button.ariaPressed = String(button.ariaPressed !== "true");
      change(button.ariaPressed === "true");
      this.draw();
    };
    return button;
  }

  // Shows a batch of bundles; `urlOf` turns the description of a saved file into its address.
  async show(descriptions, urlOf) {
    this.batch = descriptions;
    this.urlOf = urlOf;
    this.chooser.replaceChildren(...descriptions.map((_, i) => new Option(`Bundle ${i + 1}`, i)));
    this.chooser.hidden = descriptions.length < 2;
    await this.choose(0);
  }

  async choose(index) {
    const request = (this.request = (this.request ?? 0) + 1);
    const description = this.batch[index];
    const data = await ViewData.load(description, this.urlOf(description.atlas));
    if (request !== this.request) return; // another bundle has been asked for meanwhile
    this.data = data;
    this.readout.textContent = HINT;
    this.strip.canvas.style.aspectRatio = `${data.cameras.length} / 1`;
    this.strip.show(data);
    this.scene.show(data);
    this.resize();
  }

  hover(pixel) {
    const position = pixel && this.data.position(pixel.view, pixel.x, pixel.y);
    const marker = position && { ...pixel, position, normal: this.data.normal(pixel.view, pixel.x, pixel.y) };
    this.strip.marker = this.scene.marker = marker;
    if (!pixel) this.readout.textContent = HINT;
    else if (!marker) this.readout.textContent = `View ${pixel.view + 1}, pixel ${pixel.x}, ${pixel.y}: background`;
    else {
      this.readout.textContent =
        `View ${pixel.view + 1}, pixel ${pixel.x}, ${pixel.y}   normal ${vector(marker.normal)}\n` +
        `position ${vector(position)}   ${this.data.name}`;
    }
    this.draw();
  }

  resize() {
    for (const { canvas } of [this.strip, this.scene]) {
      const ratio = Math.min(2, window.devicePixelRatio || 1);
      const size = [Math.round(canvas.clientWidth * ratio), Math.round(canvas.clientHeight * ratio)];
      if (canvas.width !== size[0] || canvas.height !== size[1]) [canvas.width, canvas.height] = size;
    }
    this.draw();
  }

  draw() {
    this.strip.draw();
    this.scene.draw();
  }
}
