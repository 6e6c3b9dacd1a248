"""Sample data for File > Open Sample: synthetic stacks, and public datasets by download."""

from __future__ import annotations

from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any

import numpy as np

from napari_jnet import synthetic
from napari_jnet.plugin.layers.stack_layers import LayerData, stack_layers
from napari_jnet.project.open import open_stack
from napari_jnet.samples import DownloadEnd, DownloadProgress, download_sample, sample_path


def cells() -> list[LayerData]:
    """Make a sequence of touching cells with their truth."""
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
    def told() -> dict[str, Any]:
        numbers = list(range(len(image)))
        return {"napari-jnet": {"format": "array", "frame_numbers": numbers, "kind": kind}}

    options["axis_labels"] = tuple(axes)
    colour = {"rgb": True} if rgb else {}
    return [
        (image, {"name": name, "metadata": told(), **colour, **options}, "image"),
        (labels, {"name": f"{name} truth", "metadata": told(), **options}, "labels"),
    ]


def _public(name: str, **options: Any) -> list[LayerData]:
    folder = options.get("folder")
    path = sample_path(name, folder)
    if not path.is_dir():
        path = _fetch(name, lambda: download_sample(name, **options))
    return stack_layers(open_stack(path))


_Download = Generator[DownloadProgress | DownloadEnd, None, None]


def _fetch(name: str, start: Callable[[], _Download]) -> Path:
    """Run the download in a thread and show its progress; the window stays alive meanwhile.

    napari wants the layers when a sample's function returns: it waits in an event loop of its own.

    Raises
    ------
    ValueError
        If the user cancelled, or the download failed.
    """
    from qtpy.QtWidgets import QApplication

    if QApplication.instance() is None:
        return _last(start())
    return _fetch_in_window(name, start)


def _last(events: _Download) -> Path:
    for event in events:
        if isinstance(event, DownloadEnd):
            return event.path
    raise ValueError("The download ended without its data; try again.")


def _fetch_in_window(name: str, start: Callable[[], _Download]) -> Path:
    from napari.utils import cancelable_progress
    from qtpy.QtCore import QEventLoop

    from napari_jnet.plugin.jobs.runner import JobRunner

    relay, loop = JobRunner(), QEventLoop()
    ends: list[Path] = []
    errors: list[Exception] = []

    class Bar(cancelable_progress):
        def cancel(self) -> None:
            super().cancel()
            relay.stop()

    bar = Bar(total=0, desc=f"Downloading {name}")

    def show(event: DownloadProgress | DownloadEnd) -> None:
        if isinstance(event, DownloadEnd):
            ends.append(event.path)
        else:
            bar.total = event.total
            bar.update(event.received - bar.n)

    def fail(error: Exception) -> None:
        errors.append(error)
        loop.quit()

    try:
        relay.start(
            start,
            on_event=show,
            on_done=lambda _: loop.quit(),
            on_error=fail,
            on_stopped=loop.quit,
            title=f"download of {name}",
        )
        loop.exec()
    finally:
        bar.close()
    if errors:
        raise errors[0]
    if not ends:
        raise ValueError(f"The download of {name} was cancelled; nothing of it was kept.")
    return ends[0]
