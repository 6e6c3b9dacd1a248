"""The page Annotate: labels to paint on, the brush, classes, the shown frame and the table of frames."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import napari
import numpy as np
from napari.utils.colormaps import CyclicLabelColormap
from numpy.typing import NDArray
from qtpy.QtCore import QAbstractTableModel, QModelIndex, QPoint, Qt
from qtpy.QtGui import QColor, QFont
from qtpy.QtWidgets import (
    QCheckBox,
    QColorDialog,
    QComboBox,
    QHBoxLayout,
    QHeaderView,
    QLabel,
    QMenu,
    QPushButton,
    QTableView,
    QTableWidget,
    QTableWidgetItem,
    QVBoxLayout,
    QWidget,
)
from superqt.utils import qthrottled, signals_blocked

from napari_jnet.editing import copy_labels
from napari_jnet.labels import UNKNOWN, LabelKind, known_labels
from napari_jnet.plugin.command import COMMANDS
from napari_jnet.plugin.frames import FrameInfo
from napari_jnet.plugin.layers.add import (
    CLASS_COLOURS,
    UNKNOWN_COLOUR,
    add_marks,
    annotation_options,
    color_labels,
    default_classes,
)
from napari_jnet.plugin.layers.edit import (
    PaintHooks,
    background_label,
    hold_labels,
    read_plane,
    replace_plane,
    rest_is_background,
    rest_is_unknown,
)
from napari_jnet.plugin.layers.read import (
    current_index,
    describe_kind,
    pixels,
    place,
    placement,
    plane,
    position_of,
    shown_position,
)
from napari_jnet.plugin.pages.correct import CorrectionBar
from napari_jnet.plugin.settings import plugin_settings
from napari_jnet.plugin.ui.page import Page
from napari_jnet.plugin.ui.table import make_compact
from napari_jnet.plugin.ui.theme import set_style
from napari_jnet.plugin.ui.widgets import (
    LayerCombo,
    lay_out,
    percent,
    plural,
    push_button,
    small_label,
)
from napari_jnet.plugin.workspace import Lifetime

if TYPE_CHECKING:
    from napari_jnet.plugin.layers.watch import FrameTable

KIND_TITLES = {
    LabelKind.INSTANCES: "cells: each cell its own number",
    LabelKind.CLASSES: "classes: each pixel a class",
    LabelKind.SCRIBBLES: "scribbles: a few strokes a class",
}
_NO_ANNOTATION = "There is no annotation yet; press New annotation."


class Section(QWidget):
    """A section of Annotate: it reads the frame table and changes the annotation layer.

    A constructor ends with `_begin`; from then on `_listen` is called with each layer that becomes
    the annotation, and `_show` when the layer, its kind or its classes are new.
    """

    def __init__(self, page: AnnotateWidget) -> None:
        super().__init__()
        self._page, self._workspace, self._lifetime = page, page._workspace, page._lifetime
        self._frames: FrameTable = page._workspace.frames
        self.say = page.message.say  # shows what was done
        self._layer: Any = None
        self._of_layer = Lifetime()
        self._column = lay_out(QVBoxLayout(self), spacing=4)

    def shown_plane(self) -> tuple[Any, tuple[int, ...]]:
        """Return the annotation layer and the leading indices of the plane that the viewer shows.

        Raises `ValueError` if there is no annotation, or the viewer shows it in 3-D.
        """
        layer, viewer = self._frames.layer, self._workspace.viewer
        if layer is None or viewer is None:
            raise ValueError(_NO_ANNOTATION)
        if viewer.dims.ndisplay == 3:
            raise ValueError("The viewer shows 3-D; switch to 2-D (Ctrl+Y) to work on a frame.")
        return layer, current_index(viewer, layer)

    def position(self) -> int:
        """Return the shown frame, as its position along the stack."""
        layer, viewer = self._frames.layer or self._workspace.image, self._workspace.viewer
        return 0 if layer is None or viewer is None else shown_position(viewer, layer)

    def _begin(self) -> None:
        self._lifetime.connect(self._frames.changed, self._follow)
        self._lifetime.connect(self._frames.kind_changed, self._show)
        self._lifetime.at_end(self._of_layer.end)
        self._follow()
        self._show()

    def _follow(self, _event: Any = None) -> None:
        if self._frames.layer is not self._layer:
            self._of_layer.end()
            self._layer = self._frames.layer
            if self._layer is not None:
                self._listen(self._layer)
            self._show()

    def _listen(self, layer: Any) -> None:
        pass

    def _show(self, _event: Any = None) -> None:
        raise NotImplementedError

    def _act(self, action: Callable[[], Any]) -> None:
        self._page.attempt(action)
        self._show()  # a button that could not do it is as before

    def _row(self, *widgets: QWidget) -> QHBoxLayout:
        """Add a row of widgets that leave the keyboard to the brush."""
        for widget in widgets:
            widget.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        row = lay_out(QHBoxLayout(), *widgets, spacing=4)
        self._column.addLayout(row)
        return row

    def _button(self, text: str, action: Callable[[], Any], tooltip: str) -> QPushButton:
        button = push_button(text, tooltip, lambda: self._act(action))
        # as narrow as its text: several share a row of the dock
        button.setMinimumWidth(button.fontMetrics().horizontalAdvance(text) + 10)
        button.setStyleSheet("padding: 3px 2px;")
        return button

    def _check(self, text: str, tooltip: str, slot: Callable[[bool], Any]) -> QCheckBox:
        check = QCheckBox(text)
        check.setToolTip(tooltip)
        check.clicked.connect(slot)
        return check

    def _choose(self, number: int) -> None:
        """Paint with this number from now on."""
        hold_labels(self._layer, 0, number)
        self._layer.selected_label = number

    def _command_button(self, name: str, action: Callable[[], Any], text: str = "") -> QPushButton:
        """Return a button that does the same as the shortcut of a command."""
        commands = self._workspace.commands
        button = self._button(text or COMMANDS[name].title, action, commands.tooltip(name))
        self._lifetime.connect(commands.changed, lambda: button.setToolTip(commands.tooltip(name)))
        self._lifetime.at_end(commands.attach({name: lambda: self._act(action)}))
        return button


# The brush


# napari's modes of a labels layer -> the title of a button, and what the mouse does
PAINT_MODES = {
    "paint": (
        "Brush",
        "Drag to paint, or right click and circle a cell to fill it (key 2). [ and ] change the size.",
    ),
    "polygon": (
        "Outline",
        "Click around a cell; a double click closes and fills it, Esc gives it up (key 3).",
    ),
    "fill": ("Fill", "Click to fill with the present cell or class (key 4)."),
    "erase": ("Eraser", "Drag over what should go (key 1)."),
    "pick": ("Pick", "Click the cell or class to go on with (key 5)."),
    "pan_zoom": ("Move", "Drag to move the picture, without painting (key 6, or hold Space)."),
}


class PaintTools(Section):
    """Buttons for napari's painting modes, the number to paint, and what is protected."""

    def __init__(self, page: AnnotateWidget) -> None:
        super().__init__(page)
        self._before = 1  # the number that was painted before unknown or background
        self.mode_buttons = {
            mode: self._button(title, partial(self.set_mode, mode), tooltip)
            for mode, (title, tooltip) in PAINT_MODES.items()
        }
        self.patch = QLabel()
        self.new_button = self._button(
            "New cell", self.new_cell, "Paint the next cell, with a number of its own (key M)."
        )
        self.background_button = self._button(
            "Background",
            partial(self.toggle_brush, 0),
            "Paint what is known to be no cell; needed where all that is unpainted is unknown.",
        )
        self.unknown_button = self._command_button(
            "unknown_brush", partial(self.toggle_brush, UNKNOWN), "Unknown"
        )
        self.keep_check = self._check(
            "Keep other cells",
            "The brush does not paint over what is painted already (key P).",
            lambda on: setattr(self._layer, "preserve_labels", on),
        )
        self.next_check = self._check(
            "Next number after each outline",
            "Each closed outline, and each circle with the right button, is another cell. Off: one cell may "
            "have several outlines, and New cell (key M) takes the next number.",
            partial(setattr, plugin_settings("annotate"), "next_number"),
        )
        self.next_check.setChecked(getattr(plugin_settings("annotate"), "next_number", True))
        self.hint = small_label()
        for button in (*self.mode_buttons.values(), self.background_button, self.unknown_button):
            button.setCheckable(True)
        self._row(*self.mode_buttons.values()).setSpacing(3)
        row = self._row(self.patch, self.new_button, self.background_button, self.unknown_button)
        row.setStretch(0, 1)
        self._row(self.keep_check)
        self._row(self.next_check)
        self._column.addWidget(self.hint)
        self._begin()

    def set_mode(self, mode: str) -> None:
        """Choose one of napari's modes of a labels layer; raises `ValueError`."""
        self._activate().mode = mode

    def new_cell(self) -> int:
        """Choose a number that no cell has, and the brush; return the number."""
        layer = self._activate()
        number = self._frames.next_number(current_index(self._workspace.viewer, layer))
        self._choose(number)
        if layer.mode not in ("paint", "polygon", "fill"):
            layer.mode = "paint"
        return number

    def toggle_brush(self, number: int) -> None:
        """Paint unknown pixels or background; where that is chosen already, what was painted before."""
        layer = self._activate()
        again = self._is_chosen(number)
        hold_labels(layer, number, 0)
        if number == UNKNOWN and isinstance(layer.colormap, CyclicLabelColormap):
            layer.colormap = annotation_options(LabelKind.INSTANCES)["colormap"]  # unknown is grey
        if layer.selected_label > background_label(self._frames.kind):
            self._before = layer.selected_label
        layer.selected_label = self._before if again else number
        layer.mode = "paint"

    def _activate(self) -> Any:
        layer, viewer = self._layer, self._workspace.viewer
        if layer is None or viewer is None:
            raise ValueError(_NO_ANNOTATION)
        viewer.layers.selection.active = layer
        layer.visible = True
        if not layer.editable or not isinstance(pixels(layer), np.ndarray):
            raise ValueError(
                f"{layer.name!r} is read from its files as you look and cannot be painted on; "
                "press New annotation."
            )
        return layer

    def _is_chosen(self, number: int) -> bool:
        chosen: bool = self._layer.selected_label == number
        return chosen and (number == UNKNOWN or self._layer.mode == "paint")

    def _listen(self, layer: Any) -> None:
        for name in ("mode", "selected_label", "preserve_labels"):
            self._of_layer.connect(getattr(layer.events, name), self._show)
        self._of_layer.at_end(PaintHooks(layer, lambda: self._act(self._after_outline)).close)

    def _after_outline(self) -> None:
        """Take the next number, so that the next outline is another cell."""
        layer, cells = self._layer, self._frames.kind is LabelKind.INSTANCES
        if cells and self.next_check.isChecked() and layer.selected_label > 0:
            free = self._frames.next_number(current_index(self._workspace.viewer, layer))
            self._choose(max(free, layer.selected_label + 1))

    def _show(self, _event: Any = None) -> None:
        layer, kind = self._layer, self._frames.kind
        if layer is None:  # then the page hides this
            return
        mode, cells = str(layer.mode), kind is LabelKind.INSTANCES
        for name, button in self.mode_buttons.items():
            button.setChecked(name == mode)
        self.keep_check.setChecked(bool(layer.preserve_labels))
        self.keep_check.setText("Keep other cells" if cells else "Keep what is painted")
        self.new_button.setVisible(cells)
        self.next_check.setVisible(cells)
        for number, button in ((UNKNOWN, self.unknown_button), (0, self.background_button)):
            button.setVisible(kind is not LabelKind.SCRIBBLES)
            button.setChecked(self._is_chosen(number))
        self.patch.setText(self._describe_brush(layer, mode))
        _, hint = PAINT_MODES.get(mode, ("", "Drag to move the layer; choose Brush to paint."))
        next_one = " M: next cell." if cells and mode in ("paint", "polygon", "fill") else ""
        self.hint.setText(hint + next_one)

    def _describe_brush(self, layer: Any, mode: str) -> str:
        if mode == "erase":
            return "Erases"
        number, classes = layer.selected_label, self._frames.classes
        if number == UNKNOWN:
            name = "unknown"
        elif 0 <= number < len(classes):
            name = classes[number][0]
        elif self._frames.kind is LabelKind.INSTANCES:
            name = f"cell {number}" if number > 0 else "background"
        else:
            name = f"class {number}"
        color = QColor.fromRgbF(*(float(part) for part in np.ravel(layer.colormap.map(number))[:3]))
        return _patch(color.name(), name)


def _patch(color: str, name: str) -> str:
    return f"<span style='color:{color}'>■</span>&nbsp;{name}"


# Classes

Classes = tuple[tuple[str, str], ...]
NUMBER, COLOR, NAME = range(3)


class ClassTable(Section):
    """Names and colours of the classes; a click chooses what the brush paints, hidden for cells."""

    def __init__(self, page: AnnotateWidget) -> None:
        super().__init__(page)
        self.table = table = QTableWidget(0, 3)
        table.setHorizontalHeaderLabels(["No.", "Colour", "Name (double click to change)"])
        table.setSelectionBehavior(QTableWidget.SelectionBehavior.SelectRows)
        table.setSelectionMode(QTableWidget.SelectionMode.SingleSelection)
        table.setMaximumHeight(130)
        rows, columns = table.verticalHeader(), table.horizontalHeader()
        rows.hide()
        columns.setSectionResizeMode(NAME, QHeaderView.ResizeMode.Stretch)
        columns.resizeSection(NUMBER, 40)
        columns.resizeSection(COLOR, 60)
        table.cellClicked.connect(lambda row, _: self._choose(self._background + row))
        table.cellDoubleClicked.connect(self._on_double_click)
        table.itemChanged.connect(self._on_item_changed)
        self.add_button = self._button(
            "Add class", self.add, "One more class, with the next number."
        )
        self.remove_button = self._button(
            "Remove unused",
            self.remove_unused,
            "Remove the last classes as far as nothing is painted in them.",
        )
        self._column.addWidget(table)
        self._row(self.add_button, self.remove_button)
        self._begin()

    @property
    def classes(self) -> Classes:
        """(name, "#rrggbb") of each number from 0 of the annotation."""
        return self._frames.classes or default_classes(self._frames.kind)

    def set_classes(self, classes: Classes) -> None:
        """Give the annotation these names and colours, of each number from 0; raises `ValueError`."""
        layer, kind = self._frames.layer, self._frames.kind
        if layer is None or kind is LabelKind.INSTANCES:
            raise ValueError(
                "Cells have no classes; choose classes or scribbles as the kind first."
            )
        classes = tuple((name.strip(), color) for name, color in classes)
        names = [name for name, _ in classes]
        for name in names:
            if not name or names.count(name) > 1:
                problem = f"{name!r} is there twice" if name else "a name is empty"
                raise ValueError(f"{problem}; each class needs a name of its own.")
        color_labels(layer, kind, classes)
        self._frames.kind_changed.emit(kind)

    def add(self) -> int:
        """Add a class and return its number; it is what the brush paints next."""
        classes = self.classes
        number = len(classes)
        color = CLASS_COLOURS[(number - self._background - 1) % len(CLASS_COLOURS)]
        self.set_classes((*classes, (f"class {number}", color)))
        self._choose(number)
        return number

    def change(self, number: int, name: str | None = None, color: str = "") -> None:
        """Give a class another name or colour, "#rrggbb"; raises `ValueError`."""
        classes = list(self.classes)
        old_name, old_color = classes[number]
        classes[number] = (old_name if name is None else name, color or old_color)
        self.set_classes(tuple(classes))

    def remove_unused(self) -> int:
        """Remove the last classes as far as no frame has them, and return how many."""
        classes = self.classes
        kept = self._background + max(len(self._frames.totals.pixels), 2)
        if kept < len(classes):
            self.set_classes(classes[:kept])
        return max(0, len(classes) - kept)

    @property
    def _background(self) -> int:
        """The number of the first row; background is never removed or renamed."""
        return background_label(self._frames.kind)

    def _listen(self, layer: Any) -> None:
        self._of_layer.connect(layer.events.selected_label, self._show_chosen)

    def _show(self, _event: Any = None) -> None:
        shown = self._layer is not None and self._frames.kind is not LabelKind.INSTANCES
        self.setVisible(shown)
        if not shown:
            return
        rows = self.classes[self._background :]
        with signals_blocked(self.table):
            self.table.setRowCount(len(rows))
            for row, (name, color) in enumerate(rows):
                self._write_row(row, name, color)
        self._show_chosen()

    def _write_row(self, row: int, name: str, color: str) -> None:
        number = self._background + row
        items = {NUMBER: QTableWidgetItem(str(number)), COLOR: QTableWidgetItem()}
        items[NAME] = QTableWidgetItem(name)
        if number:
            items[COLOR].setData(Qt.ItemDataRole.DecorationRole, QColor(color))
            items[COLOR].setToolTip("Double click to change the colour.")
        for column, item in items.items():
            if column != NAME or not row:
                item.setFlags(item.flags() & ~Qt.ItemFlag.ItemIsEditable)
            self.table.setItem(row, column, item)

    def _show_chosen(self, _event: Any = None) -> None:
        row = self._layer.selected_label - self._background
        if 0 <= row < self.table.rowCount():
            self.table.selectRow(row)
        else:
            self.table.clearSelection()

    def _on_double_click(self, row: int, column: int) -> None:
        number = self._background + row
        if column == COLOR and number:
            name, color = self.classes[number]
            chosen = QColorDialog.getColor(QColor(color), self, f"Colour of {name}")
            if chosen.isValid():
                self._act(partial(self.change, number, color=chosen.name()))

    def _on_item_changed(self, item: QTableWidgetItem) -> None:
        if item.column() == NAME:
            self._act(partial(self.change, self._background + item.row(), item.text()))


# The shown frame

_MASK_COLORS = {"foreground": "#3ddc84", "background": "#4d7cff", "unknown": UNKNOWN_COLOUR}
_DELAY = 60  # ms that the description and the mask may be behind the brush


def training_mask(
    labels: NDArray[Any], kind: LabelKind, *, partial: bool = False, empty: bool = False
) -> NDArray[Any]:
    """Return what each pixel of a painted frame (`empty`: marked as without objects) counts as in training.

    (H, W) uint8: 1 = cell (any class but background), 2 = background, 3 = unknown; all unknown where
    nothing is painted, since such frames are not used.
    """
    if not (empty or labels.any()):
        return np.full(labels.shape, 3, np.uint8)
    known = known_labels(labels, kind, partial=partial)
    return np.select([known > 0, known == 0], [1, 2], default=3).astype(np.uint8)


def class_shares(frames: FrameTable, info: FrameInfo) -> list[tuple[str, int]]:
    """Return name and pixels of each class of a frame, background first."""
    names = [name for name, _ in frames.classes[background_label(frames.kind) :]] or ["background"]
    return [
        (names[n] if n < len(names) else f"class {n}", count) for n, count in enumerate(info.pixels)
    ]


def describe_frame(frames: FrameTable, info: FrameInfo) -> str:
    """Describe what a frame is for training: "t005: 12 cells (20 %), 78 % background, 2 % unknown."."""
    name, cells = frames.frame_name(info.number), frames.kind is LabelKind.INSTANCES
    if not info.counted:
        return f"{name}: counting…"
    if not info.annotated:
        return f"{name}: nothing is painted, so it is not used for training."
    if info.empty:
        things = "cells" if cells else "objects"
        return f"{name}: marked as without {things}, all background; it is used for training."
    if cells:
        background, *painted = info.pixels or (0,)
        parts = [f"{plural(info.objects, 'cell')} ({percent(sum(painted), info.size)})"]
        parts += [f"{percent(background, info.size)} background"]
    else:
        parts = [f"{percent(n, info.size)} {title}" for title, n in class_shares(frames, info)]
    return f"{name}: {', '.join([*parts, f'{percent(info.unknown, info.size)} unknown'])}."


class FrameSection(Section):
    """What the shown frame is for training, as a line and as a mask; each button is one undo step."""

    def __init__(self, page: AnnotateWidget) -> None:
        super().__init__(page)
        self._mask: Any = None  # the layer
        patches = [_patch(color, name) for name, color in _MASK_COLORS.items()]
        self.line, self.legend = small_label(), small_label(" ".join(patches))
        self.mask_check = self._check(
            "Show training mask",
            "Colour each pixel by what it counts as in training: cell (or a class), background, or unknown.",
            lambda _: self.describe(),
        )
        self.pieces_line = small_label()
        self.apart_button = self._button(
            "Number them apart",
            self.number_apart,
            "Each separate piece becomes a cell of its own; the largest keeps the number.",
        )
        self.unknown_button = self._command_button("rest_unknown", self.mark_unknown)
        self.background_button = self._button(
            "Mark unpainted as background",
            self.mark_background,
            "All that is not painted in this frame is background; where nothing is painted, there are "
            "no cells in it.",
        )
        self.copy_button = self._command_button("copy_before", self.copy_previous)
        self.overwrite_check = QCheckBox("Overwrite existing labels")
        self.overwrite_check.setToolTip("Off: what is painted in this frame stays as it is.")
        self._column.addWidget(self.line)
        self._row(self.legend, self.mask_check).setStretch(0, 1)
        self._column.addWidget(self.pieces_line)
        self._row(self.apart_button)
        self._row(self.unknown_button)  # each alone: together they widen the dock
        self._row(self.background_button)
        self._row(self.copy_button, self.overwrite_check)
        # an event of napari may come before the pixels are in the layer
        self._describe = qthrottled(self.describe, timeout=_DELAY, leading=False, parent=self)
        self._lifetime.connect(self._workspace.viewer.dims.events.current_step, self._show)
        self._lifetime.connect(self._workspace.viewer.layers.events.removed, self._on_removed)
        self._lifetime.at_end(self._remove_mask)
        self._begin()
        self._lifetime.connect(self._frames.changed, self._show)

    def mark_unknown(self) -> int:
        """Make the background unknown, and return how many pixels changed; raises `ValueError`.

        Where the frame is marked as without cells, the mark is removed.
        """
        position = self.position()
        if self._frames.layer is not None and self._frames.info(position).empty:
            self._frames.mark_empty(position, False)
            self.say(
                f"{self._name(position)} is not marked any more, so it is not used for training."
            )
            return 0
        count = self._edit(rest_is_unknown, "unknown")
        self._frames.mark_empty(position, False)  # should all that is painted be erased again
        return count

    def mark_background(self) -> int:
        """Make all that is not painted background, and return how many pixels changed.

        A frame in which nothing is painted is marked as without cells: it is used for training,
        saved and scored.  Raises `ValueError` where it cannot be.
        """
        layer, index = self.shown_plane()
        position = self.position()
        frame, name = np.asarray(self._frames.frame(position)), self._name(position)
        scribbles = self._frames.kind is LabelKind.SCRIBBLES
        if (frame > 0).any() or scribbles:
            if not scribbles and not (read_plane(layer, index) > 0).any():
                raise ValueError(
                    f"Nothing is painted in this section of {name}, but in others; paint a stroke of "
                    "Unknown, and the rest of the section is background."
                )
            return self._edit(rest_is_background, "background")
        self._frames.mark_empty(position)
        count = replace_plane(layer, index[:1], np.zeros_like(frame)) if frame.any() else 0
        whole = ", in all its sections" if frame.ndim > 2 else ""
        self.say(
            f"{name} has no cells{whole}: all of it is background. To undo that, press Mark unpainted as "
            "unknown."
        )
        return count

    def copy_previous(self) -> int:
        """Copy the nearest annotated frame before the shown one, and return how much; see `copy_labels`."""
        layer, index = self.shown_plane()
        frames, kind = self._frames, self._frames.kind
        before = [
            p for p in frames.annotated if index and p < index[0] and not frames.info(p).empty
        ]
        if not before:
            raise ValueError("No frame before this one is painted, so there is nothing to copy.")
        there = read_plane(layer, (before[-1], *index[1:]))
        new, count = copy_labels(
            read_plane(layer, index), there, kind, overwrite=self.overwrite_check.isChecked()
        )
        replace_plane(layer, index, new)
        what = plural(count, "cell" if kind is LabelKind.INSTANCES else "pixel")
        name = self._name(before[-1])
        self.say(
            f"{what} copied from {name}. Undo with Ctrl+Z."
            if count
            else f"Nothing copied: all that {name} has is painted over here."
        )
        return count

    def number_apart(self) -> int:
        """Give each piece of the cells of the shown frame its own number, and return how many are new."""
        count = self._frames.number_apart(self.position())
        self.say(f"{plural(count, 'new cell')}. Undo with Ctrl+Z.")
        return count

    def describe(self) -> None:
        """Describe the shown frame, and draw its training mask where that is switched on."""
        layer, viewer, frames = self._layer, self._workspace.viewer, self._frames
        if layer is None or viewer is None:
            self.line.setText("")
            self.mask_check.setChecked(False)
            self._remove_mask()
            return
        index = current_index(viewer, layer)
        position = position_of(index)
        if position >= len(frames):
            return
        info = frames.info(position)
        self.line.setText(describe_frame(frames, info))
        if not self.mask_check.isChecked():
            self._remove_mask()
            return
        labels, partial = plane(layer)(index), frames.is_partial(position)
        mask = training_mask(labels, frames.kind, partial=partial, empty=info.empty)
        lies = placement(layer, index, (-2, -1))
        if self._mask is None:
            legend = (("", "#000000"), *_MASK_COLORS.items())
            self._mask = add_marks(viewer, "training mask", mask, legend, lies)
        else:
            self._mask.data = mask
            place(self._mask, lies)

    def _name(self, position: int) -> str:
        return self._frames.frame_name(self._frames.numbers[position])

    def _edit(self, change: Callable[..., Any], name: str) -> int:
        layer, index = self.shown_plane()
        before = read_plane(layer, index)
        count = replace_plane(layer, index, change(before, self._frames.kind))
        share = f"{100 * count / before.size:.0f} % of this frame is now {name}"
        advice = ""
        if self._frames.kind is LabelKind.INSTANCES and (read_plane(layer, index) != 0).all():
            advice = " Now paint a few strokes of Background, so that there is something to tell cells from."
        self.say(
            f"{share}. Undo with Ctrl+Z.{advice}" if count else f"All the rest is {name} already."
        )
        return count

    def _remove_mask(self) -> None:
        viewer = self._workspace.viewer
        if self._mask is not None and viewer is not None:
            viewer.layers.remove(self._mask)

    def _on_removed(self, event: Any) -> None:
        if event.value is self._mask:
            self._mask = None
            self.mask_check.setChecked(False)

    def _show(self, _event: Any = None) -> None:
        position, frames = self.position(), self._frames
        shown = self._layer is not None and position < len(frames)
        found = frames.info(position).in_pieces if shown else ()
        if found:
            (cell, count), *others = found
            more = f" ({plural(len(others), 'other cell')} too)" if others else ""
            self.pieces_line.setText(f"Cell {cell} is in {count} pieces{more}.")
        self.pieces_line.setVisible(bool(found))
        self.apart_button.setVisible(bool(found))
        self.unknown_button.setVisible(frames.kind is not LabelKind.SCRIBBLES)
        for part in (self.copy_button, self.overwrite_check):
            part.setVisible(len(frames) != 1)  # a single image has no frame before
        self._describe()


# The table of frames


def _describe_painted(frames: FrameTable, info: FrameInfo) -> str:
    if not info.counted:
        return "…"
    if not info.annotated:
        return ""
    if frames.kind is LabelKind.INSTANCES:
        return "no cells" if info.empty else str(info.objects)
    background, *classes = class_shares(frames, info)
    shares = [(name, count) for name, count in (*classes, background) if count]
    return ", ".join(f"{name} {percent(count, info.size)}" for name, count in shares)


class FrameColumn(NamedTuple):
    """One column of the table of frames."""

    title: str
    tooltip: str
    text: Callable[[FrameTable, FrameInfo], str]  # what it shows of a frame
    widest: str = ""  # a text that has room; "" for the column that takes the room that is left
    shown: Callable[[FrameTable], bool] = lambda _: True  # without a value it only takes room


COLUMNS = {
    "frame": FrameColumn(
        "Frame",
        "Frame number as in the file names. Click to show the frame.",
        lambda frames, info: frames.frame_name(info.number),
        "t0000",
    ),
    "painted": FrameColumn(
        "Cells", "Painted cells, or how much of the frame each class covers.", _describe_painted
    ),
    "unknown": FrameColumn(
        "Unknown",
        "How much of the frame is unknown; it counts in no loss and no score.",
        lambda _, info: percent(info.unknown, info.size) if info.annotated else "",
        "Unknown",
        lambda frames: frames.totals.whole < frames.totals.frames,
    ),
    "role": FrameColumn(
        "Role",
        "What the frame is used for. Click to change; right click for several frames.",
        lambda _, info: f"{info.role or 'automatic'} ▾" if info.annotated else "",
        "automatic ▾",
    ),
    "score": FrameColumn(
        "Score",
        "Score of the last evaluation or training, 0 to 1; higher is better.",
        lambda _, info: "" if info.score is None else f"{info.score:.2f}",
        "Score",
        lambda frames: bool(frames.score_name),
    ),
    "uncertainty": FrameColumn(
        "Uncertainty",
        "How uncertain the network was in the last prediction, 0 to 1; highest in crowded frames.",
        lambda _, info: "" if info.uncertainty is None else f"{info.uncertainty:.2f}",
        "Uncertainty",
        lambda frames: frames.has_uncertainty,
    ),
}
ROLE_MEANINGS = {
    "training": "the network learns from this frame",
    "validation": "never learned from; tells how good the network is",
    "unused": "in neither",
}
_SHOWN = QColor(0, 122, 204, 110)


class _FramesModel(QAbstractTableModel):
    """The rows of the table of frames, by position; a frame is read when its row is shown."""

    def __init__(self, frames: FrameTable, lifetime: Lifetime) -> None:
        super().__init__()
        self.frames: FrameTable = frames
        self.shown = -1  # the position of the frame that the viewer shows
        self._count = 0
        lifetime.connect(frames.changed, self.refresh)
        lifetime.connect(frames.kind_changed, lambda _: self.refresh(range(len(frames))))
        self.refresh(())

    def rowCount(self, _parent: QModelIndex | None = None) -> int:
        return self._count

    def columnCount(self, _parent: QModelIndex | None = None) -> int:
        return len(COLUMNS)

    def show_position(self, position: int) -> None:
        """Highlight the frame that the viewer shows."""
        before, self.shown = self.shown, position
        self._emit_changed([before])
        self._emit_changed([position])

    def headerData(self, section: int, orientation: Qt.Orientation, role: int = 0) -> Any:
        if orientation != Qt.Orientation.Horizontal:
            return None
        name, column = list(COLUMNS.items())[section]
        if role == Qt.ItemDataRole.ToolTipRole:
            return column.tooltip
        if role != Qt.ItemDataRole.DisplayRole:
            return None
        if name == "painted" and self.frames.kind is not LabelKind.INSTANCES:
            return "Painted"
        return self.frames.score_name or column.title if name == "score" else column.title

    def data(self, index: QModelIndex, role: int = 0) -> Any:
        position = index.row()  # only what depends on the frame asks for it
        name, column = list(COLUMNS.items())[index.column()]
        if role == Qt.ItemDataRole.DisplayRole:
            return column.text(self.frames, self.frames.info(position))
        if role == Qt.ItemDataRole.BackgroundRole:
            return _SHOWN if position == self.shown else None
        if role == Qt.ItemDataRole.TextAlignmentRole:
            return None if name in ("painted", "role") else Qt.AlignmentFlag.AlignCenter
        if role == Qt.ItemDataRole.FontRole and name == "frame":
            font = QFont()
            font.setBold(self.frames.info(position).annotated)
            return font
        if role == Qt.ItemDataRole.ToolTipRole:
            info = self.frames.info(position)
            if name == "role" and info.annotated:
                return ROLE_MEANINGS.get(info.role, "the split decides when training starts")
            if name == "score" and info.score is not None:
                return f"{info.score_name} {info.score:.3f}"
            return column.text(self.frames, info) if name == "painted" else None
        return None

    def refresh(self, positions: Sequence[int]) -> None:
        """Show these frames anew, and rows that came or went."""
        if self._count != len(self.frames):
            self.beginResetModel()
            self._count = len(self.frames)
            self.endResetModel()
        else:
            self._emit_changed(positions)
        self.headerDataChanged.emit(Qt.Orientation.Horizontal, 0, len(COLUMNS) - 1)

    def _emit_changed(self, positions: Sequence[int]) -> None:
        first, last = min(positions, default=-1), max(positions, default=-1)
        if first >= 0 and last < self._count:
            self.dataChanged.emit(self.index(first, 0), self.index(last, len(COLUMNS) - 1))


def choose_next(
    infos: Sequence[FrameInfo], shown: int, seen: Collection[int] = ()
) -> tuple[int, str]:
    """Return the position of the frame to annotate next, and why, in a few words.

    That is a frame without annotation: the one with the worst score, else the one farthest from all that
    are annotated or `seen`.  When all are annotated: the one with the worst score.  It is not the shown
    one, unless there is no other, and one that was `seen` only when all were.
    """
    done = [f for f in infos if f.annotated]
    todo = [f for f in infos if not f.annotated and f.position != shown]
    if not todo and not infos[shown].annotated:
        return shown, "the last frame without annotation"
    frames = todo or [f for f in done if f.score is not None and f.position != shown]
    unseen = [f for f in frames if f.position not in seen]
    seen = seen if unseen else ()
    frames = unseen or frames
    if scored := [f for f in frames if f.score is not None]:
        worst = min(scored, key=lambda f: f.score or 0.0)
        why = f"worst score, {worst.score:.2f}"
        return worst.position, why if todo else f"all frames are annotated; {why}"
    if not todo:
        return shown, "all frames are annotated"
    near = [*(f.position for f in done), *seen]
    if not near:
        return frames[len(frames) // 2].position, "nothing is annotated yet"
    farthest = max(frames, key=lambda f: min(abs(f.position - n) for n in near))
    return farthest.position, f"farthest from annotated {'and seen ' if seen else ''}frames"


class FramesSection(Section):
    """The table of frames and the button to the next frame to annotate."""

    def __init__(self, page: AnnotateWidget) -> None:
        super().__init__(page)
        self._seen: set[int] = set()  # by `next_frame`, with what it went by
        self._ranked: tuple[Any, ...] = ()
        self.model = _FramesModel(self._frames, self._lifetime)
        self.table = self._make_table()
        self.next_button = self._command_button("next_frame", self.next_frame)
        self.only_check = self._check(
            "Only annotated",
            "List annotated frames only.",
            lambda _: self._filter(range(len(self._frames))),
        )
        self._column.addWidget(self.table)
        self._row(self.next_button, self.only_check)
        self._lifetime.connect(self._workspace.viewer.dims.events.current_step, self._show_position)
        self._lifetime.connect(self._workspace.image_changed, self._show_position)
        self._begin()
        self._lifetime.connect(self._frames.changed, self._show)
        self._lifetime.connect(self._frames.changed, self._filter)
        # a message below makes the table less high
        self.table.verticalScrollBar().rangeChanged.connect(self._scroll)
        self._show_position()

    def _make_table(self) -> QTableView:
        table = QTableView()
        table.setModel(self.model)
        make_compact(table)
        table.setFocusPolicy(Qt.FocusPolicy.NoFocus)  # the keys belong to the brush
        table.setShowGrid(False)
        table.setMinimumHeight(150)
        table.setContextMenuPolicy(Qt.ContextMenuPolicy.CustomContextMenu)
        table.customContextMenuRequested.connect(self._open_role_menu)
        table.clicked.connect(self._on_click)
        heads, modes = table.horizontalHeader(), QHeaderView.ResizeMode
        for number, column in enumerate(COLUMNS.values()):
            heads.setSectionResizeMode(number, modes.Fixed if column.widest else modes.Stretch)
            if column.widest:
                width = table.fontMetrics().horizontalAdvance(column.widest)
                heads.resizeSection(number, width + 10)
        return table

    def next_frame(self) -> int:
        """Show the frame to annotate next, say why, and return its position.

        Each frame comes once before the first comes again, until something is painted, predicted or scored.
        """
        frames = self._frames
        if not len(frames):
            raise ValueError("There is no image to annotate; open one first.")
        infos = [frames.info(position) for position in range(len(frames))]
        known = [(f.annotated and f.pixels, f.score, f.uncertainty) for f in infos]
        ranked = id(self._workspace.image), known
        if ranked != self._ranked:
            self._ranked, self._seen = ranked, set()
        shown = self.position()
        position, why = choose_next(infos, shown, self._seen)
        self._seen = {position} if position in self._seen else {*self._seen, shown, position}
        self._workspace.go_to(position)
        name, done = frames.frame_name(infos[position].number), len(frames.annotated)
        self.say(f"{name}: {why}. {done} of {len(infos)} frames are annotated.")
        return position

    def role_menu(self, positions: Sequence[int]) -> QMenu:
        """Return the menu that changes the role of these frames."""
        menu = QMenu(self.table)
        menu.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        present = {self._frames.info(position).role for position in positions}
        for role, meaning in ROLE_MEANINGS.items():
            action = menu.addAction(
                f"{role}: {meaning}",
                partial(self._act, partial(self._frames.set_roles, dict.fromkeys(positions, role))),
            )
            action.setCheckable(True)
            action.setChecked(present == {role})
        return menu

    def _show(self, _event: Any = None) -> None:
        for number, column in enumerate(COLUMNS.values()):
            self.table.setColumnHidden(number, not column.shown(self._frames))

    def _filter(self, positions: Iterable[int]) -> None:
        """Hide frames without annotation, where only annotated ones are asked for."""
        only = self.only_check.isChecked()
        for position in positions:
            self.table.setRowHidden(position, only and not self._frames.info(position).annotated)

    def _show_position(self, _event: Any = None) -> None:
        self.model.show_position(self.position())
        self._scroll()

    def _scroll(self, *_range: int) -> None:
        self.table.scrollTo(self.model.index(self.position(), 0))

    def _on_click(self, index: QModelIndex) -> None:
        self._workspace.go_to(index.row())
        if list(COLUMNS)[index.column()] == "role":
            self._open_role_menu(self.table.visualRect(index).bottomLeft())

    def _open_role_menu(self, at: QPoint) -> None:
        """Offer roles for the annotated frames of the selected rows; a click has selected its own."""
        selected = self.table.selectionModel().selectedRows()
        positions = sorted(index.row() for index in selected)
        annotated = [position for position in positions if self._frames.info(position).annotated]
        if annotated:
            self.role_menu(annotated).popup(self.table.viewport().mapToGlobal(at))


# The page


class AnnotateWidget(Page):
    """Makes labels to paint on, and shows what is painted, frame by frame."""

    def __init__(self, napari_viewer: napari.viewer.Viewer) -> None:
        super().__init__(napari_viewer)
        workspace, lifetime = self._workspace, self._lifetime
        self._frames: FrameTable = workspace.frames
        self._add_labels()
        self.tools = PaintTools(self)
        self.classes = ClassTable(self)
        self.frame = FrameSection(self)
        self.frames = FramesSection(self)
        self.corrections = CorrectionBar(workspace)
        self._painting = self._box("Paint", self.tools, self.classes)
        self._correcting = self._box("Correct a cell", self.corrections)
        self._this_frame = self._box("This frame", self.frame)
        self._box("Frames", self.frames)
        self.saved_line = small_label()
        self._embedded = False
        self.layout().addWidget(self.message)  # below what scrolls, so that it is always seen
        self.layout().addWidget(self.saved_line)
        lifetime.connect(self._frames.changed, self._show_layer)
        lifetime.connect(self._frames.kind_changed, self._show_layer)
        lifetime.connect(workspace.saving_changed, self._show_saved)
        self._show_layer()
        self._show_saved()

    def _add_labels(self) -> None:
        form = self._group("Labels")
        self.labels_combo = LayerCombo(self._workspace, "annotation", self._lifetime)
        self.labels_combo.setMinimumContentsLength(7)  # a button shares its row
        self.labels_combo.setToolTip("The labels that are painted on and used for training.")
        self.kind_combo = QComboBox()
        for kind, title in KIND_TITLES.items():
            self.kind_combo.addItem(title, kind)
        self.kind_combo.setToolTip("What the numbers of the labels mean; nothing painted changes.")
        self.kind_combo.activated.connect(self._on_kind_chosen)
        self.kind_line = small_label()
        self.new_button = push_button(
            "New annotation",
            "Empty labels as large as the image, ready to paint on.",
            lambda: self.attempt(lambda: self.new_annotation(self._chosen_kind)),
        )
        form.addRow("Meaning", self.kind_combo)
        form.addRow(self.kind_line)
        row = lay_out(QHBoxLayout(), self.labels_combo, self.new_button, spacing=4)
        row.setStretch(0, 1)
        row.setStretch(1, 1)
        form.addRow("Paint on", row)

    def _box(self, title: str, *parts: QWidget) -> QWidget:
        form = self._group(title)
        for part in parts:
            form.addRow(part)
        return form.parentWidget()

    def embed(self) -> None:
        """Leave the line about saving to the workbench."""
        self._embedded = True
        self.saved_line.hide()

    def new_annotation(self, kind: LabelKind | str = LabelKind.INSTANCES) -> Any:
        """Add labels to paint on and return the layer; see `Workspace.new_annotation`."""
        layer = self._workspace.new_annotation(kind)
        meaning = KIND_TITLES[LabelKind(kind)].split(":")[0]
        self.message.say(f"{layer.name!r} is ready: paint {meaning} with the brush.")
        return layer

    def set_kind(self, kind: LabelKind | str) -> None:
        """Change what the numbers of the present labels mean; raises `ValueError`."""
        self._frames.set_kind(kind)
        self.message.say(f"Nothing painted has changed. {describe_kind(self._frames.kind)}")

    @property
    def _chosen_kind(self) -> LabelKind:
        return LabelKind(self.kind_combo.currentData() or LabelKind.INSTANCES)

    def _on_kind_chosen(self, index: int) -> None:
        if self._frames.layer is not None:
            self.attempt(lambda: self.set_kind(self.kind_combo.itemData(index)))
        self._show_layer()

    def _new_menu(self) -> QMenu:
        """Ask for a kind: where labels are there, the kind in the form is theirs."""
        menu = QMenu(self.new_button)
        for kind, title in KIND_TITLES.items():
            new = partial(self.new_annotation, kind)
            menu.addAction(title.capitalize(), partial(self.attempt, new))
        return menu

    def _show_layer(self, _event: Any = None) -> None:
        there = self._frames.layer is not None
        if there:
            self.kind_combo.setCurrentIndex(list(KIND_TITLES).index(self._frames.kind))
        self.kind_line.setText(describe_kind(self._chosen_kind))
        if there != (self.new_button.menu() is not None):
            self.new_button.setMenu(self._new_menu() if there else None)
        for part in (self._painting, self._this_frame, self.labels_combo):
            part.setVisible(there)
        self._correcting.setVisible(there and self._frames.kind is LabelKind.INSTANCES)

    def _show_saved(self, _event: Any = None) -> None:
        saving = self._workspace.saving
        self.saved_line.setText(saving.text)
        self.saved_line.setVisible(bool(saving.text) and not self._embedded)
        role = "@error" if saving.failed else "@muted"
        set_style(self.saved_line, f"font-size: 8pt; color: {role};")
