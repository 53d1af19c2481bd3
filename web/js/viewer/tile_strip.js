// The tiles of a bundle side by side; tells which pixel the pointer is on and marks where a world point falls in each.

export class TileStrip {
  constructor(canvas, onHover) {
    this.canvas = canvas;
    this.row = "rgb";
    this.marker = null;
    canvas.addEventListener("pointermove", (event) => onHover(this.pick(event)));
    canvas.addEventListener("pointerleave", () => onHover(null));
  }

  show(data) {
    this.data = data;
    this.marker = null;
    this.draw();
  }

  pick(event) {
    if (!this.data) return null;
    const box = this.canvas.getBoundingClientRect();
    const { tile, cameras } = this.data;
    const x = Math.floor(((event.clientX - box.left) / box.width) * tile * cameras.length);
    const y = Math.floor(((event.clientY - box.top) / box.height) * tile);
    const view = Math.floor(x / tile);
    return view < 0 || view >= cameras.length || y < 0 || y >= tile ? null : { view, x: x - view * tile, y };
  }

  draw() {
    const { canvas, data } = this;
    if (!data || !canvas.width || !canvas.height) return;
    const context = canvas.getContext("2d");
    const { tile, cameras, atlas } = data;
    const side = canvas.width / cameras.length;
    const top = this.row === "rgb" ? 0 : tile;
    context.clearRect(0, 0, canvas.width, canvas.height);
    context.drawImage(atlas, 0, top, atlas.width, tile, 0, 0, canvas.width, side);
    context.font = "11px sans-serif";
    cameras.forEach((camera, view) => {
      context.fillStyle = "#333";
      context.fillText(`${camera.azimuth.toFixed(0)}\u00b0 / ${camera.elevation.toFixed(0)}\u00b0`, view * side + 5, 14);
      if (this.marker) this.drawMarker(context, camera, view, side);
    });
  }

  // A filled dot where the point is seen, a ring where something lies in front of it.
  drawMarker(context, camera, view, side) {
    const { tile } = this.data;
    const [x, y] = camera.project(this.marker.position, tile, tile);
    if (x < 0 || y < 0 || x >= tile || y >= tile) return;
    const there = this.data.position(view, Math.floor(x), Math.floor(y));
    const gap = there ? Math.hypot(...there.map((value, i) => value - this.marker.position[i])) : Infinity;
    context.beginPath();
    context.arc(view * side + (x / tile) * side, (y / tile) * side, 4, 0, 2 * Math.PI);
    Object.assign(context, { fillStyle: "#ff3b6b", strokeStyle: "#ff3b6b", lineWidth: 2 });
    if (gap < 0.06) context.fill();
    context.stroke();
  }
}
