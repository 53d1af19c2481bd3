"""Face ids and depths from the system's OpenGL, as a yardstick: Mesa's software rasteriser where there is no GPU."""

from __future__ import annotations

import numpy as np

VERTEX = """
#version 330
in vec4 clip;
void main() { gl_Position = clip; }
"""
FRAGMENT = """
#version 330
out vec2 result;
void main() { result = vec2(float(gl_PrimitiveID), gl_FragCoord.z); }
"""


class SoftwareOpenGL:
    """Draws one mesh in several views; less work than ``rasterise``, for there are no barycentrics.

    Raises ImportError without moderngl and another exception where the system has no EGL.
    """

    def __init__(self, faces: np.ndarray, vertices: int, height: int, width: int) -> None:
        import moderngl

        self.context = moderngl.create_standalone_context(backend="egl")
        self.renderer = str(self.context.info["GL_RENDERER"])
        self.context.enable(moderngl.DEPTH_TEST)
        program = self.context.program(vertex_shader=VERTEX, fragment_shader=FRAGMENT)
        self.clip = self.context.buffer(reserve=vertices * 16, dynamic=True)
        indices = self.context.buffer(faces.astype(np.int32).tobytes())
        self.mesh = self.context.vertex_array(program, [(self.clip, "4f", "clip")], index_buffer=indices)
        self.target = self.context.framebuffer(
            [self.context.texture((width, height), 2, dtype="f4")], self.context.depth_renderbuffer((width, height))
        )
        self.target.use()
        self.shape = height, width

    def __call__(self, clip: np.ndarray) -> np.ndarray:
        """(V, H, W, 2) float32: face or -1, and window depth; row 0 on top."""
        images = np.empty((len(clip), *self.shape, 2), np.float32)
        for view, image in zip(clip, images):
            self.clip.write(np.ascontiguousarray(view))
            self.target.clear(-1.0, 1.0, 0.0, 0.0, depth=1.0)
            self.mesh.render()
            self.target.read_into(image, components=2, dtype="f4")
        return images[:, ::-1]

    def close(self) -> None:
        """Free the context."""
        self.context.release()
