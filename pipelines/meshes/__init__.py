"""Meshes: the data type, files, repair and simplification."""
