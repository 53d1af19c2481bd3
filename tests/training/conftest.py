"""A tiny base of random weights and a dataset rendered from generated meshes."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from bundle3d.pipelines.diffusion.models import BundleModels
from bundle3d.pipelines.training.base import BaseFiles, open_base
from bundle3d.pipelines.training.dataset import CaptionedBundle, read_dataset
from bundle3d.pipelines.training.encoded import EncodedDataset, encode_dataset
from bundle3d.pipelines.training.render_folder import RenderSettings, render_folder
from bundle3d.tests.support.tiny_flux import tiny_pipeline
from bundle3d.tests.training.tiny_meshes import write_meshes

TILE = 32
MODES = ("tile", "canny", "depth", "normal")


@dataclass(frozen=True)
class Workshop:
    """Folders of meshes, of the dataset rendered from them, of a base, and of the dataset encoded by it."""

    folder: Path

    @property
    def meshes(self) -> Path:
        return self.folder / "meshes"

    @property
    def dataset(self) -> Path:
        return self.folder / "dataset"

    @property
    def base(self) -> Path:
        return self.folder / "base"

    def models(self, dtype: torch.dtype | None = None) -> BundleModels:
        return open_base(BaseFiles(self.base), torch.device("cpu"), dtype)

    def bundles(self) -> list[CaptionedBundle]:
        return read_dataset(self.dataset)

    def encoded(self, models: BundleModels | None = None) -> EncodedDataset:
        return encode_dataset(self.bundles(), models or self.models(), "base", self.folder / "cache", MODES)


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("workshop")
    write_meshes(folder / "meshes")
    render_folder(folder / "meshes", folder / "dataset", RenderSettings(TILE))
    tiny_pipeline().save_pretrained(folder / "base")
    return folder


@pytest.fixture
def workshop(made: Path, tmp_path: Path) -> Workshop:
    shutil.copytree(made, tmp_path / "workshop")
    return Workshop(tmp_path / "workshop")
