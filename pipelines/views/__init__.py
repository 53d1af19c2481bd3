"""Cameras, rigs, bundle images and the views they hold."""
