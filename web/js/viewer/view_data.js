// One bundle as the viewer knows it: the cameras, and an atlas of tiles with rows for colour, normals, and the high and
// low bytes of world positions.

import { Camera } from "./camera.js";

const ROWS = { rgb: 0, normal: 1, high: 2, low: 3 };

export class ViewData {
  constructor({ cameras, tile, range, name }, atlas) {
    this.cameras = cameras.map((camera) => new Camera(camera));
    this.name = name;
    this.range = range; // positions span -range..range
    this.tile = tile; // pixels of a tile in the atlas
    this.atlas = atlas;
    this.pixels = atlas.getContext("2d").getImageData(0, 0, atlas.width, atlas.height).data;
  }

  static async load(description, url) {
    const image = new Image();
    image.src = url;
    await image.decode();
    const atlas = document.createElement("canvas");
    [atlas.width, atlas.height] = [image.width, image.height];
    atlas.getContext("2d", { willReadFrequently: true }).drawImage(image, 0, 0);
    return new ViewData(description, atlas);
  }

  // Bytes of a pixel of a view in one of the ROWS.
  color(row, view, x, y) {
    const start = 4 * ((ROWS[row] * this.tile + y) * this.atlas.width + view * this.tile + x);
    return [this.pixels[start], this.pixels[start + 1], this.pixels[start + 2]];
  }

  // World position of a pixel, or null on the background.
  position(view, x, y) {
    const high = this.color("high", view, x, y);
    const low = this.color("low", view, x, y);
    if (!high[0] && !high[1] && !high[2] && !low[0] && !low[1] && !low[2]) return null;
    return high.map((value, i) => ((256 * value + low[i]) / 65535) * 2 * this.range - this.range);
  }

  normal(view, x, y) {
    return this.cameras[view].decodeNormal(this.color("normal", view, x, y));
  }

  // At most `limit` surface points of all views, as { position, normal, color, encoded }.
  points(limit) {
    const stride = Math.max(1, Math.ceil(Math.sqrt((this.cameras.length * this.tile ** 2 * 0.3) / limit)));
    const points = [];
    for (let view = 0; view < this.cameras.length; view++) {
      for (let y = 0; y < this.tile; y += stride) {
        for (let x = 0; x < this.tile; x += stride) {
          const position = this.position(view, x, y);
          if (!position) continue;
          const encoded = this.color("normal", view, x, y);
          const normal = this.cameras[view].decodeNormal(encoded);
          points.push({ position, normal, encoded, color: this.color("rgb", view, x, y) });
        }
      }
    }
    return points;
  }
}
