"""Running graphs on a ComfyUI server without a browser."""
