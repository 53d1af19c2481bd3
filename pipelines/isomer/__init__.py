"""ISOMER: a mesh from the normals and masks of a few views by optimisation with continuous remeshing."""
