"""Checkpoints: what is known of the published ones, reading files safely, and the demo family."""
