"""Back-projection 3D diffusion (Pixal3D): from pictures with cameras to voxels of shape and material."""
