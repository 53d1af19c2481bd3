// The object and the cameras around it, drawn on a 2D canvas: points with a depth buffer, cameras as frusta that carry
// their tile. Drag turns, the wheel zooms, a double click resets.

import { Camera, add, dot } from "./camera.js";

const START = { azimuth: 32, elevation: 24, distance: 12.5 };
const FRUSTUM_SHARE = 0.36; // length of a frustum, as a share of the camera's distance
const POINT_LIMIT = 60000;
const AXES = [[[1, 0, 0], "#e5534b", "x"], [[0, 1, 0], "#57ab5a", "y"], [[0, 0, 1], "#539bf5", "z"]];

export class Scene {
  constructor(canvas) {
    this.canvas = canvas;
    this.points = [];
    this.options = { row: "rgb", points: true, cameras: true };
    this.marker = null;
    this.view = { ...START };
    this.listen();
  }

  listen() {
    let last = null;
    this.canvas.addEventListener("pointerdown", (event) => {
      last = [event.clientX, event.clientY];
      this.canvas.setPointerCapture(event.pointerId);
      event.stopPropagation();
    });
    this.canvas.addEventListener("pointermove", (event) => {
      if (!last) return;
      this.view.azimuth -= (event.clientX - last[0]) * 0.5;
      this.view.elevation = Math.min(89, Math.max(-89, this.view.elevation + (event.clientY - last[1]) * 0.5));
      last = [event.clientX, event.clientY];
      this.draw();
    });
    for (const name of ["pointerup", "pointercancel"]) this.canvas.addEventListener(name, () => (last = null));
    this.canvas.addEventListener("dblclick", () => {
      this.view = { ...START };
      this.draw();
    });
    this.canvas.addEventListener("wheel", (event) => {
      this.view.distance = Math.min(60, Math.max(3, this.view.distance * Math.exp(event.deltaY * 0.001)));
      event.preventDefault();
      event.stopPropagation();
      this.draw();
    }, { passive: false });
  }

  show(data) {
    this.data = data;
    this.points = data.points(POINT_LIMIT);
    this.marker = null;
    this.draw();
  }

  draw() {
    const { canvas, data } = this;
    if (!data || !canvas.width || !canvas.height) return;
    this.context = canvas.getContext("2d");
    this.context.clearRect(0, 0, canvas.width, canvas.height);
    this.camera = new Camera({ ...this.view, fov: 30 });
    this.drawGround();
    const order = data.cameras.map((camera, index) => ({ camera, index, depth: dot(camera.eye, this.camera.toward) }));
    order.sort((a, b) => a.depth - b.depth);
    const drawCameras = (items) => this.options.cameras && items.forEach((item) => this.drawFrustum(item));
    drawCameras(order.filter((item) => item.depth < 0));
    if (this.options.points) this.drawPoints();
    drawCameras(order.filter((item) => item.depth >= 0));
    if (this.marker) this.drawMarker();
  }

  project(point) {
    return this.camera.project(point, this.canvas.width, this.canvas.height);
  }

  line(from, to, color, width = 1) {
    const [a, b] = [this.project(from), this.project(to)];
    if (a[2] <= 0 || b[2] <= 0) return;
    Object.assign(this.context, { strokeStyle: color, lineWidth: width });
    this.context.beginPath();
    this.context.moveTo(a[0], a[1]);
    this.context.lineTo(b[0], b[1]);
    this.context.stroke();
  }

  drawGround() {
    for (let i = -2; i <= 2; i++) {
      this.line([i / 2, -1, -1], [i / 2, -1, 1], "#8888");
      this.line([-1, -1, i / 2], [1, -1, i / 2], "#8888");
    }
    const corner = [-1, -1, -1];
    for (const [axis, color, label] of AXES) {
      const tip = add(corner, axis, 0.6);
      this.line(corner, tip, color, 2);
      const [x, y] = this.project(add(corner, axis, 0.7));
      Object.assign(this.context, { fillStyle: color, font: "12px sans-serif", textAlign: "center" });
      this.context.fillText(label, x, y + 4);
    }
  }

  drawPoints() {
    const { width, height } = this.canvas;
    const image = new ImageData(width, height);
    const depths = new Float32Array(width * height).fill(Infinity);
    const size = Math.max(1, Math.round(height / 220));
    for (const point of this.points) {
      const facing = dot(point.normal, this.camera.toward);
      if (facing < -0.2) continue;
      const [x, y, depth] = this.project(point.position);
      const light = this.options.row === "rgb" ? 0.45 + 0.55 * Math.max(0, facing) : 1;
      const color = this.options.row === "rgb" ? point.color : point.normal.map((value) => 127.5 * (value + 1));
      for (let row = Math.round(y); row < Math.round(y) + size; row++) {
        for (let column = Math.round(x); column < Math.round(x) + size; column++) {
          const index = row * width + column;
          if (column < 0 || column >= width || row < 0 || row >= height || depth >= depths[index]) continue;
          depths[index] = depth;
          image.data.set([color[0] * light, color[1] * light, color[2] * light, 255], 4 * index);
        }
      }
    }
    const layer = new OffscreenCanvas(width, height);
    layer.getContext("2d").putImageData(image, 0, 0);
    this.context.drawImage(layer, 0, 0);
  }

  drawFrustum({ camera, index }) {
    const corners = camera.corners(camera.distance * FRUSTUM_SHARE);
    const origins = camera.origins();
    const color = this.marker?.view === index ? "#f0b429" : "#7d8fa9";
    this.drawPicture(corners, index);
    corners.forEach((corner, i) => {
      this.line(origins[i], corner, color);
      this.line(corner, corners[(i + 1) % 4], color);
      this.line(origins[i], origins[(i + 1) % 4], color);
    });
    const [x, y] = this.project(camera.eye);
    Object.assign(this.context, { fillStyle: color, font: "12px sans-serif", textAlign: "center" });
    this.context.fillText(`${camera.azimuth.toFixed(0)}\u00b0`, x, y - 6);
  }

  // The tile on the image plane, as two triangles with an affine map each.
  drawPicture(corners, index) {
    const [a, b, c, d] = corners.map((corner) => this.project(corner));
    if (Math.min(a[2], b[2], c[2], d[2]) <= 0) return;
    const { tile, atlas } = this.data;
    const row = this.options.row === "rgb" ? 0 : 1;
    const triangles = [[a, b, d, a, 1], [c, d, b, [b[0] + d[0] - c[0], b[1] + d[1] - c[1]], -1]];
    this.context.globalAlpha = 0.85;
    for (const [corner, first, second, origin, sign] of triangles) {
      this.context.save();
      this.context.beginPath();
      for (const point of [corner, first, second]) this.context.lineTo(point[0], point[1]);
      this.context.clip();
      const across = [(first[0] - corner[0]) * sign, (first[1] - corner[1]) * sign];
      const down = [(second[0] - corner[0]) * sign, (second[1] - corner[1]) * sign];
      this.context.transform(
        across[0] / tile, across[1] / tile, down[0] / tile, down[1] / tile, origin[0], origin[1]
      );
      this.context.drawImage(atlas, index * tile, row * tile, tile, tile, 0, 0, tile, tile);
      this.context.restore();
    }
    this.context.globalAlpha = 1;
  }

  drawMarker() {
    const { position, normal, view } = this.marker;
    this.line(this.data.cameras[view].eye, position, "#f0b429");
    this.line(position, add(position, normal, 0.45), "#ff3b6b", 3);
    const [x, y] = this.project(position);
    this.context.fillStyle = "#ff3b6b";
    this.context.beginPath();
    this.context.arc(x, y, 4, 0, 2 * Math.PI);
    this.context.fill();
  }
}
