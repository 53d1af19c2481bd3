"""The variant of Pixal3D that its paper reports, on the backbone of Direct3D-S2: geometry alone, as distances."""
