"""Load stack: what a path holds is said before it is loaded, and loaded as the reader does."""

import numpy as np
import pytest
import tifffile

pytest.importorskip("napari")

from napari.components import ViewerModel
from qtpy.QtCore import QMimeData, QPoint, QPointF, Qt, QUrl
from qtpy.QtGui import QDesktopServices, QDragEnterEvent, QDropEvent

from napari_jnet.labels import LabelKind
from napari_jnet.plugin.jobs.train import training_input
from napari_jnet.plugin.open_workspace import open_workspace
from napari_jnet.plugin.pages.stack import LoadWidget
from napari_jnet.plugin.workbench import Workbench
from napari_jnet.project.open import open_stack
from napari_jnet.project.project import Project
from napari_jnet.synthetic import write_cells_sequence

TIMEOUT = 30_000
LEGEND = (("none", "#000000"), ("cell", "#ff8800"))


@pytest.fixture
def widget(qtbot):
    return page(qtbot)


def page(qtbot):
    """Return the page for a viewer without a window."""
    viewer = ViewerModel()
    widget = LoadWidget(viewer)
    qtbot.addWidget(widget)
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
    qtbot.waitUntil(lambda: "gold: " in widget.form.description.text(), timeout=TIMEOUT)
    assert "format: ctc" in widget.form.description.text()
    assert widget.form["sequence"].choices == ("01", "02")
    widget.form.set({"sequence": "02"})
    assert click(qtbot, widget) == "done"
    layers = list(widget.viewer.layers)
    assert [type(layer).__name__ for layer in layers[:1]] == ["Image"]
    assert layers[0].metadata["napari-jnet"]["sequence"] == "02"
    assert {layer.name for layer in layers[1:]} >= {f"{layers[0].name} gold"}
    assert widget.form.value("sequence") == "02"


def test_what_is_no_stack_is_said(qtbot, widget, tmp_path):
    widget.set_path(tmp_path / "nothing")
    assert click(qtbot, widget) == "failed"
    assert "does not exist" in widget.message.text
    (tmp_path / "notes.txt").write_text("no image")
    widget.set_path(tmp_path / "notes.txt")
    qtbot.waitUntil(lambda: "notes.txt" in widget.form.question.text(), timeout=TIMEOUT)
    widget.set_path("")
    assert click(qtbot, widget) == "failed"
    assert "No path" in widget.message.text
    assert not widget.viewer.layers


def test_the_image_alone_without_its_labels(qtbot, widget, dataset):
    widget.set_path(dataset, "01", labels=False)
    assert click(qtbot, widget) == "done"
    assert [type(layer).__name__ for layer in widget.viewer.layers] == ["Image"]


def test_an_image_is_said_in_words_and_its_axis_corrected(widget):
    part = widget.image
    assert "No image yet" in part.description.text()
    layer = widget.viewer.add_image(np.zeros((7, 32, 48), np.uint8), name="movie")
    assert part.description.text() == "time, rows, columns: 7 frames of 32 × 48, uint8"
    part.form.set({"axes": "ZYX"})
    assert part.description.text() == "sections, rows, columns: 7 frames of 32 × 48, uint8"
    assert layer.axis_labels == ("z", *layer.axis_labels[1:])
    widget.viewer.layers.clear()
    widget.viewer.add_image(np.zeros((32, 48), np.uint8), name="still")
    assert part.description.text() == "time, rows, columns: 1 frame of 32 × 48, uint8"


def test_axes_and_images_of_a_file_are_asked_for(qtbot, widget, tmp_path):
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, np.zeros((3, 2, 32, 48), np.uint8), photometric="minisblack")
    widget.set_path(path)
    qtbot.waitUntil(lambda: len(widget.form["axes"].choices) > 1, timeout=TIMEOUT)
    assert "3 × 2 × 32 × 48" in widget.form.question.text()
    widget.form.set({"axes": "TCYX"})
    qtbot.waitUntil(lambda: "32 × 48 × 2" in widget.form.description.text(), timeout=TIMEOUT)
    assert click(qtbot, widget) == "done"
    assert widget.viewer.layers[0].data.shape == (2, 3, 32, 48)
    with tifffile.TiffWriter(tmp_path / "m.ome.tif", ome=True) as writer:
        for count in (2, 5):
            writer.write(np.zeros((count, 32, 48), np.uint8), metadata={"axes": "TYX"})
    widget.set_path(tmp_path / "m.ome.tif")
    qtbot.waitUntil(lambda: "1 of 2" in widget.form.description.text(), timeout=TIMEOUT)
    assert len(widget.form["axes"].choices) == 1
    widget.form.set({"series": 2})
    qtbot.waitUntil(lambda: "5 (0 to 4)" in widget.form.description.text(), timeout=TIMEOUT)
    assert click(qtbot, widget) == "done"
    assert widget.viewer.layers[-1].data.shape == (5, 32, 48)


def test_painting_is_said_to_be_saved_and_the_project_comes_back(
    qtbot, widget, dataset, tmp_path, monkeypatch
):
    monkeypatch.setenv("NAPARI_JNET_PROJECTS", str(tmp_path))
    widget.set_path(dataset, "01", labels=False)
    click(qtbot, widget)
    assert "Not in a project yet" in widget.project.saved.text()
    assert widget.offer.isHidden()
    annotation = open_workspace(widget.viewer).new_annotation()
    annotation.paint((0, 20, 20), 1)
    state = open_workspace(widget.viewer)
    assert state.autosave.flush()
    assert widget.project.saved.text().startswith("Saved ")
    shown = []
    monkeypatch.setattr(QDesktopServices, "openUrl", shown.append)
    widget.project.folder_button.click()
    path = state.project.path
    assert [url.toLocalFile() for url in shown] == [str(path)]
    painted = annotation.data.copy()
    state.autosave.release()

    again = page(qtbot)
    again.set_path(dataset, "01")
    click(qtbot, again)
    state = open_workspace(again.viewer)
    state.autosave.wait()
    assert not again.offer.isHidden()
    assert "1 frame annotated" in again.offer.text.text()
    qtbot.mouseClick(again.resume_button, Qt.LeftButton)
    state.autosave.wait()
    assert again.offer.isHidden()
    assert state.project.path == path
    assert np.array_equal(state.annotation.data, painted)


def test_a_project_is_loaded_by_its_folder(qtbot, widget, dataset, tmp_path):
    stack = open_stack(dataset, sequence="01")
    project = Project.create(tmp_path / "work", stack, "classes", classes=LEGEND)
    labels = np.zeros(stack.shape, np.int32)
    labels[:5, :5], labels[5:9, :5] = 1, -1
    project.write_frame(1, labels)
    project.set_role(1, "validation")
    widget.set_path(project.path)
    qtbot.waitUntil(
        lambda: "annotation painted: classes" in widget.form.description.text(), timeout=TIMEOUT
    )
    assert "gold" not in widget.form.description.text()
    assert widget.form["labels"].native.isHidden()
    assert click(qtbot, widget) == "done"
    state = open_workspace(widget.viewer)
    state.autosave.wait()
    assert state.project.path == project.path
    assert np.array_equal(state.annotation.data[1], labels)
    assert (state.frames.kind, state.frames.classes) == ("classes", LEGEND)
    assert state.frames.info(1).role == "validation"
    assert state.offer is None
    state.annotation.paint((0, 20, 20), 1)
    assert state.autosave.flush()
    assert Project.open(project.path).annotated == (0, 1)


class TestLabels:
    """Labels that do not tell what they mean are asked about, and nothing is guessed."""

    @pytest.fixture
    def volume(self, tmp_path):
        """Two frames with a cell, or a class, in one piece; and one that nobody has labelled."""
        labels = np.zeros((3, 32, 32), np.uint16)
        labels[:2, 4:20, 6:22] = 1
        write(tmp_path / "w.tif", np.zeros((3, 32, 32), np.uint8))
        write(tmp_path / "w_masks.tif", labels)
        return tmp_path / "w.tif"

    def test_a_meaning_is_asked_and_chosen(self, qtbot, widget, volume):
        widget.set_path(volume)
        part = widget.form
        qtbot.waitUntil(lambda: "cannot be decided" in part.question.text(), timeout=TIMEOUT)
        assert not part.question.isHidden() and not part["kind"].native.isHidden()
        assert click(qtbot, widget) == "failed"
        assert "cannot be decided" in widget.message.text and "--" not in widget.message.text
        part.set({"kind": "classes"})
        qtbot.waitUntil(part.question.isHidden, timeout=TIMEOUT)
        assert "frames: 2 (0, 1)" in widget.form.description.text()
        part.set({"unlabelled": "background"})
        assert click(qtbot, widget) == "done"
        labels = widget.viewer.layers[-1]
        assert labels.metadata["napari-jnet"]["kind"] == "classes"
        frames = training_input(widget.viewer.layers[0], labels, LabelKind.CLASSES).frames()
        assert [frame.labels.any() for frame in frames] == [True, True, False]
        widget.set_path(volume.parent / "other.tif")
        assert not any(part.choices.values())

    def test_one_of_several_files_is_asked_and_chosen(self, qtbot, widget, volume):
        other = np.zeros((3, 32, 32), np.uint16)
        other[:, 1:9:2, ::4] = 5
        write(volume.parent / "w_cp_masks.tif", other)
        widget.set_path(volume)
        qtbot.waitUntil(lambda: len(widget.form["truth"].choices) == 3, timeout=TIMEOUT)
        assert click(qtbot, widget) == "failed"
        widget.form.set({"truth": "w_cp_masks.tif"})
        assert click(qtbot, widget) == "done"
        assert [layer.name for layer in widget.viewer.layers] == ["w", "w w_cp_masks.tif"]


def write(path, array):
    tifffile.imwrite(path, array, photometric="minisblack")


def drop(widget, *urls):
    """Drop on a widget; return whether it takes what comes."""
    data = QMimeData()
    data.setUrls([QUrl(url) for url in urls])
    keys, buttons = Qt.KeyboardModifier.NoModifier, Qt.MouseButton.LeftButton
    action, place = Qt.DropAction.CopyAction, QPoint(5, 5)
    enter = QDragEnterEvent(place, action, data, buttons, keys)
    enter.ignore()
    widget.dragEnterEvent(enter)
    if enter.isAccepted():
        widget.dropEvent(QDropEvent(QPointF(place), action, data, buttons, keys))
    return enter.isAccepted()


@pytest.mark.parametrize("kind", [LoadWidget, Workbench])
def test_a_dataset_that_is_dropped_on_the_dock_is_loaded(tmp_path, qtbot, kind):
    root = write_cells_sequence(tmp_path, frames=(2, 1), shape=(64, 64), cells=2, diameter=20)
    viewer = ViewerModel()
    widget = kind(viewer)
    qtbot.addWidget(widget)
    assert widget.acceptDrops()
    assert drop(widget, QUrl.fromLocalFile(str(root)).toString())
    qtbot.waitUntil(lambda: len(viewer.layers) == 2, timeout=TIMEOUT)
    assert not drop(widget, "https://example.org/cells.tif")
    assert not drop(widget, *[QUrl.fromLocalFile(str(root)).toString()] * 2)


def test_images_that_differ_in_size_are_said_before_they_are_loaded(qtbot, tmp_path):
    for name, shape in (("a", (24, 32)), ("b", (40, 20)), ("c", (24, 32))):
        tifffile.imwrite(tmp_path / f"{name}.tif", np.zeros(shape, np.uint8))
    widget = LoadWidget(ViewerModel())
    qtbot.addWidget(widget)
    widget.set_path(tmp_path)
    sizes = "size of a frame: 24 × 32 to 40 × 20"
    qtbot.waitUntil(lambda: sizes in widget.form.description.text(), timeout=TIMEOUT)
