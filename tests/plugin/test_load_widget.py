"""Load stack: what a path holds is said before it is loaded, and loaded as the reader does."""

import pytest

pytest.importorskip("napari")

from qtpy.QtCore import Qt

from napari_jnet.data.synthetic import write_cells_sequence

TIMEOUT = 30_000


@pytest.fixture
def widget(make_napari_viewer_proxy):
    viewer = make_napari_viewer_proxy()
    _, widget = viewer.window.add_plugin_dock_widget("napari-jnet", "Load stack")
    widget.viewer = viewer
    return widget


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    return write_cells_sequence(tmp_path_factory.mktemp("cells") / "cells")


def click(qtbot, widget):
    with qtbot.waitSignal(widget.finished, timeout=TIMEOUT) as signal:
        qtbot.mouseClick(widget.load_button, Qt.LeftButton)
    assert widget.load_button.isEnabled()
    return signal.args[0]


def test_a_dataset_is_described_and_loaded(qtbot, widget, dataset):
    widget.set_path(dataset)
    qtbot.waitUntil(lambda: "gold: " in widget.description.text(), timeout=TIMEOUT)
    assert "Cell Tracking Challenge sequence" in widget.description.text()
    combo = widget.sequence_combo
    assert [combo.itemText(i) for i in range(combo.count())] == ["01", "02"]
    combo.setCurrentText("02")
    assert click(qtbot, widget) == "done"
    layers = list(widget.viewer.layers)
    assert [type(layer).__name__ for layer in layers[:1]] == ["Image"]
    assert layers[0].metadata["napari-jnet"]["sequence"] == "02"
    assert {layer.name for layer in layers[1:]} >= {f"{layers[0].name} gold"}
    assert combo.currentText() == "02"


def test_what_is_no_stack_is_said(qtbot, widget, tmp_path):
    widget.set_path(tmp_path / "nothing")
    assert click(qtbot, widget) == "failed"
    assert "does not exist" in widget.message.text
    (tmp_path / "notes.txt").write_text("no image")
    widget.set_path(tmp_path / "notes.txt")
    qtbot.waitUntil(lambda: "notes.txt" in widget.message.text, timeout=TIMEOUT)
    widget.set_path("")
    assert click(qtbot, widget) == "failed"
    assert "no path" in widget.message.text
    assert not widget.viewer.layers
