"""Drawing bundle images with FLUX."""
