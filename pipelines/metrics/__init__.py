"""How good a mesh or an image is."""
