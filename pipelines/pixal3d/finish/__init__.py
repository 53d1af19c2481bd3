"""From decoded voxels to a finished asset."""
