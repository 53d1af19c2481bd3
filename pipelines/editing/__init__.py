"""Changing a part of a mesh and leaving the rest as it is."""
