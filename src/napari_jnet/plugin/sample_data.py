"""Sample data for File > Open Sample: synthetic stacks, small public images, and datasets by download."""

from __future__ import annotations

import numpy as np
from napari.utils import cancelable_progress

from napari_jnet.plugin.layers.read import METADATA_KEY
from napari_jnet.plugin.layers.stack_layers import LayerData, stack_layers
from napari_jnet.project.open import open_stack
from napari_jnet.samples import download_sample, sample_path
from napari_jnet.synthetic import touching_cells


def cells() -> list[LayerData]:
    """Make a sequence of touching cells with their ground truth."""
    images, labels = touching_cells()
    image = {"name": "touching cells", "axis_labels": ("t", "y", "x")}
    truth = {
        **image,
        "name": "touching cells ground truth",
        "metadata": {METADATA_KEY: {"kind": "instances"}},
    }
    return [(images, image, "image"), (labels.astype(np.int32), truth, "labels")]


def nuclei() -> list[LayerData]:
    """Open three fluorescence images of nuclei, which come with the package."""
    return _bundled("nuclei")


def tissue() -> list[LayerData]:
    """Open a stained section of tissue in colours, which comes with the package."""
    return _bundled("tissue")


def _bundled(name: str) -> list[LayerData]:
    """Open the images of a sample without labels, in memory: the folder of the package is not worked in."""
    stack = open_stack(sample_path(name))
    images = np.stack([stack.frame(number) for number in stack.frame_numbers])
    axes = ("t", "y", "x")
    return [(images, {"name": name, "axis_labels": axes, "rgb": images.ndim == 4}, "image")]


def hela() -> list[LayerData]:
    """Download DIC-C2DH-HeLa of the Cell Tracking Challenge, or open it if it is there."""
    return _public("DIC-C2DH-HeLa")


def u373() -> list[LayerData]:
    """Download PhC-C2DH-U373 of the Cell Tracking Challenge, or open it if it is there."""
    return _public("PhC-C2DH-U373")


def _public(name: str) -> list[LayerData]:
    """Open a dataset; raises `ValueError` if the user cancels the download, or it fails."""
    path = sample_path(name)
    if not path.is_dir():
        try:
            with _Bar(total=1, desc=f"Downloading {name}") as bar:  # pooch sets the total
                path = download_sample(name, progressbar=bar)
        except InterruptedError:
            text = f"The download of {name} was cancelled; no part of it is kept."
            raise ValueError(text) from None
    return stack_layers(open_stack(path))


class _Bar(cancelable_progress):
    """napari's progress bar, which handles the events of the window at each update."""

    def update(self, n: int = 1) -> None:
        if self.is_canceled:
            raise InterruptedError
        super().update(n)
