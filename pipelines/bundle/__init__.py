"""The 3D bundle image as a stage: rendering a mesh into one, and judging one."""
