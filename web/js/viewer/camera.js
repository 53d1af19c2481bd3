// Cameras as the Python side has them: azimuth from +Z toward +X, elevation up, pixel (0, 0) at the upper left.

const RADIANS = Math.PI / 180;

export const dot = (a, b) => a[0] * b[0] + a[1] * b[1] + a[2] * b[2];
export const add = (a, b, scale = 1) => [a[0] + b[0] * scale, a[1] + b[1] * scale, a[2] + b[2] * scale];
export const length = (a) => Math.sqrt(dot(a, a));

export class Camera {
  // `fov` is vertical, in degrees; where it is null, `half_height` gives an orthographic camera.
  constructor({ azimuth, elevation, distance, fov = null, half_height: halfHeight = null, target = [0, 0, 0] }) {
    Object.assign(this, { azimuth, elevation, distance, fov, halfHeight, target });
    const [sa, ca] = [Math.sin(azimuth * RADIANS), Math.cos(azimuth * RADIANS)];
    const [se, ce] = [Math.sin(elevation * RADIANS), Math.cos(elevation * RADIANS)];
    this.right = [ca, 0, -sa];
    this.up = [-se * sa, ce, -se * ca];
    this.toward = [ce * sa, se, ce * ca];
    this.eye = add(target, this.toward, distance);
  }

  // Pixel [x, y] and depth along the view axis of a world point.
  project(point, width, height) {
    const offset = add(point, this.eye, -1);
    const depth = -dot(offset, this.toward);
    const scale = this.halfExtent(this.fov === null ? 1 : depth);
    const half = height / 2;
    return [width / 2 + (dot(offset, this.right) / scale) * half, half - (dot(offset, this.up) / scale) * half, depth];
  }

  // Half of the height that the image covers in the world at `depth`.
  halfExtent(depth) {
    return this.fov === null ? this.halfHeight : depth * Math.tan((this.fov * RADIANS) / 2);
  }

  // Corners of the image plane at `depth`, from the upper left clockwise.
  corners(depth, aspect = 1) {
    const half = this.halfExtent(depth);
    const centre = add(this.eye, this.toward, -depth);
    return [[-1, 1], [1, 1], [1, -1], [-1, -1]].map(([x, y]) =>
      add(add(centre, this.right, x * half * aspect), this.up, y * half)
    );
  }

  // Where the rays of the image corners start: the eye, or for an orthographic camera the corners at the eye.
  origins(aspect = 1) {
    return this.fov === null ? this.corners(0, aspect) : [this.eye, this.eye, this.eye, this.eye];
  }

  // World normal of a bundle colour (0..255): camera space with x mirrored.
  decodeNormal([red, green, blue]) {
    const [x, y, z] = [1 - red / 127.5, green / 127.5 - 1, blue / 127.5 - 1];
    const world = add(add(add([0, 0, 0], this.right, x), this.up, y), this.toward, z);
    return world.map((value) => value / (length(world) || 1));
  }
}
