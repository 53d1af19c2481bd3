// The painter: a picture to paint on, the brush and its settings above it, and a line that says what to do.

import { element } from "../element.js";
import { Painting } from "./painting.js";

const STYLE = `
.bundle3d-painter { display: flex; flex-direction: column; gap: 4px; width: 100%; height: 100%; overflow: hidden;
  font: 12px sans-serif; color: var(--input-text, #ddd); box-sizing: border-box; }
.bundle3d-painter .bar { display: flex; gap: 4px 8px; flex: none; flex-wrap: wrap; align-items: center; }
.bundle3d-painter button { font: inherit; padding: 2px 8px; border-radius: 4px; cursor: pointer;
  border: 1px solid var(--border-color, #555); background: var(--comfy-input-bg, #222); color: inherit; }
.bundle3d-painter button[aria-pressed="true"] { background: var(--p-primary-color, #4a7dbd); color: #fff; }
.bundle3d-painter button:disabled { opacity: 0.4; cursor: default; }
.bundle3d-painter label { display: flex; gap: 4px; align-items: center; font-variant-numeric: tabular-nums; }
.bundle3d-painter input { width: 76px; }
.bundle3d-painter .frame { flex: 1 1 0; min-height: 0; position: relative; overflow: hidden; border-radius: 4px;
  background: #0003; }
.bundle3d-painter .stage { position: absolute; inset: 0; margin: auto; overflow: hidden; touch-action: none;
  user-select: none; background: #8888; cursor: none; }
.bundle3d-painter .stage.locked { cursor: not-allowed; }
.bundle3d-painter .stage > * { position: absolute; inset: 0; width: 100%; height: 100%; pointer-events: none; }
.bundle3d-painter .stage.enlarged > * { image-rendering: pixelated; }
.bundle3d-painter .stage.locked .ring, .bundle3d-painter .stage.misfit canvas { display: none; }
.bundle3d-painter .tiles { --line: #0009 1px, #fff9 1px, #fff9 2px, transparent 2px;
  background-image: linear-gradient(to right, var(--line)), linear-gradient(var(--line)); }
.bundle3d-painter .stage .ring { inset: auto; box-sizing: border-box; border: 1px solid #fff; border-radius: 50%;
  box-shadow: 0 0 0 1px #000, inset 0 0 0 1px #000; transform: translate(-50%, -50%); }
.bundle3d-painter .status { flex: none; height: 48px; overflow: hidden auto; line-height: 16px; white-space: pre-wrap; }
`;
const HINT = "Paint what may change; the right mouse button erases, the keys [ and ] change the size of the brush.";
const NO_PICTURE = "Press Show picture to run the nodes before this one and see the picture to paint on.";
const SIZES = [1, 10]; // powers of two, in pixels of the picture
const KEY_STEP = 0.25;
const RIGHT = 2; // buttons of pointers
const ERASER = 5;

export class Painter {
  // `newName` names the state after a stroke; `changed` is told the name of the state after every stroke, Clear, Undo
  // and Redo; `wanted` is called when the picture is asked for.
  constructor({ newName, changed, wanted }) {
    if (!document.getElementById("bundle3d-painter-style")) {
      document.head.append(element("style", { id: "bundle3d-painter-style", textContent: STYLE }));
    }
    this.changed = changed;
    this.erases = false;
    this.picture = element("img", { draggable: false, hidden: true, alt: "" });
    this.painting = new Painting(element("canvas"), newName);
    this.tiles = element("div", { className: "tiles" });
    this.ring = element("div", { className: "ring", hidden: true });
    this.stage = element("div", { className: "stage" }, this.picture, this.painting.canvas, this.tiles, this.ring);
    this.frame = element("div", { className: "frame" }, this.stage);
    this.status = element("div", { className: "status" });
    this.element = element("div", { className: "bundle3d-painter" }, this.bar(wanted), this.frame, this.status);
    this.listen();
    new ResizeObserver(() => this.fit()).observe(this.frame);
    this.setOpacity();
    this.say("");
    this.update();
  }

  bar(wanted) {
    const button = (textContent, title, onclick) => element("button", { type: "button", textContent, title, onclick });
    const slider = (min, max, step, value, oninput) => {
      return element("input", { type: "range", min, max, step, value, oninput });
    };
    this.brush = button("Brush", "Paint", () => this.choose(false));
    this.eraser = button("Erase", "Take paint away", () => this.choose(true));
    this.undo = button("Undo", "Take the last stroke back", () => this.painting.undo() && this.finish());
    this.redo = button("Redo", "Paint it again", () => this.painting.redo() && this.finish());
    this.clear = button("Clear", "Take all paint away", () => this.clearAll());
    this.outline = button("Tiles", "Outline of the tiles", () => this.showTiles(this.tiles.hidden));
    this.sizes = slider(...SIZES, 0.05, 5, () => this.setSize(Number(this.sizes.value)));
    this.opacity = slider(0.1, 1, 0.05, 0.55, () => this.setOpacity());
    this.sizeText = element("span");
    const size = element("label", { title: "Width of the brush in pixels, keys [ and ]" }, "Size", this.sizes, this.sizeText);
    const opacity = element("label", { title: "How much the paint hides" }, "Opacity", this.opacity);
    const show = button("Show picture", "Run the nodes before this one and show the picture", wanted);
    const buttons = [this.brush, this.eraser, size, opacity, this.undo, this.redo, this.clear, this.outline, show];
    this.setSize(5);
    this.choose(false);
    return element("div", { className: "bar" }, ...buttons);
  }

  listen() {
    const { stage } = this;
    stage.addEventListener("pointerdown", (event) => this.press(event));
    stage.addEventListener("pointermove", (event) => this.drag(event));
    for (const type of ["pointerup", "pointercancel"]) stage.addEventListener(type, (event) => this.release(event));
    stage.addEventListener("contextmenu", (event) => event.preventDefault());
    const keys = (event) => this.key(event);
    stage.addEventListener("pointerenter", () => window.addEventListener("keydown", keys));
    stage.addEventListener("pointerleave", () => {
      window.removeEventListener("keydown", keys);
      this.ring.hidden = true;
    });
  }

  // The picture (an address), its size in pixels, and the tiles in it: columns and rows.
  async show(address, [width, height], grid) {
    this.picture.src = address;
    await this.picture.decode();
    this.picture.hidden = false;
    this.size = [width, height];
    this.tiles.style.backgroundSize = grid.map((count) => `${100 / count}% `).join("");
    this.outline.disabled = grid.every((count) => count === 1);
    this.showTiles(!this.outline.disabled);
    if (!this.painting.name && !this.fits) this.painting.start(width, height);
    if (!this.sized) this.setSize(Math.log2(Math.min(width / grid[0], height / grid[1]) / 8));
    this.update();
  }

  // What was painted before: an image, white where painted; null for nothing.
  load(mask, name) {
    const [width, height] = mask ? [mask.naturalWidth, mask.naturalHeight] : (this.size ?? [1, 1]);
    this.painting.start(width, height, mask, name);
    this.update();
  }

  // Whether the painting is for a picture of another size than the one that is shown.
  get misfit() {
    return Boolean(this.size && this.painting.name && !this.fits);
  }

  get fits() {
    return this.painting.width === this.size[0] && this.painting.height === this.size[1];
  }

  clearAll() {
    if (this.size && !this.fits) this.painting.start(...this.size);
    else this.painting.clear();
    this.say("");
    this.finish();
  }

  finish() {
    this.update();
    this.changed(this.painting.name);
  }

  update() {
    const { painting } = this;
    this.undo.disabled = !painting.steps.length;
    this.redo.disabled = !painting.undone.length;
    this.stage.classList.toggle("locked", !this.size || this.misfit);
    this.stage.classList.toggle("misfit", this.misfit);
    this.fit();
    this.write();
  }

  say(text) {
    this.text = text;
    this.write();
  }

  // The line has the same height whatever it says: the stage must not move below a brush that paints.
  write() {
    const { width, height } = this.painting;
    let text = [this.text, this.size ? HINT : NO_PICTURE].filter(Boolean).join("\n");
    if (this.misfit) {
      text = `The painting is for a picture of ${width} x ${height} pixels, this one has ${this.size.join(" x ")}: press Clear to paint on it.`;
    }
    this.status.textContent = text;
  }

  // The stage fills the frame as far as the shape of the picture allows.
  fit() {
    const [width, height] = this.size ?? [this.painting.width, this.painting.height];
    const scale = Math.min(this.frame.clientWidth / width, this.frame.clientHeight / height);
    Object.assign(this.stage.style, { width: `${width * scale}px`, height: `${height * scale}px` });
    this.stage.classList.toggle("enlarged", scale > 1);
  }

  showTiles(on) {
    this.tiles.hidden = !on;
    this.outline.ariaPressed = String(on);
  }

  choose(erases) {
    this.erases = erases;
    this.brush.ariaPressed = String(!erases);
    this.eraser.ariaPressed = String(erases);
  }

  setOpacity() {
    this.painting.canvas.style.opacity = this.opacity.value;
  }

  setSize(power) {
    this.power = Math.min(SIZES[1], Math.max(SIZES[0], power));
    this.sizes.value = this.power;
    this.sizeText.textContent = String(this.brushSize).padStart(4);
    if (this.at) this.moveRing(this.at);
  }

  get brushSize() {
    return Math.round(2 ** this.power);
  }

  // Where the pointer is, in pixels of the picture, whatever the zoom of the graph.
  position(event) {
    const box = this.stage.getBoundingClientRect();
    const [width, height] = [this.painting.width, this.painting.height];
    return [((event.clientX - box.left) / box.width) * width, ((event.clientY - box.top) / box.height) * height];
  }

  moveRing([x, y]) {
    this.at = [x, y];
    const { width, height } = this.painting;
    const share = (value, whole) => `${(100 * value) / whole}%`;
    const place = { left: share(x, width), top: share(y, height) };
    const size = { width: share(this.brushSize, width), height: share(this.brushSize, height) };
    Object.assign(this.ring.style, place, size);
    this.ring.hidden = false;
  }

  press(event) {
    if (event.button === 1) return; // pans the graph
    event.preventDefault();
    event.stopPropagation();
    if (!this.size || this.misfit || this.pointer !== undefined) return;
    this.pointer = event.pointerId;
    this.stage.setPointerCapture(event.pointerId);
    this.sized = true;
    this.say("");
    const erase = this.erases || event.button === RIGHT || event.button === ERASER;
    this.painting.begin(this.position(event), this.brushSize, erase);
    this.moveRing(this.position(event));
  }

  drag(event) {
    if (this.pointer !== undefined && event.pointerId !== this.pointer) return;
    this.moveRing(this.position(event));
    if (this.pointer === undefined) return;
    event.stopPropagation();
    const between = event.getCoalescedEvents?.() ?? [];
    this.painting.extend((between.length ? between : [event]).map((one) => this.position(one)));
  }

  release(event) {
    if (event.pointerId !== this.pointer) return;
    event.stopPropagation();
    this.pointer = undefined;
    this.painting.end();
    this.finish();
  }

  key(event) {
    const step = { "[": -KEY_STEP, "]": KEY_STEP }[event.key];
    if (!step || event.target.closest?.("input[type=text], textarea, [contenteditable]")) return;
    event.preventDefault();
    event.stopPropagation();
    this.sized = true;
    this.setSize(this.power + step);
  }
}
