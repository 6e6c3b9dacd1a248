"""Annotate, by its buttons; test_manifest and test_workbench open it in a window of napari."""

from contextlib import suppress
from types import SimpleNamespace

import numpy as np
import pytest

pytest.importorskip("napari")

from napari.components import ViewerModel
from napari.utils.interactions import (
    mouse_move_callbacks,
    mouse_press_callbacks,
    mouse_release_callbacks,
)
from qtpy.QtCore import QPoint, Qt
from qtpy.QtWidgets import QColorDialog

from napari_jnet.labels import LabelKind
from napari_jnet.plugin.guidance import next_step, workflow_state
from napari_jnet.plugin.open_workspace import open_workspace
from napari_jnet.plugin.pages.annotate import COLUMNS, AnnotateWidget
from napari_jnet.plugin.settings import plugin_settings
from napari_jnet.plugin.ui.theme import color
from napari_jnet.plugin.workspace import SaveStatus

PAINTED, UNKNOWN, ROLE, SCORE, UNCERTAINTY = (
    list(COLUMNS).index(name) for name in ("painted", "unknown", "role", "score", "uncertainty")
)


@pytest.fixture
def viewer(request):
    """Return a viewer with an image "movie" in 3 µm pixels, without a window but for "canvas"."""
    canvas = getattr(request, "param", "") == "canvas"
    viewer = request.getfixturevalue("make_napari_viewer")() if canvas else ViewerModel()
    lies = {"scale": (1, 3, 3), "units": ("s", "um", "um"), "axis_labels": ("t", "y", "x")}
    viewer.add_image(np.random.default_rng(0).random((4, 64, 64), np.float32), name="movie", **lies)
    return viewer


@pytest.fixture
def widget(qtbot, viewer):
    widget = AnnotateWidget(viewer)
    widget.resize(410, 1400)
    widget.show()
    yield widget
    plugin_settings("annotate").next_number = True
    with suppress(RuntimeError):  # one test has deleted it
        widget.close()
        widget.deleteLater()


def click(qtbot, button):
    assert button.isEnabled()
    assert button.isVisibleTo(button.window())
    qtbot.mouseClick(button, Qt.LeftButton)


def tick(qtbot, check):
    """Click on the box, which is at the left of a check box."""
    qtbot.mouseClick(check, Qt.LeftButton, pos=QPoint(10, check.height() // 2))


def paint(layer, position, label, rows=slice(10, 20), columns=slice(10, 20)):
    """Paint a rectangle as one stroke."""
    where = np.zeros(layer.data.shape, bool)
    where[position, rows, columns] = True
    with layer.block_history():
        layer.data_setitem(np.nonzero(where), label)


def drag(layer, viewer, start, end, button=1):
    """Drag over the shown frame, in pixels, through the callbacks that the canvas calls."""
    dims = viewer.dims
    event = SimpleNamespace(
        button=button,
        modifiers=(),
        view_direction=None,
        dims_displayed=list(dims.displayed),
        dims_point=list(dims.point),
    )
    # the callbacks keep the event of the press and look at it again after each move
    for kind, at, call in (
        ("mouse_press", start, mouse_press_callbacks),
        ("mouse_move", end, mouse_move_callbacks),
        ("mouse_release", end, mouse_release_callbacks),
    ):
        event.type, event.pos, event.is_dragging = kind, at, kind == "mouse_move"
        event.position = tuple(layer.data_to_world((dims.current_step[0], *at)))
        call(layer, event)


def texts(model, row):
    return [model.data(model.index(row, c), Qt.DisplayRole) for c in range(model.columnCount())]


def test_one_click_makes_labels_and_shows_the_tools(qtbot, viewer, widget):
    assert not widget.tools.isVisibleTo(widget)
    click(qtbot, widget.new_button)
    layer = open_workspace(viewer).annotation
    assert layer.name == "annotation"
    assert str(layer.mode) == "paint"
    assert widget.tools.isVisibleTo(widget)
    assert widget.tools.mode_buttons["paint"].isChecked()
    assert widget.tools.keep_check.isChecked()
    assert "cell 1" in widget.tools.patch.text()
    assert "M: next cell" in widget.tools.hint.text()


def test_without_an_image_the_button_says_so(qtbot, viewer, widget):
    viewer.layers.clear()
    click(qtbot, widget.new_button)
    assert widget.message.is_error
    assert "open one first" in widget.message.text


def test_a_second_annotation_asks_for_its_kind(viewer, widget):
    first = widget.new_annotation()
    menu = widget.new_button.menu()
    next(a for a in menu.actions() if a.text().startswith("Scribbles")).trigger()
    assert open_workspace(viewer).annotation is not first
    assert widget.kind_combo.currentData() == "scribbles"
    widget.labels_combo.set_layer(first)
    assert widget.kind_combo.currentData() == "instances"


def test_tools_are_those_of_the_layer(qtbot, viewer, widget):
    layer = widget.new_annotation()
    viewer.layers.selection.active = viewer.layers["movie"]
    for mode, button in widget.tools.mode_buttons.items():
        click(qtbot, button)
        assert str(layer.mode) == mode
    assert viewer.layers.selection.active == layer
    layer.mode = "fill"
    assert widget.tools.mode_buttons["fill"].isChecked()
    layer.preserve_labels = False
    assert not widget.tools.keep_check.isChecked()
    with pytest.raises(ValueError, match="lasso"):
        widget.tools.set_mode("lasso")


def test_a_new_cell_gets_a_number_of_its_own(qtbot, widget):
    layer = widget.new_annotation()
    paint(layer, 1, 7)
    layer.mode = "erase"
    click(qtbot, widget.tools.new_button)
    assert (layer.selected_label, str(layer.mode)) == (8, "paint")
    assert widget.tools.new_cell() == 8  # nothing is painted with it yet


def test_the_unknown_brush_paints_minus_one_and_goes_back(qtbot, viewer, widget):
    layer = widget.new_annotation()
    layer.selected_label = 5
    click(qtbot, widget.tools.unknown_button)
    assert layer.selected_label == -1
    assert "unknown" in widget.tools.patch.text()
    drag(layer, viewer, (30, 30), (30, 40))
    assert (layer.data[viewer.dims.current_step[0]] == -1).any()
    click(qtbot, widget.tools.unknown_button)
    assert layer.selected_label == 5


def test_labels_that_are_read_from_files_cannot_be_painted_on(qtbot, viewer, widget):
    da = pytest.importorskip("dask.array")
    viewer.add_labels(da.zeros((4, 64, 64), dtype=np.int32, chunks=(1, 64, 64)), name="silver")
    click(qtbot, widget.tools.mode_buttons["paint"])
    assert widget.message.is_error
    assert "'silver' is read from its files" in widget.message.text


def test_a_brush_covers_unknown_pixels_but_no_other_cell_in_one_undo_step(viewer, widget):
    layer = widget.new_annotation()
    viewer.dims.set_current_step(0, 0)
    paint(layer, 0, 1, slice(20, 40), slice(20, 30))
    widget.frame.mark_unknown()
    before = layer.data.copy()
    layer.selected_label = 2
    layer.brush_size = 5
    drag(layer, viewer, (30, 10), (30, 50))
    assert (layer.data[0] == 2).sum() > 100
    np.testing.assert_array_equal(layer.data == 1, before == 1)
    assert layer.preserve_labels
    layer.undo()
    np.testing.assert_array_equal(layer.data, before)


@pytest.mark.parametrize(
    ("viewer", "how"), [("", "outline"), ("canvas", "circle")], indirect=["viewer"]
)
def test_an_outline_covers_unknown_pixels_but_no_other_cell_in_one_undo_step(viewer, widget, how):
    layer = widget.new_annotation()
    viewer.dims.set_current_step(0, 0)
    paint(layer, 0, 1, slice(20, 40), slice(20, 30))
    widget.frame.mark_unknown()
    before = layer.data.copy()
    layer.selected_label, layer.brush_size = 2, 2
    if how == "outline":
        layer.mode = "polygon"
        outline(layer, 0, 10, 10, size=40)
    else:
        layer.mode = "paint"
        circle(layer, viewer, (30, 30), radius=18)
    assert (layer.data[0] == 2).sum() > 700
    np.testing.assert_array_equal(layer.data == 1, before == 1)
    assert layer.preserve_labels
    layer.undo()
    np.testing.assert_array_equal(layer.data, before)


def outline(layer, frame, top, left, size=12):
    """Close an outline with the number that is chosen, as napari does."""
    corners = [(top, left), (top, left + size), (top + size, left + size), (top + size, left)]
    layer.paint_polygon([(frame, *corner) for corner in corners], layer.selected_label)


def circle(layer, viewer, center, radius=8):
    """Press the right button and move around once, through the callbacks that the canvas calls."""
    dims = viewer.dims
    angles = np.linspace(0, 2 * np.pi, 40)
    around = [(center[0] + radius * np.sin(a), center[1] + radius * np.cos(a)) for a in angles]
    event = SimpleNamespace(
        button=2,
        modifiers=(),
        view_direction=None,
        dims_displayed=list(dims.displayed),
        dims_point=list(dims.point),
    )
    kinds = ["mouse_press", "mouse_release"] + ["mouse_move"] * (len(around) - 1)
    for kind, at in zip(kinds, [around[0], *around], strict=False):
        event.type, event.pos, event.is_dragging = kind, at, False
        event.position = tuple(layer.data_to_world((dims.current_step[0], *at)))
        {
            "mouse_press": mouse_press_callbacks,
            "mouse_move": mouse_move_callbacks,
            "mouse_release": mouse_release_callbacks,
        }[kind](layer, event)
    event.position = tuple(layer.data_to_world((dims.current_step[0], *around[0])))
    mouse_move_callbacks(layer, event)


@pytest.mark.parametrize("viewer", ["canvas"], indirect=True)
def test_each_outline_and_each_circle_is_another_cell_and_a_brush_stroke_is_not(
    qtbot, viewer, widget
):
    layer = widget.new_annotation()
    viewer.dims.set_current_step(0, 0)
    layer.brush_size = 2
    layer.mode = "polygon"
    outline(layer, 0, 4, 4)
    outline(layer, 0, 4, 17)  # touches the first
    assert (layer.data[0, 6, 6], layer.data[0, 6, 20]) == (1, 2)
    layer.mode = "paint"
    circle(layer, viewer, (40, 20))
    circle(layer, viewer, (40, 42))
    assert (layer.data[0, 40, 20], layer.data[0, 40, 42]) == (3, 4)
    drag(layer, viewer, (58, 10), (58, 50))
    drag(layer, viewer, (61, 10), (61, 50))
    assert layer.data[0, 58, 30] == layer.data[0, 61, 30] == layer.selected_label == 5
    tick(qtbot, widget.tools.next_check)
    layer.mode = "polygon"
    outline(layer, 1, 4, 4)
    outline(layer, 1, 30, 30)
    assert set(np.unique(layer.data[1])) == {0, 5}  # one cell in two outlines, as was asked for


def test_a_number_that_is_picked_is_painted_once_more_and_then_the_next_free_one(viewer, widget):
    layer = widget.new_annotation()
    viewer.dims.set_current_step(0, 0)
    layer.mode = "polygon"
    for left in (0, 14, 28):
        outline(layer, 0, 4, left)
    layer.selected_label = 2
    outline(layer, 0, 16, 14)
    assert layer.data[0, 20, 16] == 2
    assert layer.selected_label == 4
    widget.frame.mark_unknown()  # an edit, and no outline
    assert layer.selected_label == 4
    widget.tools.toggle_brush(-1)
    layer.mode = "polygon"
    outline(layer, 1, 4, 4)
    assert layer.selected_label == -1


def test_background_is_painted_where_the_rest_is_unknown_and_cells_are_spared(
    qtbot, viewer, widget
):
    layer = widget.new_annotation()
    viewer.dims.set_current_step(0, 0)
    paint(layer, 0, 1, slice(20, 40), slice(20, 30))
    widget.frame.mark_unknown()
    assert "strokes of Background" in widget.message.text
    assert "No background" in next_step(workflow_state(open_workspace(viewer))).text
    click(qtbot, widget.tools.background_button)
    assert "background" in widget.tools.patch.text()
    layer.brush_size = 5
    before = layer.data.copy()
    drag(layer, viewer, (30, 10), (30, 50))
    assert (layer.data[0] == 0).sum() > 100
    np.testing.assert_array_equal(layer.data == 1, before == 1)
    assert widget.tools.background_button.isChecked()
    layer.undo()
    np.testing.assert_array_equal(layer.data, before)
    drag(layer, viewer, (30, 10), (30, 50))
    drag(layer, viewer, (30, 10), (30, 50))  # where nothing is unknown any more
    np.testing.assert_array_equal(layer.data == 1, before == 1)
    click(qtbot, widget.tools.background_button)
    assert layer.selected_label == 1  # the cell of before


def test_classes_keep_their_number_after_an_outline(viewer, widget):
    layer = widget.new_annotation("classes")
    layer.mode = "polygon"
    outline(layer, 0, 4, 4)
    assert layer.selected_label == 1
    assert not widget.tools.next_check.isVisibleTo(widget)


def test_the_next_number_is_remembered(qtbot, viewer, widget):
    widget.new_annotation()
    assert widget.tools.next_check.isChecked()
    tick(qtbot, widget.tools.next_check)
    again = type(widget)(viewer)
    qtbot.addWidget(again)
    assert not again.tools.next_check.isChecked()
    tick(qtbot, widget.tools.next_check)


def test_a_cell_in_pieces_is_said_and_numbered_apart_in_one_undo_step(qtbot, viewer, widget):
    layer = widget.new_annotation()
    viewer.dims.set_current_step(0, 1)
    for left in (0, 20, 40):
        paint(layer, 1, 2, slice(4, 14), slice(left, left + 10))
    paint(layer, 0, 7)
    qtbot.waitUntil(lambda: "Cell 2 is in 3 pieces" in widget.frame.pieces_line.text())
    before = layer.data.copy()
    click(qtbot, widget.frame.apart_button)
    assert set(np.unique(layer.data[1])) == {0, 2, 8, 9}  # 7 is in another frame
    assert "2 new cells" in widget.message.text
    qtbot.waitUntil(lambda: not widget.frame.apart_button.isVisibleTo(widget))
    layer.undo()
    np.testing.assert_array_equal(layer.data, before)
    qtbot.waitUntil(lambda: widget.frame.apart_button.isVisibleTo(widget))
    viewer.dims.set_current_step(0, 0)
    assert not widget.frame.pieces_line.isVisibleTo(widget)


def test_filling_reaches_unknown_pixels_and_spares_cells(viewer, widget):
    layer = widget.new_annotation()
    viewer.dims.set_current_step(0, 0)
    paint(layer, 0, 1, slice(20, 40), slice(20, 30))
    widget.frame.mark_unknown()
    layer.selected_label, layer.mode = 2, "fill"
    drag(layer, viewer, (30, 25), (30, 25))
    assert (layer.data[0] == 1).sum() == 200
    drag(layer, viewer, (5, 5), (5, 5))
    assert (layer.data[0] == 2).sum() == 64 * 64 - 200


def test_the_eraser_erases_any_cell_while_others_are_kept(viewer, widget):
    layer = widget.new_annotation()
    viewer.dims.set_current_step(0, 0)
    paint(layer, 0, 1, slice(20, 40), slice(20, 30))
    layer.selected_label, layer.mode, layer.brush_size = 6, "erase", 5
    drag(layer, viewer, (30, 20), (30, 29))
    assert layer.data[0, 30, 25] == 0
    assert layer.preserve_labels


def test_the_widget_leaves_the_brush_alone_when_it_is_closed(qtbot, viewer, widget):
    layer = widget.new_annotation()
    assert "paint_polygon" in vars(layer)
    with qtbot.waitSignal(widget.destroyed):
        widget.deleteLater()
    assert not {"paint_polygon", "fill", "_apply_mask_to_data"} & vars(layer).keys()
    layer.selected_label = 3


def test_the_rest_of_a_frame_is_one_undo_step(qtbot, viewer, widget):
    layer = widget.new_annotation()
    click(qtbot, widget.frame.unknown_button)
    assert widget.message.is_error
    viewer.dims.set_current_step(0, 2)
    paint(layer, 2, 1)
    click(qtbot, widget.frame.unknown_button)
    assert (layer.data[2] == -1).sum() == 64 * 64 - 100
    assert not widget.message.is_error
    click(qtbot, widget.frame.background_button)
    assert not (layer.data[2] == -1).any()
    layer.undo()
    layer.undo()
    assert (layer.data[2] != 0).sum() == 100
    assert not layer.data[[0, 1, 3]].any()


def test_copying_takes_the_nearest_annotated_frame_before(qtbot, viewer, widget):
    layer = widget.new_annotation()
    viewer.dims.set_current_step(0, 3)
    click(qtbot, widget.frame.copy_button)
    assert "nothing to copy" in widget.message.text
    paint(layer, 0, 4)
    paint(layer, 1, 2, slice(40, 50))
    click(qtbot, widget.frame.copy_button)
    assert np.unique(layer.data[3]).tolist() == [0, 2]
    assert widget.message.text.startswith("1 cell copied from t001")
    layer.undo()
    assert not layer.data[3].any()
    paint(layer, 3, 9, slice(38, 52))
    assert widget.frame.copy_previous() == 0
    widget.frame.overwrite_check.setChecked(True)
    click(qtbot, widget.frame.copy_button)
    assert np.unique(layer.data[3]).tolist() == [0, 2]  # most of 9 is covered: no rest of it


def test_nothing_is_edited_in_three_dimensions(viewer, widget):
    paint(widget.new_annotation(), 0, 1)
    viewer.dims.ndisplay = 3
    with pytest.raises(ValueError, match="switch to 2-D"):
        widget.frame.mark_unknown()


def test_the_shown_frame_is_described_as_it_is_painted(qtbot, viewer, widget):
    layer = widget.new_annotation()
    viewer.dims.set_current_step(0, 1)
    line = widget.frame.line
    qtbot.waitUntil(lambda: line.text().startswith("t001: nothing is painted"))
    paint(layer, 1, 1, slice(0, 16), slice(None))
    qtbot.waitUntil(lambda: "1 cell (25 %), 75 % background, 0 % unknown" in line.text())
    widget.frame.mark_unknown()
    qtbot.waitUntil(lambda: "0 % background, 75 % unknown" in line.text())
    layer.undo()
    qtbot.waitUntil(lambda: "75 % background, 0 % unknown" in line.text())


def test_the_training_mask_has_three_colours_and_is_not_an_annotation(qtbot, viewer, widget):
    layer = widget.new_annotation()
    viewer.dims.set_current_step(0, 1)
    paint(layer, 1, 5, slice(0, 16), slice(None))
    paint(layer, 1, -1, slice(60, 64), slice(None))
    tick(qtbot, widget.frame.mask_check)
    shown = viewer.layers["training mask"]
    assert [int((shown.data == n).sum()) // 64 for n in (1, 2, 3)] == [16, 44, 4]
    assert viewer.layers.selection.active == layer
    assert open_workspace(viewer).annotation is layer
    assert len(open_workspace(viewer).labels()) == 1
    np.testing.assert_allclose(shown.scale, (3, 3))
    viewer.dims.set_current_step(0, 2)
    qtbot.waitUntil(lambda: (np.asarray(shown.data) == 3).all())
    viewer.layers.remove("training mask")
    assert not widget.frame.mask_check.isChecked()
    assert layer.opacity == 0.5


def test_changing_the_kind_says_what_it_means_and_paints_nothing(viewer, widget):
    layer = widget.new_annotation()
    paint(layer, 0, 1)
    before = layer.data.copy()
    widget.kind_combo.setCurrentIndex(2)
    widget.kind_combo.activated.emit(2)
    assert open_workspace(viewer).frames.kind == "scribbles"
    assert "1 = background" in widget.message.text
    np.testing.assert_array_equal(layer.data, before)
    assert widget.classes.isVisibleTo(widget)
    assert not widget.frame.unknown_button.isVisibleTo(widget)
    widget.set_kind("instances")
    assert not widget.classes.isVisibleTo(widget)
    with pytest.raises(ValueError, match="spots"):
        widget.set_kind("spots")


def test_classes_are_named_coloured_and_chosen_in_their_table(qtbot, viewer, widget, monkeypatch):
    layer = widget.new_annotation("classes")
    table = widget.classes.table
    click(qtbot, widget.classes.add_button)
    assert layer.selected_label == 2
    table.item(2, 2).setText("edge")
    assert open_workspace(viewer).frames.classes[2][0] == "edge"
    monkeypatch.setattr(QColorDialog, "getColor", lambda colour, *_: type(colour)("#123456"))
    table.cellDoubleClicked.emit(2, 1)
    assert open_workspace(viewer).frames.classes[2] == ("edge", "#123456")
    table.item(2, 2).setText("cell")
    assert "'cell' is there twice" in widget.message.text
    assert table.item(2, 2).text() == "edge"
    at = table.visualItemRect(table.item(1, 0)).center()
    qtbot.mouseClick(table.viewport(), Qt.LeftButton, pos=at)
    assert layer.selected_label == 1
    assert "cell" in widget.tools.patch.text()
    layer.selected_label = 2
    assert table.currentRow() == 2


def test_only_classes_that_are_not_painted_are_removed(qtbot, viewer, widget):
    layer = widget.new_annotation("scribbles")
    for _ in range(3):
        widget.classes.add()
    paint(layer, 1, 4)
    click(qtbot, widget.classes.remove_button)
    assert len(open_workspace(viewer).frames.classes) == 5
    assert widget.classes.table.item(0, 2).text() == "background"
    assert not widget.classes.table.item(0, 2).flags() & Qt.ItemIsEditable
    layer.undo()
    assert widget.classes.remove_unused() == 2


def test_cells_have_no_classes(widget):
    widget.new_annotation()
    with pytest.raises(ValueError, match="choose classes or scribbles"):
        widget.classes.set_classes((("a", "#000000"),))


def test_the_table_follows_strokes_roles_scores_and_the_slider(qtbot, viewer, widget):
    layer = widget.new_annotation()
    model, table = widget.frames.model, widget.frames.table
    assert model.rowCount() == 4
    assert texts(model, 1)[:2] == ["t001", ""]
    assert [table.isColumnHidden(c) for c in (UNKNOWN, SCORE, UNCERTAINTY)] == [True] * 3
    paint(layer, 1, 1)
    paint(layer, 1, 2, slice(30, 40))
    assert texts(model, 1)[PAINTED] == "2"
    layer.undo()
    qtbot.waitUntil(lambda: texts(model, 1)[PAINTED] == "1")
    frames = open_workspace(viewer).frames
    frames.set_roles({1: "validation"})
    frames.set_scores({1: 0.456})
    frames.set_uncertainty({1: 0.25})
    assert texts(model, 1)[ROLE:] == ["validation ▾", "0.46", "0.25"]
    assert not table.isColumnHidden(SCORE)
    viewer.dims.set_current_step(0, 3)
    marked = [model.data(model.index(r, 0), Qt.BackgroundRole) is not None for r in range(4)]
    assert marked == [False, False, False, True]


def test_a_click_on_a_row_shows_the_frame(qtbot, viewer, widget):
    widget.new_annotation()
    table = widget.frames.table
    at = table.visualRect(widget.frames.model.index(2, 0)).center()
    qtbot.mouseClick(table.viewport(), Qt.LeftButton, pos=at)
    assert viewer.dims.current_step[0] == 2


def test_the_shown_frame_stays_in_sight_where_the_table_becomes_lower(qtbot, viewer, widget):
    widget.new_annotation()
    table, model = widget.frames.table, widget.frames.model
    viewer.dims.set_current_step(0, 3)
    table.setMinimumHeight(0)
    table.setFixedHeight(70)  # a message below takes its room
    last = model.index(3, 0)
    qtbot.waitUntil(lambda: table.viewport().rect().contains(table.visualRect(last)))


def test_the_menu_changes_what_frames_are_used_for(viewer, widget):
    layer = widget.new_annotation()
    for position in (0, 2):
        paint(layer, position, 1)
    menu = widget.frames.role_menu([0, 2])
    next(a for a in menu.actions() if a.text().startswith("unused")).trigger()
    frames = open_workspace(viewer).frames
    assert [frames.info(p).role for p in range(4)] == ["unused", "", "unused", ""]


def test_a_right_click_without_annotation_offers_nothing(qtbot, widget):
    widget.new_annotation()
    widget.frames.table.customContextMenuRequested.emit(QPoint(5, 5))
    assert not widget.frames.table.findChildren(type(widget.new_button.menu()))


def test_only_annotated_frames_are_listed(qtbot, viewer, widget):
    layer = widget.new_annotation()
    table = widget.frames.table
    paint(layer, 2, 1)
    tick(qtbot, widget.frames.only_check)
    assert [p for p in range(4) if not table.isRowHidden(p)] == [2]
    paint(layer, 0, 1)
    assert [p for p in range(4) if not table.isRowHidden(p)] == [0, 2]
    layer.undo()
    qtbot.waitUntil(lambda: table.isRowHidden(0))
    tick(qtbot, widget.frames.only_check)
    assert not any(table.isRowHidden(p) for p in range(4))


def test_the_table_is_that_of_the_chosen_annotation(viewer, widget):
    widget.new_annotation()
    model = widget.frames.model
    viewer.add_image(np.zeros((7, 32, 32)), name="other")
    widget.new_annotation("classes")
    assert model.rowCount() == 7
    assert model.headerData(PAINTED, Qt.Horizontal, Qt.DisplayRole) == "Painted"
    paint(open_workspace(viewer).annotation, 6, 1, slice(0, 16), slice(None))
    assert texts(model, 6)[PAINTED] == "cell 50 %, background 50 %"
    viewer.layers.clear()
    assert model.rowCount() == 0
    assert not widget.tools.isVisibleTo(widget)


def test_next_goes_to_the_frame_farthest_from_annotated_ones_and_says_why(qtbot, viewer, widget):
    layer = widget.new_annotation()
    paint(layer, 0, 1)
    open_workspace(viewer).frames.set_uncertainty({1: 0.1, 2: 0.4, 3: 0.2})
    click(qtbot, widget.frames.next_button)
    assert viewer.dims.current_step[0] == 3
    text = "t003: farthest from annotated frames. 1 of 4 frames are annotated."
    assert widget.message.text == text


def test_next_shows_each_frame_once_before_it_comes_back_to_the_first(viewer, widget):
    layer = widget.new_annotation()
    paint(layer, 0, 1)
    viewer.dims.set_current_step(0, 0)
    first = [widget.frames.next_frame() for _ in range(3)]
    assert first[0] == 3 and sorted(first) == [1, 2, 3]
    assert [widget.frames.next_frame() for _ in range(3)] == first
    frames = open_workspace(viewer).frames
    viewer.dims.set_current_step(0, 0)
    frames.set_scores(dict.fromkeys(range(4), 0.5) | {2: 0.1, 3: 0.2}, "SEG")
    assert [widget.frames.next_frame() for _ in range(4)] == [2, 3, 1, 2]
    paint(layer, 2, 1)
    assert [widget.frames.next_frame() for _ in range(3)] == [3, 1, 3]
    frames.set_uncertainty({3: 0.4})  # predicted
    assert [widget.frames.next_frame() for _ in range(2)] == [1, 3]


def test_next_among_annotated_frames_goes_by_their_scores(viewer, widget):
    layer = widget.new_annotation()
    for position in range(4):
        paint(layer, position, 1)
    viewer.dims.set_current_step(0, 0)
    open_workspace(viewer).frames.set_scores({0: 0.7, 1: 0.3, 3: 0.5}, "SEG")
    assert [widget.frames.next_frame() for _ in range(4)] == [1, 3, 1, 3]


def test_keys_do_what_the_buttons_do(viewer, widget):
    layer = widget.new_annotation()
    press = open_workspace(viewer).commands.run
    viewer.dims.set_current_step(0, 1)
    assert press("copy_before")
    assert "nothing to copy" in widget.message.text
    paint(layer, 0, 3)
    assert press("copy_before")
    assert (layer.data[1] == 3).any()
    assert press("rest_unknown")
    assert (layer.data[1] == -1).any()
    assert press("unknown_brush")
    assert layer.selected_label == -1
    assert press("unknown_brush")
    assert layer.selected_label == 1
    assert press("next_frame")
    assert viewer.dims.current_step[0] == 3
    assert "(Shift+C)" in widget.frame.copy_button.toolTip()


def test_cells_are_corrected_here_and_classes_are_not(viewer, widget):
    widget.new_annotation()
    assert widget.corrections.isVisibleTo(widget)
    widget.set_kind("classes")
    assert not widget.corrections.isVisibleTo(widget)


def test_without_a_choice_of_meaning_the_new_labels_are_cells(viewer, widget):
    widget.kind_combo.setCurrentIndex(-1)
    widget.new_button.click()
    assert not widget.message.is_error
    assert open_workspace(viewer).frames.kind is LabelKind.INSTANCES
    assert viewer.layers["annotation"].mode == "paint"


def test_what_is_saved_is_said(viewer, widget):
    open_workspace(viewer).saving = SaveStatus("saved 12:03")
    assert widget.saved_line.text() == "saved 12:03"
    open_workspace(viewer).saving = SaveStatus("The disk is full.", saved=False, failed=True)
    assert color("error") in widget.saved_line.styleSheet()
