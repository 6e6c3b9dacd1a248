"""Viewers with small images, and one small trained network for all tests of the window."""

from __future__ import annotations

import threading

import numpy as np
import pytest

pytest.importorskip("napari")
pytest.importorskip("pytestqt")

SMALL = {
    "network.channels": 2,
    "network.resolution_levels": (-2, -1),
    "targets.dt_bound": 6.0,
    "training.batches_per_epoch": 2,
    "training.batch_size": 2,
    "training.patch_size": 16,
}


def discs(frames: int = 4, size: int = 64) -> tuple[np.ndarray, np.ndarray]:
    """Return images of bright discs in noise, (T, H, W) float32, and their labels."""
    random = np.random.default_rng(0)
    rows, columns = np.mgrid[:size, :size]
    labels = np.zeros((frames, size, size), np.int32)
    for frame in labels:
        for number, (row, column) in enumerate(random.integers(8, size - 8, (5, 2)), start=1):
            frame[(rows - row) ** 2 + (columns - column) ** 2 < 49] = number
    images = (labels > 0) + random.normal(0, 0.2, labels.shape)
    return images.astype(np.float32), labels


@pytest.fixture(scope="session")
def small():
    """Return changes that make training take a second."""
    return dict(SMALL)


@pytest.fixture(autouse=True)
def _own_home(tmp_path_factory, monkeypatch):
    """Keep suggested run folders out of the user's home."""
    monkeypatch.setenv("HOME", str(tmp_path_factory.mktemp("home")))


@pytest.fixture(autouse=True)
def projects(tmp_path, monkeypatch):
    """Return the folder of projects of this test."""
    folder = tmp_path / "projects"
    monkeypatch.setenv("NAPARI_JNET_PROJECTS", str(folder))
    return folder


@pytest.fixture(autouse=True)
def _own_threads(_own_home, projects):
    """Wait for the threads of ours that a test leaves, so that they do not run beside the next."""
    yield
    for thread in threading.enumerate():
        if thread.name.startswith("napari-jnet"):
            thread.join(60)
            assert not thread.is_alive(), f"{thread.name} still runs after the test"


@pytest.fixture(autouse=True)
def touched_elsewhere(monkeypatch):
    """Fail where a thread of ours changes a layer, a viewer or another model of napari.

    Every such change emits an event of napari in the thread that makes it.

    Yields
    ------
    list of str
        The events so far and their threads.
    """
    from napari.utils.events import EventEmitter

    found: list[str] = []
    emit = EventEmitter.__call__

    def watched(self, *args, **kwargs):
        thread = threading.current_thread()
        if thread.name.startswith("napari-jnet"):
            found.append(f"{self.default_args.get('type')} in {thread.name}")
        return emit(self, *args, **kwargs)

    monkeypatch.setattr(EventEmitter, "__call__", watched)
    yield found
    assert not found, "touched from a worker thread: " + "; ".join(found)


@pytest.fixture
def viewer(make_napari_viewer):
    """Return a viewer with an image "movie" and labels "truth", in 3 µm pixels."""
    return with_discs(make_napari_viewer())


@pytest.fixture
def viewer_model(qapp):
    """Return the same viewer without a window, which is faster."""
    from napari.components import ViewerModel

    return with_discs(ViewerModel())


def with_discs(viewer):
    """Add the image and the labels of `discs` to a viewer and return it."""
    images, labels = discs()
    lies = {"scale": (1, 3, 3), "units": ("s", "um", "um"), "axis_labels": ("t", "y", "x")}
    viewer.add_image(images, name="movie", **lies)
    viewer.add_labels(labels, name="truth", **lies)
    return viewer


@pytest.fixture(scope="session")
def trained_run(tmp_path_factory):
    """Return a run folder with a small network trained on the discs."""
    from napari_jnet.config import preset
    from napari_jnet.io.stack import AnnotatedFrame
    from napari_jnet.training.loop import train

    images, labels = discs()
    frames = [AnnotatedFrame(f"t{i}", images[i], labels[i]) for i in range(len(images))]
    run = tmp_path_factory.mktemp("trained") / "run"
    config = preset("unet").replace(
        {**SMALL, "training.epochs": 2, "training.batches_per_epoch": 8, "network.channels": 4}
    )
    for _ in train(frames, run, config):
        pass
    return run
