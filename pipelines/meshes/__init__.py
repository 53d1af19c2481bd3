"""Meshes: the data type, files, repair, simplification, unwrapping, baking and reports."""
