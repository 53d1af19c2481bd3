"""Fixtures of all tests, and the order in which they run."""

from __future__ import annotations

import pytest
import torch

pytest_plugins = ["bundle3d.tests.support.server", "bundle3d.tests.support.browser", "bundle3d.tests.support.gltf"]

torch.set_num_threads(1)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests of the server come first, because they take longest."""
    items.sort(key=lambda item: "comfyui" not in getattr(item, "fixturenames", ()))
