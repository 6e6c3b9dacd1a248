from __future__ import annotations

import threading

import numpy as np
import pytest

from napari_jnet import samples
from napari_jnet.plugin import sample_data
from napari_jnet.synthetic import write_cells_sequence


@pytest.mark.parametrize("name", ["cells", "membranes", "lines_and_ellipses"])
def test_synthetic_samples_open_in_a_viewer(make_napari_viewer, name):
    viewer = make_napari_viewer(show=False)
    image, labels = viewer.open_sample("napari-jnet", name)
    size = image.data.shape[:-1] if image.rgb else image.data.shape
    assert size == labels.data.shape
    assert np.issubdtype(labels.data.dtype, np.integer)
    assert image.axis_labels == labels.axis_labels
    assert labels.metadata["napari-jnet"]["kind"] == ("instances" if name == "cells" else "classes")


@pytest.fixture
def slow_download(tmp_path, monkeypatch):
    """Stands for the network: the download goes on when it is told to."""
    go_on = threading.Event()
    started = threading.Event()

    def download(name, progress):
        started.set()
        while not go_on.wait(0.02):  # bounded by the timeout of the test
            progress(2, 4)
        return write_cells_sequence(
            tmp_path / name, frames=(2, 1), shape=(64, 64), cells=2, diameter=20
        )

    monkeypatch.setattr(sample_data, "download_sample", download)
    monkeypatch.setattr(sample_data, "sample_path", lambda name: tmp_path / name)
    download.go_on, download.started = go_on, started
    return download


def test_window_lives_while_a_sample_is_downloaded(make_napari_viewer, slow_download):
    from qtpy.QtCore import QTimer

    viewer = make_napari_viewer(show=False)
    ticks = []
    timer = QTimer()
    timer.setInterval(5)

    def tick():
        ticks.append(None)
        if len(ticks) > 10 and slow_download.started.is_set():
            slow_download.go_on.set()

    timer.timeout.connect(tick)
    timer.start()
    layers = viewer.open_sample("napari-jnet", "hela")
    timer.stop()
    assert len(ticks) > 10
    assert [layer.name for layer in layers] == ["DIC-C2DH-HeLa 01", "DIC-C2DH-HeLa 01 gold"]


def test_cancel_button_ends_the_download(make_napari_viewer, slow_download):
    from napari.utils import progress
    from qtpy.QtCore import QTimer

    viewer = make_napari_viewer(show=False)
    timer = QTimer()
    timer.setInterval(5)

    def cancel():
        for bar in list(progress._all_instances):
            if "HeLa" in str(bar.desc) and slow_download.started.is_set():
                bar.cancel()

    timer.timeout.connect(cancel)
    timer.start()
    with pytest.raises(ValueError, match="download of DIC-C2DH-HeLa was cancelled"):
        viewer.open_sample("napari-jnet", "hela")
    timer.stop()
    assert len(viewer.layers) == 0


def test_failed_download_is_told(make_napari_viewer, monkeypatch, tmp_path):
    def download(name, progress):
        progress(1, 4)
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
