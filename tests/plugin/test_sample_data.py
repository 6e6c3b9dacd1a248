from __future__ import annotations

import time

import numpy as np
import pytest
from napari.utils import progress
from qtpy.QtCore import QTimer

from napari_jnet import samples
from napari_jnet.plugin import sample_data
from napari_jnet.synthetic import write_cells_sequence


def test_touching_cells_open_in_a_viewer(make_napari_viewer):
    viewer = make_napari_viewer(show=False)
    image, labels = viewer.open_sample("napari-jnet", "cells")
    assert image.data.shape == labels.data.shape
    assert np.issubdtype(labels.data.dtype, np.integer)
    assert image.axis_labels == labels.axis_labels
    assert labels.metadata["napari-jnet"]["kind"] == "instances"


@pytest.mark.parametrize(
    ("name", "shape", "rgb"), [("nuclei", (3, 256, 256), False), ("tissue", (1, 256, 320, 3), True)]
)
def test_images_of_the_package_open_without_labels(make_napari_viewer, name, shape, rgb):
    viewer = make_napari_viewer(show=False)
    (image,) = viewer.open_sample("napari-jnet", name)
    assert image.data.shape == shape and image.rgb is rgb
    assert not image.source.path


@pytest.fixture
def slow_download(tmp_path, monkeypatch):
    """Stands for the network: the download goes on when it is told to."""

    def download(name, progressbar):
        progressbar.total = 4
        while not download.goes_on:  # bounded by the timeout of the test
            progressbar.update(0)
            time.sleep(0.01)
        return write_cells_sequence(
            tmp_path / name, frames=(2, 1), shape=(64, 64), cells=2, diameter=20
        )

    download.goes_on = False
    monkeypatch.setattr(sample_data, "download_sample", download)
    monkeypatch.setattr(sample_data, "sample_path", lambda name: tmp_path / name)
    return download


@pytest.fixture
def every_5_ms():
    """Call a function in the window's thread."""
    timer = QTimer()
    timer.setInterval(5)
    timer.start()
    yield timer.timeout.connect
    timer.stop()


def test_window_lives_while_a_sample_is_downloaded(make_napari_viewer, slow_download, every_5_ms):
    viewer = make_napari_viewer(show=False)
    ticks = []

    def tick():
        ticks.append(None)
        slow_download.goes_on = len(ticks) > 10

    every_5_ms(tick)
    layers = viewer.open_sample("napari-jnet", "hela")
    assert len(ticks) > 10
    assert [layer.name for layer in layers] == ["DIC-C2DH-HeLa 01", "DIC-C2DH-HeLa 01 gold"]


def test_cancel_button_ends_the_download(make_napari_viewer, slow_download, every_5_ms):
    viewer = make_napari_viewer(show=False)
    every_5_ms(lambda: [bar.cancel() for bar in list(progress._all_instances)])
    with pytest.raises(ValueError, match="download of DIC-C2DH-HeLa was cancelled"):
        viewer.open_sample("napari-jnet", "hela")
    assert len(viewer.layers) == 0


def test_failed_download_is_told(make_napari_viewer, monkeypatch, tmp_path):
    def download(name, progressbar):
        progressbar.update(1)
        raise ValueError("the checksum differs")

    monkeypatch.setattr(sample_data, "download_sample", download)
    monkeypatch.setattr(sample_data, "sample_path", lambda name: tmp_path / name)
    viewer = make_napari_viewer(show=False)
    with pytest.raises(ValueError, match="checksum differs"):
        viewer.open_sample("napari-jnet", "u373")


def test_downloaded_sample_opens_at_once(monkeypatch, tmp_path):
    root = write_cells_sequence(
        tmp_path / "PhC-C2DH-U373", frames=(2, 1), shape=(64, 64), cells=2, diameter=20
    )
    assert samples.sample_path("PhC-C2DH-U373", tmp_path) == root
    monkeypatch.setattr(sample_data, "sample_path", lambda name: root)
    assert [kind for _, _, kind in sample_data.u373()] == ["image", "labels"]
