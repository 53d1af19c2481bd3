"""Fixtures of all tests, and the order in which they run."""

from __future__ import annotations

import pytest
import torch

pytest_plugins = ["bundle3d.tests.support.server", "bundle3d.tests.support.browser", "bundle3d.tests.support.gltf"]

torch.set_num_threads(1)


def pytest_itemcollected(item: pytest.Item) -> None:
    """Tests of the server share one worker, so that one server and one browser serve them all."""
    if "comfyui" in getattr(item, "fixturenames", ()):
        item.add_marker(pytest.mark.xdist_group("comfyui"))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The group of the server comes first, because it takes longest."""
    items.sort(key=lambda item: item.get_closest_marker("xdist_group") is None)
