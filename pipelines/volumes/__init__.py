"""Volumes and the surfaces in them."""
