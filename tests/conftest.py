"""Fixtures of all tests, and the order in which they run."""

from __future__ import annotations

import pytest
import torch

pytest_plugins = ["bundle3d.tests.support.server", "bundle3d.tests.support.browser", "bundle3d.tests.support.gltf"]

torch.set_num_threads(1)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests of the server share one worker, so that one server serves them all, and come first: they take longest."""
    for item in items:
        if "comfyui" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.xdist_group("comfyui"))
    items.sort(key=lambda item: item.get_closest_marker("xdist_group") is None)
