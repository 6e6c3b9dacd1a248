"""Sample data for File > Open Sample: synthetic stacks, and public datasets by download."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from napari_jnet import synthetic
from napari_jnet.plugin.layers.read import METADATA_KEY
from napari_jnet.plugin.layers.stack_layers import LayerData, stack_layers
from napari_jnet.project.open import open_stack
from napari_jnet.samples import download_sample, sample_path

_PROGRESS_MS = 100  # between updates of the progress bar


def cells() -> list[LayerData]:
    """Make a sequence of touching cells with their ground truth."""
    images, labels = synthetic.touching_cells()
    return _pair("touching cells", images, labels.astype(np.int32), "tyx", "instances")


def membranes() -> list[LayerData]:
    """Make serial sections with cell membranes: 1 = inside a cell, 0 = membrane."""
    image, labels = synthetic.em_membranes()
    nanometers: dict[str, Any] = {"scale": (50.0, 4.0, 4.0), "units": ("nanometer",) * 3}
    return _pair("EM membranes", image, labels.astype(np.int32), "zyx", "classes", **nanometers)


def lines_and_ellipses() -> list[LayerData]:
    """Make colour images of lines (class 1) and ellipses (class 2)."""
    images, classes = synthetic.lines_and_ellipses()
    labels = classes.astype(np.int32)
    return _pair("lines and ellipses", images, labels, "tyx", "classes", rgb=True)


def hela() -> list[LayerData]:
    """Download DIC-C2DH-HeLa of the Cell Tracking Challenge, or open it if it is there."""
    return _public("DIC-C2DH-HeLa")


def u373() -> list[LayerData]:
    """Download PhC-C2DH-U373 of the Cell Tracking Challenge, or open it if it is there."""
    return _public("PhC-C2DH-U373")


def _pair(
    name: str, image: Any, labels: Any, axes: str, kind: str, *, rgb: bool = False, **options: Any
) -> list[LayerData]:
    stack = {"format": "array", "frame_numbers": list(range(len(image))), "kind": kind}
    options["axis_labels"] = tuple(axes)
    shown = {"name": name, "metadata": {METADATA_KEY: stack}, **options}
    ground_truth = {
        "name": f"{name} ground truth",
        "metadata": {METADATA_KEY: dict(stack)},
        **options,
    }
    return [
        (image, shown | ({"rgb": True} if rgb else {}), "image"),
        (labels, ground_truth, "labels"),
    ]


def _public(name: str) -> list[LayerData]:
    path = sample_path(name)
    return stack_layers(open_stack(path if path.is_dir() else _download(name)))


def _download(name: str) -> Path:
    """Download in a thread and show the progress; the window stays responsive.

    napari needs the layers when the function of a sample returns: it runs an event loop until then.

    Raises
    ------
    ValueError
        If the user cancelled, or the download failed.
    """
    from napari.utils import cancelable_progress
    from qtpy.QtCore import QEventLoop, QTimer
    from qtpy.QtWidgets import QApplication

    if QApplication.instance() is None:
        return download_sample(name)
    loop, timer, cancelled = QEventLoop(), QTimer(), threading.Event()
    amount = (0, 0)

    class Bar(cancelable_progress):
        def cancel(self) -> None:
            timer.stop()  # a closed bar is not updated
            super().cancel()
            loop.quit()

    def progress(received: int, total: int) -> None:
        nonlocal amount
        amount = (received, total)
        if cancelled.is_set():
            raise InterruptedError

    def show() -> None:
        received, bar.total = amount
        bar.update(received - bar.n)
        if download.done():
            loop.quit()

    bar = Bar(total=0, desc=f"Downloading {name}")
    threads = ThreadPoolExecutor(1, "download")
    download = threads.submit(download_sample, name, progress=progress)
    timer.timeout.connect(show)
    timer.start(_PROGRESS_MS)
    try:
        loop.exec()
    finally:
        timer.stop()
        bar.close()
        cancelled.set()
        threads.shutdown(wait=False)
    if not download.done():
        raise ValueError(f"The download of {name} was cancelled; no part of it is kept.")
    return download.result()
