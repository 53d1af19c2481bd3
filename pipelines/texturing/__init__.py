"""Textures of a mesh: unwrapping, baking, and the merging of materials."""
