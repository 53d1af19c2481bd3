"""Photos made ready for image to 3D: read, cut out, framed, described."""
