"""How good a mesh, its texture coordinates or an image is."""
