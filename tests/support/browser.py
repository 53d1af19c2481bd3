"""Headless Chromium in front of the real ComfyUI frontend."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest
from bundle3d.pipelines.runner.server import ComfyServer
from bundle3d.tests.support.server import missing

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome", "msedge")
ARGUMENTS = [
    "--no-sandbox",
    "--disable-dev-shm-usage",
    "--use-gl=angle",
    "--use-angle=swiftshader",
    "--enable-unsafe-swiftshader",
]
# The frontend opens a workflow of its own at the end of its start; a graph that a test loads before that is replaced.
READY = "() => window.app?.graph && window.app.extensionManager?.workflow?.activeWorkflow"


def find_browser() -> str | None:
    """The Chromium to use: the one BUNDLE3D_BROWSER names, or the first found on the search path."""
    return os.environ.get("BUNDLE3D_BROWSER") or next(filter(None, map(shutil.which, NAMES)), None)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """A headless Chromium with software WebGL 2."""
    executable = find_browser()
    if executable is None:
        missing(
            "Browser tests need Chromium: install it (Debian: apt-get install chromium) or name it in BUNDLE3D_BROWSER."
        )
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=executable, args=ARGUMENTS)
        yield chromium
        chromium.close()


@contextmanager
def frontend(browser: Browser, url: str) -> Iterator[Page]:
    """A page with the loaded ComfyUI frontend; ``page.errors`` collects uncaught JavaScript errors."""
    context = browser.new_context(viewport={"width": 1600, "height": 1000})
    page = context.new_page()
    page.set_default_timeout(60_000)
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.errors = errors  # type: ignore[attr-defined]
    page.goto(url)
    page.wait_for_function(READY)
    yield page
    context.close()


@pytest.fixture
def comfy_page(browser: Browser, comfyui: ComfyServer) -> Iterator[Page]:
    """A fresh page with the frontend; see :func:`frontend`."""
    with frontend(browser, comfyui.url) as page:
        yield page


@pytest.fixture(scope="module")
def shared_page(browser: Browser, comfyui: ComfyServer) -> Iterator[Page]:
    """One page with the frontend for all tests of a file, which leave it usable."""
    with frontend(browser, comfyui.url) as page:
        yield page
