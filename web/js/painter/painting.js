// What is painted: strokes on a canvas as large as the picture, each of which can be undone. Every state has a name.

const DEPTH = 100; // strokes that can be undone
const COLOR = "#ff2f6d";
const EXACT = { willReadFrequently: true }; // drawn by the CPU, so that a stroke drawn anew has the very same pixels

function draw(context, { points, size, erase }, from = 0) {
  context.globalCompositeOperation = erase ? "destination-out" : "source-over";
  Object.assign(context, { fillStyle: COLOR, strokeStyle: COLOR, lineWidth: size, lineCap: "round" });
  for (let i = from; i < points.length; i++) {
    context.beginPath();
    if (i === 0) {
      context.arc(...points[0], size / 2, 0, 2 * Math.PI);
      context.fill();
    } else {
      context.moveTo(...points[i - 1]);
      context.lineTo(...points[i]);
      context.stroke();
    }
  }
}

export class Painting {
  constructor(canvas, newName) {
    this.canvas = canvas;
    this.newName = newName;
    this.context = canvas.getContext("2d", EXACT);
    this.base = document.createElement("canvas").getContext("2d", EXACT); // what came before the first step
    this.start(1, 1);
  }

  get width() {
    return this.canvas.width;
  }

  get height() {
    return this.canvas.height;
  }

  // The name of what is seen; empty where nothing is painted.
  get name() {
    return this.steps.at(-1)?.name ?? this.baseName;
  }

  // Forgets all; `mask`, an image that is white where painted, is seen from then on.
  start(width, height, mask = null, name = "") {
    for (const { canvas } of [this.context, this.base]) Object.assign(canvas, { width, height });
    Object.assign(this, { steps: [], undone: [], stroke: null, baseName: name });
    if (!mask) return;
    this.base.drawImage(mask, 0, 0);
    const image = this.base.getImageData(0, 0, width, height);
    const [red, green, blue] = [1, 3, 5].map((place) => parseInt(COLOR.slice(place, place + 2), 16));
    for (let i = 0; i < image.data.length; i += 4) {
      const painted = (image.data[i] * image.data[i + 3]) / 255;
      image.data.set([red, green, blue, painted], i);
    }
    this.base.putImageData(image, 0, 0);
    this.redraw();
  }

  begin(point, size, erase) {
    this.stroke = { points: [point], size, erase, name: this.newName() };
    draw(this.context, this.stroke);
  }

  extend(points) {
    const from = this.stroke.points.length;
    this.stroke.points.push(...points);
    draw(this.context, this.stroke, from);
  }

  end() {
    this.add(this.stroke);
    this.stroke = null;
  }

  clear() {
    this.add({ clear: true, name: "" });
    this.redraw();
  }

  add(step) {
    this.steps.push(step);
    this.undone = [];
    if (this.steps.length <= DEPTH) return;
    const oldest = this.steps.shift();
    this.apply(this.base, oldest);
    this.baseName = oldest.name;
  }

  undo() {
    return this.move(this.steps, this.undone);
  }

  redo() {
    return this.move(this.undone, this.steps);
  }

  move(from, to) {
    if (!from.length || this.stroke) return false;
    to.push(from.pop());
    this.redraw();
    return true;
  }

  apply(context, step) {
    if (step.clear) context.clearRect(0, 0, this.width, this.height);
    else draw(context, step);
  }

  redraw() {
    this.context.globalCompositeOperation = "copy";
    this.context.drawImage(this.base.canvas, 0, 0);
    for (const step of this.steps) this.apply(this.context, step);
  }

  // A PNG of the present state, white on black.
  png() {
    const copy = Object.assign(document.createElement("canvas"), { width: this.width, height: this.height });
    const context = copy.getContext("2d");
    context.drawImage(this.canvas, 0, 0);
    context.globalCompositeOperation = "source-in";
    context.fillStyle = "#fff";
    context.fillRect(0, 0, this.width, this.height);
    context.globalCompositeOperation = "destination-over";
    context.fillStyle = "#000";
    context.fillRect(0, 0, this.width, this.height);
    return new Promise((resolve, reject) => {
      copy.toBlob((blob) => (blob ? resolve(blob) : reject(new Error("The browser could not make a PNG."))));
    });
  }
}
