"""Correcting cells in the window: by key, by click, by stroke; each is one undo step."""

from __future__ import annotations

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
from qtpy.QtCore import QEvent, QPoint, QPointF, Qt
from qtpy.QtGui import QMouseEvent
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QApplication

from napari_jnet.plugin.layers.read import METADATA_KEY
from napari_jnet.plugin.open_workspace import open_workspace
from napari_jnet.plugin.pages.correct import TOOLS, CorrectionBar, Corrections, StrokeOverlay

SCALE = (2.0, 0.5, 0.5)
AT = 1  # the frame that is shown


def cells() -> np.ndarray:
    labels = np.zeros((3, 64, 64), np.int32)
    labels[AT, 10:30, 10:50] = 1
    labels[AT, 30:40, 10:50] = 2
    labels[AT, 50:60, 10:20] = 3
    labels[AT, 54, 14] = 0
    return labels


def made(kind: str = "instances", shape: int = 3, **options) -> SimpleNamespace:
    """Return a viewer with an image, an annotation and its tools, without a window."""
    viewer = ViewerModel()
    lies = {"scale": SCALE[-shape:], "translate": (0, 5, 7)[-shape:]}
    data = cells() if shape == 3 else cells()[AT]
    viewer.add_image(np.zeros(data.shape), **lies)
    layer = viewer.add_labels(
        data, name="annotation", metadata={METADATA_KEY: {"kind": kind}}, **lies, **options
    )
    if shape == 3:
        viewer.dims.set_point(0, AT * SCALE[0])
    tools = Corrections(open_workspace(viewer))
    told: list[tuple[str, bool]] = []
    tools.said.connect(lambda text, failed: told.append((text, failed)))
    return SimpleNamespace(viewer=viewer, layer=layer, tools=tools, told=told)


def world(row: float, column: float) -> tuple[float, float, float]:
    return (AT * SCALE[0], row * SCALE[1] + 5, column * SCALE[2] + 7)


def point_at(viewer, row: float, column: float) -> None:
    viewer.cursor.position = world(row, column)[-viewer.dims.ndim :]


def drag(layer, *points: tuple[float, float], button: int = 1) -> None:
    """Press at the first point, move over the others, release, as napari tells it."""
    event = SimpleNamespace(type="mouse_press", button=button, position=world(*points[0]))
    event.is_dragging = False
    mouse_press_callbacks(layer, event)
    event.is_dragging = True
    for point in points[1:]:
        event.type, event.position = "mouse_move", world(*point)
        mouse_move_callbacks(layer, event)
    event.type = "mouse_release"
    mouse_release_callbacks(layer, event)


@pytest.mark.parametrize("shape", [2, 3])
def test_delete_under_the_pointer_and_undo(shape) -> None:
    here = made(shape=shape)
    before = here.layer.data.copy()
    point_at(here.viewer, 20, 20)
    assert here.tools.correct_here("delete")
    assert not (here.layer.data == 1).any()
    assert here.told[-1] == ("Cell 1 is deleted in 'annotation'. Undo with Ctrl+Z.", False)
    here.layer.undo()
    np.testing.assert_array_equal(here.layer.data, before)


def test_fill_and_smooth_under_the_pointer() -> None:
    here = made()
    point_at(here.viewer, 51, 11)
    assert here.tools.correct_here("fill")
    assert here.layer.data[AT, 54, 14] == 3
    assert not here.tools.correct_here("fill")
    assert here.told[-1] == ("Nothing to fill: cell 3 has no holes already.", True)
    assert here.tools.correct_here("smooth")
    assert (here.layer.data == 3).sum() < 100
    here.layer.undo()
    here.layer.undo()
    np.testing.assert_array_equal(here.layer.data, cells())


def test_only_the_frame_shown_is_corrected() -> None:
    here = made()
    here.layer.data[0] = here.layer.data[AT]
    point_at(here.viewer, 20, 20)
    here.tools.correct_here("delete")
    assert (here.layer.data[0] == 1).any()


def test_planes_of_a_volume_over_time() -> None:
    viewer = ViewerModel()
    layer = viewer.add_labels(np.ones((2, 3, 16, 16), np.int32))
    viewer.dims.point = (1, 2, 0, 0)
    tools = Corrections(open_workspace(viewer))
    viewer.cursor.position = (1, 2, 8, 8)
    assert tools.correct_here("delete")
    assert layer.data.sum() == 5 * 256


@pytest.mark.parametrize(
    ("at", "words"), [((5, 5), "nothing to delete under the pointer; point at a cell"),
                      ((500, 500), "nothing to delete under the pointer; point at a cell")]
)  # fmt: skip
def test_the_background_is_no_cell(at, words) -> None:
    here = made()
    point_at(here.viewer, *at)
    assert not here.tools.correct_here("delete")
    assert here.told[-1][1]
    assert words in here.told[-1][0]
    np.testing.assert_array_equal(here.layer.data, cells())


def test_merge_by_a_stroke_and_the_mouse_comes_back() -> None:
    here = made()
    here.layer.mode = "paint"
    callbacks = len(here.layer.mouse_drag_callbacks)
    assert here.tools.use("merge")
    assert str(here.layer.mode) == "pan_zoom"
    assert not here.layer.mouse_pan
    assert "<Esc> to leave" in here.layer.help
    drag(here.layer, (20, 20), (35, 20))
    assert set(np.unique(here.layer.data)) == {0, 1, 3}
    assert here.told[-1][0].startswith("Cells 1, 2 are cell 1 now in 'annotation'")
    assert here.tools.tool == "merge"
    here.layer.keymap[next(key for key in here.layer.keymap if str(key) == "Escape")](here.layer)
    assert here.tools.tool == ""
    assert str(here.layer.mode) == "paint"
    assert here.layer.help != ""
    drag(here.layer, (20, 20), (20, 21))  # paints now
    assert len(here.layer.mouse_drag_callbacks) == callbacks
    assert not here.layer.keymap


def test_split_by_a_stroke_is_one_undo_step() -> None:
    here = made()
    here.tools.use("split")
    drag(here.layer, (5, 30), (25, 31), (29.4, 31), (45, 33))
    assert here.told[-1][0].startswith("Split: 1, 2; new: 4, 5")
    here.layer.undo()
    np.testing.assert_array_equal(here.layer.data, cells())


def test_strokes_that_do_nothing_say_so_and_the_tool_stays() -> None:
    here = made()
    here.tools.use("split")
    drag(here.layer, (20, 20), (20, 30))
    assert "does not separate cell 1" in here.told[-1][0]
    drag(here.layer, (20, 20))
    assert "single point" in here.told[-1][0]
    drag(here.layer, (5, 30), (45, 30), button=2)
    assert here.tools.tool == "split"
    np.testing.assert_array_equal(here.layer.data, cells())
    here.tools.use("merge")
    drag(here.layer, (20, 20), (20, 30))
    assert "passes only cell 1" in here.told[-1][0]
    drag(here.layer, (2, 2), (2, 3))
    assert "passes no cell" in here.told[-1][0]


def test_a_click_with_a_tool() -> None:
    here = made()
    here.tools.use("delete")
    drag(here.layer, (35, 20), (20, 20))
    assert set(np.unique(here.layer.data)) == {0, 1, 3}
    drag(here.layer, (20, 20))
    assert set(np.unique(here.layer.data)) == {0, 3}


def test_the_tool_ends_when_the_user_does_something_else() -> None:
    here = made()
    for otherwise in (
        lambda: here.tools.use("split"),
        lambda: setattr(here.layer, "mode", "erase"),
        lambda: setattr(here.viewer.layers.selection, "active", here.viewer.layers[0]),
        lambda: setattr(here.viewer.dims, "ndisplay", 3),
    ):
        here.viewer.dims.ndisplay = 2
        here.viewer.layers.selection.active = here.layer
        here.layer.mode = "paint"
        assert here.tools.use("split")
        otherwise()
        assert here.tools.tool == ""
        assert str(here.layer.mode) != "pan_zoom" or here.layer.mouse_pan
    here.viewer.dims.ndisplay = 2
    here.tools.use("split")
    here.viewer.layers.remove(here.layer)
    assert here.tools.tool == ""


def test_what_cannot_be_corrected_says_why() -> None:
    here = made()
    here.viewer.dims.ndisplay = 3
    assert not here.tools.use("split")
    assert "2-D view" in here.told[-1][0]
    here.viewer.dims.ndisplay = 2
    here.viewer.dims.order = (1, 0, 2)
    assert not here.tools.use("split")
    assert "roll the axes back" in here.told[-1][0]
    here.viewer.dims.order = (0, 1, 2)
    here.layer.visible = False
    point_at(here.viewer, 20, 20)
    assert not here.tools.correct_here("delete")
    assert "'annotation' are hidden; show them" in here.told[-1][0]
    here.viewer.layers.remove(here.layer)
    assert not here.tools.use("merge")
    assert "no cells to correct; predict" in here.told[-1][0]


@pytest.mark.parametrize("kind", ["classes", "scribbles"])
def test_classes_have_no_cells_to_correct(kind) -> None:
    here = made(kind)
    point_at(here.viewer, 55, 12)
    assert not here.tools.correct_here("delete")
    assert f"are {kind}" in here.told[-1][0]
    assert "delete needs a layer of cells" in here.told[-1][0]
    np.testing.assert_array_equal(here.layer.data, cells())


def test_the_layer_with_a_cell_there_is_corrected_and_can_be_undone() -> None:
    here = made()
    predicted = here.viewer.add_labels(
        np.full((3, 64, 64), 9, np.int32),
        name="cells",
        metadata={METADATA_KEY: {"result": "cells"}},
        scale=SCALE,
        translate=(0, 5, 7),
    )
    here.viewer.layers.selection.active = here.viewer.layers[0]
    point_at(here.viewer, 20, 20)
    here.tools.correct_here("delete")
    assert not (here.layer.data == 1).any()  # the annotation goes first
    assert here.viewer.layers.selection.active is here.layer
    point_at(here.viewer, 5, 5)
    here.tools.correct_here("delete")
    assert not predicted.data[AT].any()
    assert here.viewer.layers.selection.active is predicted


def test_a_stroke_over_cells_of_another_layer_corrects_them_and_ends_the_tool() -> None:
    here = made()
    predicted = here.viewer.add_labels(
        np.zeros((3, 64, 64), np.int32),
        metadata={METADATA_KEY: {"result": "cells"}},
        scale=SCALE,
        translate=(0, 5, 7),
    )
    predicted.data[AT, :8] = 4
    here.viewer.layers.selection.active = here.layer
    here.layer.mode = "paint"
    here.tools.use("split")
    drag(here.layer, (-3, 30), (9, 30))
    assert set(np.unique(predicted.data)) == {0, 4, 5}
    assert here.viewer.layers.selection.active is predicted
    assert here.told[-1][0].startswith("Split: 4; new: 5")
    assert here.tools.tool == ""
    assert str(here.layer.mode) == "paint"


# the bar, in a window


@pytest.fixture
def window(make_napari_viewer, qtbot):
    viewer = make_napari_viewer(show=True)
    viewer.window.resize(900, 700)
    labels = np.zeros((64, 64), np.int32)
    labels[20:44, 8:56] = 1
    layer = viewer.add_labels(labels, name="cells to mend")
    bar = CorrectionBar(open_workspace(viewer))
    viewer.window.add_dock_widget(bar, name="Correct")
    canvas = next(
        widget
        for widget in QApplication.allWidgets()
        if type(widget).__name__ == "CanvasBackendDesktop" and widget.isVisible()
    )
    qtbot.waitExposed(canvas)
    QApplication.processEvents()
    return SimpleNamespace(viewer=viewer, layer=layer, bar=bar, canvas=canvas)


def on_canvas(window, row: float, column: float) -> QPoint:
    """Return where on the canvas a pixel is shown."""
    camera, size = window.viewer.scene.camera, window.canvas.size()
    centre_row, centre_column = camera.center[-2:]
    x = size.width() / 2 + (column - centre_column) * camera.zoom
    y = size.height() / 2 + (row - centre_row) * camera.zoom
    return QPoint(round(x), round(y))


def mouse(window, kind: QEvent.Type, at: QPoint) -> None:
    """Send what the left button does; `QTest.mouseMove` knows of no button that is down."""
    left, none = Qt.MouseButton.LeftButton, Qt.MouseButton.NoButton
    over = kind == QEvent.Type.HoverMove
    kind = QEvent.Type.MouseMove if over else kind
    place = QPointF(at)
    event = QMouseEvent(
        kind,
        place,
        QPointF(window.canvas.mapToGlobal(at)),
        none if kind == QEvent.Type.MouseMove else left,
        none if over or kind == QEvent.Type.MouseButtonRelease else left,
        Qt.KeyboardModifier.NoModifier,
    )
    QApplication.sendEvent(window.canvas, event)


def hover(window, qtbot, row: float, column: float) -> None:
    """Move the mouse to a pixel; vispy forgets moves that follow each other within 10 ms."""

    def there() -> bool:
        mouse(window, QEvent.Type.HoverMove, on_canvas(window, row, column))
        return np.allclose(window.viewer.cursor.position[-2:], (row, column), atol=0.5)

    qtbot.waitUntil(there)


def test_buttons_keys_and_mouse_split_a_cell(window, qtbot) -> None:
    button = window.bar.buttons["split"]
    button.click()
    assert button.isChecked()
    assert "Drag across the cell" in window.bar.message.text
    start, end = on_canvas(window, 10, 30), on_canvas(window, 54, 32)
    centre = window.viewer.scene.camera.center
    mouse(window, QEvent.Type.MouseButtonPress, start)
    mouse(window, QEvent.Type.MouseMove, (start + end) / 2)
    mouse(window, QEvent.Type.MouseMove, end)
    (line,) = window.canvas.findChildren(StrokeOverlay)
    assert line.isVisible()
    mouse(window, QEvent.Type.MouseButtonRelease, end)
    assert not line.isVisible()
    assert set(np.unique(window.layer.data)) == {0, 1, 2}, window.bar.message.text
    assert window.viewer.scene.camera.center == centre
    assert "new: 2" in window.bar.message.text
    QTest.keyClick(window.canvas, Qt.Key.Key_Escape)
    assert not button.isChecked()
    assert not window.bar.message.text
    hover(window, qtbot, 30, 12)
    QTest.keyClick(window.canvas, Qt.Key.Key_D, Qt.KeyboardModifier.ShiftModifier)
    assert len(np.unique(window.layer.data)) == 2
    QTest.keyClick(window.canvas, Qt.Key.Key_Z, Qt.KeyboardModifier.ControlModifier)
    QTest.keyClick(window.canvas, Qt.Key.Key_Z, Qt.KeyboardModifier.ControlModifier)
    assert set(np.unique(window.layer.data)) == {0, 1}


def test_esc_leaves_wherever_the_window_has_the_focus(window) -> None:
    window.bar.buttons["merge"].click()
    window.bar.setFocus()
    QTest.keyClick(window.bar, Qt.Key.Key_Escape)
    assert window.bar.corrections.tool == ""
    assert window.layer.mouse_pan


def test_the_bar_is_narrow_and_every_tool_says_its_key(window) -> None:
    assert window.bar.minimumSizeHint().width() <= 400
    for name, key in (("delete", "Shift+D"), ("merge", "Shift+M"), ("split", "Shift+X")):
        assert key in window.bar.buttons[name].toolTip()
    assert set(window.bar.buttons) == set(TOOLS)


def test_keys_are_free_and_the_tool_ends_when_the_bar_is_closed(window, qtbot) -> None:
    window.bar.buttons["merge"].click()
    window.viewer.window.remove_dock_widget(window.bar)
    window.bar.deleteLater()
    qtbot.waitUntil(lambda: window.layer.mouse_pan)
    hover(window, qtbot, 30, 12)
    QTest.keyClick(window.canvas, Qt.Key.Key_D, Qt.KeyboardModifier.ShiftModifier)
    assert set(np.unique(window.layer.data)) == {0, 1}
