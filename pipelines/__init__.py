"""What the stages do, on torch tensors, without ComfyUI."""
