"""The example of a window of one's own works, and needs the public names only."""

from __future__ import annotations

import ast
import runpy
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("napari")
pytest.importorskip("pytestqt")

import napari_jnet
from napari_jnet.synthetic import touching_cells, write_cells_sequence

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "tiny_window.py"
SMALL = {
    "network.channels": 2,
    "network.resolution_levels": (-2, -1),
    "training.batches_per_epoch": 2,
    "training.batch_size": 2,
    "training.patch_size": 16,
    "training.threads": 1,
}


@pytest.fixture
def viewer(make_napari_viewer_proxy):
    return make_napari_viewer_proxy()


@pytest.fixture
def window(viewer, tmp_path):
    widget = runpy.run_path(str(EXAMPLE))["TinyWindow"](viewer, dict(SMALL))
    viewer.window.add_dock_widget(widget)
    widget.run_folder.value = tmp_path / "run"
    widget.minutes.value = 0.02
    return widget


def wait_for_end(window, qtbot):
    qtbot.waitUntil(lambda: not window.stop_button.enabled, timeout=60_000)


def test_it_is_short_and_uses_public_names_only():
    text = EXAMPLE.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 150
    used, imported = set(), set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Attribute) and ast.unparse(node.value) == "nj":
            used.add(node.attr)
        elif isinstance(node, ast.Import):
            imported |= {name.name for name in node.names}
        elif isinstance(node, ast.ImportFrom):
            imported.add(node.module)
    assert used and used <= set(napari_jnet.__all__)
    assert [name for name in imported if name.startswith("napari_jnet")] == ["napari_jnet"]


def test_it_opens_trains_and_predicts(viewer, window, tmp_path, qtbot):
    window.path.value = write_cells_sequence(
        tmp_path / "cells", frames=(3, 1), shape=(64, 64), cells=3, diameter=16.0
    )
    window.open_button.native.click()
    assert [layer.name for layer in viewer.layers] == ["cells 01", "cells 01 labels"]
    assert viewer.layers["cells 01"].data.shape == (3, 64, 64)
    assert viewer.layers["cells 01 labels"].data.max() == 3

    window.train_button.native.click()
    assert window.stop_button.enabled and not window.train_button.enabled
    wait_for_end(window, qtbot)
    assert window.status.value == "Training has ended."
    assert window.progress.value > 0
    assert {"model.pt", "last.pt", "history.csv"} <= {p.name for p in (tmp_path / "run").iterdir()}

    window.predict_button.native.click()
    wait_for_end(window, qtbot)
    assert window.status.value == "Prediction has ended."
    assert window.progress.value == window.progress.max
    stack = napari_jnet.open_stack(tmp_path / "cells", sequence="01")
    model = napari_jnet.load_model(tmp_path / "run")
    for frame in napari_jnet.predict(model, stack):
        for name in ("segmentation", "instances"):
            shown = viewer.layers[name].data[frame.position]
            np.testing.assert_allclose(shown, getattr(frame, name), atol=1e-5)


def test_layers_of_a_single_image_do_as_well(viewer, window, tmp_path, qtbot):
    images, labels = touching_cells(1, (64, 64), cells=3, diameter=16.0)
    viewer.add_image(images[0], name="cell", scale=(0.5, 0.5))
    viewer.add_labels(labels[0].astype(int), name="painted", scale=(0.5, 0.5))
    window.train()
    wait_for_end(window, qtbot)
    window.predict()
    wait_for_end(window, qtbot)
    result = viewer.layers["segmentation"]
    assert result.data.shape == (64, 64) and result.data.max() > 0
    assert tuple(result.scale) == (0.5, 0.5)


def test_stop_ends_the_training_and_saves_it(viewer, window, tmp_path, qtbot):
    images, labels = touching_cells(2, (64, 64), cells=3, diameter=16.0)
    viewer.add_image(images)
    viewer.add_labels(labels.astype(int))
    window.minutes.value = 60
    window.train()
    qtbot.waitUntil(lambda: window.status.value.startswith("Epoch"), timeout=60_000)
    window.stop_button.native.click()
    wait_for_end(window, qtbot)
    assert window.status.value == "Training has ended."
    assert (tmp_path / "run" / "last.pt").is_file()
    assert window.train_button.enabled

    window.train()  # the folder has a model now
    wait_for_end(window, qtbot)
    assert "Choose another folder" in window.status.value
