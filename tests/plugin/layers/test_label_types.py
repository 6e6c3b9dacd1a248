"""Labels layers of any integer type take unknown pixels and more cells than their type holds."""

import numpy as np
import pytest

pytest.importorskip("napari")

from napari.components import ViewerModel

from napari_jnet.events import FramePrediction
from napari_jnet.labels import UNKNOWN
from napari_jnet.plugin.layers.add import add_results
from napari_jnet.plugin.layers.read import image_stack
from napari_jnet.plugin.open_workspace import open_workspace
from napari_jnet.plugin.pages.annotate import AnnotateWidget
from napari_jnet.plugin.pages.predict import copy_to_annotation
from napari_jnet.project.project import Project

SIZE = 48


@pytest.fixture
def painting(qapp, qtbot):
    """Return what makes Annotate for labels of a type; all cells that it holds are in frame 0."""
    made = []

    def make(dtype):
        viewer = ViewerModel()
        viewer.add_image(np.random.default_rng(0).random((3, SIZE, SIZE)), name="movie")
        full = np.zeros((3, SIZE, SIZE), dtype)
        most = int(np.iinfo(dtype).max)
        full[0].flat[: 2 * min(most, 255) : 2] = np.arange(max(1, most - 254), most + 1)
        layer = viewer.add_labels(full, name="mine")
        viewer.dims.set_current_step(0, 0)
        widget = AnnotateWidget(viewer)
        qtbot.addWidget(widget)
        open_workspace(viewer).choose("annotation", layer)
        made.append(open_workspace(viewer))
        return widget, layer

    yield make
    for state in made:
        state.autosave.flush()


@pytest.mark.parametrize("dtype", [np.uint8, np.int8, np.uint16, np.int16])
def test_one_cell_more_and_unknown(painting, dtype):
    widget, layer = painting(dtype)
    most, before = int(np.iinfo(dtype).max), np.array(layer.data)
    widget.tools.new_button.click()
    assert layer.selected_label == most + 1
    layer.paint((0, 30, 30), most + 1)
    widget.tools.unknown_button.click()
    assert layer.selected_label == UNKNOWN
    layer.paint((1, 5, 5), UNKNOWN)
    widget.tools.unknown_button.click()
    assert layer.selected_label == most + 1
    assert layer.data[0].max() == most + 1
    assert not widget.message.is_error
    layer.undo()
    layer.undo()
    np.testing.assert_array_equal(layer.data, before)


def test_what_is_changed_is_saved_and_nothing_else_counts_as_new(painting):
    widget, layer = painting(np.uint8)
    state = widget._workspace
    layer.paint((1, 30, 30), 255)
    assert state.autosave.flush()
    edited = []
    state.frames.edited.connect(edited.extend)
    widget.tools.unknown_button.click()
    assert edited == []
    layer.paint((2, 5, 5), UNKNOWN)
    assert set(edited) == {2}
    assert state.autosave.flush()
    project = Project.open(state.project.path)
    for number in range(3):
        np.testing.assert_array_equal(project.read_frame(number), layer.data[number])


def test_the_outline_of_the_last_number_of_a_type_is_followed_by_another(painting):
    _widget, layer = painting(np.uint8)
    layer.mode, layer.selected_label = "polygon", 255
    layer.paint_polygon([(0, 20, 20), (0, 20, 40), (0, 40, 40), (0, 40, 20)], 255)
    assert layer.selected_label == 256
    assert (layer.data[0] == 255).sum() > 400
    layer.paint_polygon([(1, 20, 20), (1, 20, 40), (1, 40, 40), (1, 40, 20)], 256)
    assert layer.data[1].max() == 256
    layer.undo()
    layer.undo()
    assert (layer.data[0] == 255).sum() == 1


def test_every_button_of_a_frame(painting):
    widget, layer = painting(np.uint8)
    layer.data[0, 40:, :5], layer.data[0, 40:, 40:] = 7, 7  # in pieces
    layer.refresh()
    widget.frame.number_apart()
    assert layer.data[0].max() > 255
    widget, layer = painting(np.uint16)
    widget.frame.mark_unknown()
    assert layer.data[0].min() == UNKNOWN
    widget, layer = painting(np.uint8)
    layer.paint((1, 40, 40), 255)  # another cell of a number that frame 0 has
    widget._workspace.viewer.dims.set_current_step(0, 1)
    assert widget.frame.copy_previous() == 255
    assert layer.data[1].max() == 256


def test_predicted_cells_are_copied_into_labels_of_any_type(painting):
    widget, layer = painting(np.uint8)
    state = widget._workspace
    results = add_results(state.viewer, None, state.image, image_stack(state.image), 5.0, "model")
    cells = np.zeros((SIZE, SIZE), np.int32)
    cells[20:30, 20:30], cells[35:45, 35:45] = 1, 2
    seen = (cells > 0).astype(np.float32)
    results.write(FramePrediction(0, 0, 3, seen, 3 * seen, cells), 0.5)
    state.prediction = results
    assert copy_to_annotation(state, results)[1].startswith("2 cells copied")
    assert layer.data[0].max() == 257


def test_what_cannot_become_int32_is_said_and_nothing_changes(painting, tmp_path):
    widget, layer = painting(np.uint8)
    layer.data = np.memmap(tmp_path / "labels", np.uint8, "w+", shape=layer.data.shape)
    widget.tools.unknown_button.click()
    assert "hold 0 to 255 (uint8), not -1" in widget.message.text
    assert "New annotation" in widget.message.text
    assert layer.selected_label != UNKNOWN
    assert not widget.tools.unknown_button.isChecked()


def test_unknown_is_grey_in_labels_of_any_origin(painting):
    widget, layer = painting(np.uint8)
    cells = layer.colormap.map(np.arange(1, 40))
    widget.tools.unknown_button.click()
    red, green, blue, _ = layer.colormap.map(UNKNOWN).ravel()
    assert red == green == blue
    np.testing.assert_array_equal(layer.colormap.map(np.arange(1, 40)), cells)
