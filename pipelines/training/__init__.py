"""Making training data, and training: the demo family from nothing, adapters on a user's own meshes."""
