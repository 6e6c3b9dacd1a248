"""The painting tools: napari's own, chosen where one works, and what they paint."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
from napari.utils.colormaps import CyclicLabelColormap
from qtpy.QtCore import Qt
from qtpy.QtWidgets import (
    QButtonGroup,
    QCheckBox,
    QGridLayout,
    QHBoxLayout,
    QLabel,
    QPushButton,
    QVBoxLayout,
)

from napari_jnet.labels import UNKNOWN, LabelKind
from napari_jnet.plugin.layers.add import annotation_options
from napari_jnet.plugin.layers.edit import (
    KeepCells,
    Outlines,
    background_label,
    hold_labels,
    next_number,
    remember_next,
    wants_next,
)
from napari_jnet.plugin.layers.read import current_index, pixels
from napari_jnet.plugin.pages.section import AnnotatePart
from napari_jnet.plugin.ui.widgets import small_label
from napari_jnet.plugin.workspace import Lifetime, Workspace

_TOOLS = {
    "paint": ("Brush", "Paint with the brush (key 2). [ and ] change its size."),
    "polygon": ("Outline", "Click around a cell, double click to close and fill it (key 3)."),
    "fill": ("Fill", "Fill what is clicked with the present cell or class (key 4)."),
    "erase": ("Eraser", "Paint with nothing (key 1)."),
    "pick": ("Pick", "Go on with the cell or class that is clicked (key 5)."),
    "pan_zoom": ("Move", "Drag to move the picture, without painting (key 6, or hold Space)."),
}


_HINTS = {
    "paint": "Drag to paint; or right click, then circle a cell to fill it.",
    "polygon": "Click around it; a double click closes the outline, Esc gives it up.",
    "fill": "Click where to fill.",
    "erase": "Drag over what should go.",
    "pick": "Click the one to go on with.",
    "pan_zoom": "Dragging moves the picture; choose Brush to paint.",
    "transform": "Dragging moves the layer; choose Brush to paint.",
}


class PaintTools(AnnotatePart):
    """Buttons for napari's painting modes, the number to paint, and what is protected.

    Parameters
    ----------
    workspace
        Of the viewer; its frame table says which layer is painted on.
    lifetime
        Ends the listening.
    """

    def __init__(self, workspace: Workspace, lifetime: Lifetime) -> None:
        super().__init__(workspace, lifetime)
        self._layer: Any | None = None
        self._guard: KeepCells | None = None
        self._outlines: Outlines | None = None
        self._last = 1  # number before the unknown brush
        self.hint = small_label()
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(4)
        column.addLayout(self._mode_buttons())
        column.addLayout(self._number_row())
        column.addLayout(self._checks())
        column.addWidget(self.hint)
        lifetime.connect(self._frames.changed, self._follow)
        lifetime.connect(self._frames.kind_changed, self._show)
        lifetime.at_end(self._leave)
        self._follow()
        self._show()

    def _mode_buttons(self) -> QGridLayout:
        self.mode_buttons: dict[str, QPushButton] = {}
        self._group = QButtonGroup(self)
        grid = QGridLayout()
        grid.setSpacing(3)
        for place, (mode, (name, tip)) in enumerate(_TOOLS.items()):
            button = QPushButton(name)
            button.setToolTip(tip)
            button.setCheckable(True)
            button.setFocusPolicy(Qt.FocusPolicy.NoFocus)
            button.setMinimumWidth(button.fontMetrics().horizontalAdvance(name) + 10)
            button.setStyleSheet("padding: 3px 2px;")
            button.clicked.connect(
                lambda _=False, mode=mode: self.attempt(partial(self.set_mode, mode))
            )
            self._group.addButton(button)
            self.mode_buttons[mode] = button
            grid.addWidget(button, 0, place)
        return grid

    def _number_row(self) -> QHBoxLayout:
        self.patch = QLabel()
        self.new_button = QPushButton("New cell")
        self.new_button.setToolTip("Paint the next cell, with a number of its own (key M).")
        self.new_button.clicked.connect(lambda: self.attempt(self.new_cell))
        self.unknown_button = QPushButton("Unknown")
        self.unknown_button.setCheckable(True)
        self.unknown_button.clicked.connect(self._unknown_clicked)
        self.background_button = QPushButton("Background")
        self.background_button.setCheckable(True)
        self.background_button.setToolTip(
            "Paint what is known to be no cell; needed where all that is unpainted is unknown."
        )
        self.background_button.clicked.connect(self._background_clicked)
        row = QHBoxLayout()
        row.addWidget(self.patch, 1)
        for button in (self.new_button, self.background_button, self.unknown_button):
            button.setFocusPolicy(Qt.FocusPolicy.NoFocus)
            row.addWidget(button)
        return row

    def _checks(self) -> QVBoxLayout:
        self.keep_check = QCheckBox("Keep other cells")
        self.keep_check.setToolTip("The brush does not paint over what is painted already (key P).")
        self.keep_check.toggled.connect(self._set_keep)
        self.outline_check = QCheckBox("Show outlines only")
        self.outline_check.setToolTip("See the image under the labels.")
        self.outline_check.toggled.connect(self._set_outline)
        self.next_check = QCheckBox("Next number after each outline")
        self.next_check.setToolTip(
            "Each closed outline, and each circle with the right button, is another cell. Off: one cell may "
            "have several outlines, and New cell (key M) takes the next number."
        )
        self.next_check.setChecked(wants_next())
        self.next_check.toggled.connect(remember_next)
        row = QHBoxLayout()
        row.addWidget(self.keep_check)
        row.addWidget(self.outline_check)
        row.addStretch(1)
        column = QVBoxLayout()
        column.addLayout(row)
        column.addWidget(self.next_check)
        return column

    # what scripts use

    def set_mode(self, mode: str) -> None:
        """Choose a tool: paint, polygon, fill, erase, pick or pan_zoom; raises `ValueError`."""
        if mode not in _TOOLS:
            raise ValueError(f"{mode!r} is no tool; tools are {', '.join(_TOOLS)}.")
        layer = self._activate()
        layer.mode = mode

    def new_cell(self) -> int:
        """Choose a number that no cell has, and the brush; return the number."""
        layer = self._activate()
        number = next_number(self._frames, current_index(self._workspace.viewer, layer))
        hold_labels(layer, 0, number)
        layer.selected_label = number
        if layer.mode not in ("paint", "polygon", "fill"):
            layer.mode = "paint"
        return number

    def use_unknown_brush(self, on: bool = True) -> None:
        """Paint unknown pixels; for scribbles that is what is not painted, so the brush erases."""
        self._use_brush(UNKNOWN, on)

    def use_background_brush(self, on: bool = True) -> None:
        """Paint pixels that are known to be background, over unknown ones too."""
        self._use_brush(background_label(self._frames.kind), on)

    def _use_brush(self, number: int, on: bool) -> None:
        layer = self._activate()
        hold_labels(layer, number, 0)
        if number == UNKNOWN and isinstance(layer.colormap, CyclicLabelColormap):
            layer.colormap = annotation_options(LabelKind.INSTANCES)["colormap"]  # unknown is grey
        if layer.selected_label > background_label(self._frames.kind):
            self._last = layer.selected_label
        layer.selected_label = number if on else self._last
        layer.mode = "paint"

    # following the layer

    def _activate(self) -> Any:
        layer, viewer = self._layer, self._workspace.viewer
        if layer is None or viewer is None:
            raise ValueError("There is no annotation yet; press New annotation.")
        viewer.layers.selection.active = layer
        layer.visible = True
        if not layer.editable or not isinstance(pixels(layer), np.ndarray):
            raise ValueError(
                f"{layer.name!r} is read from its files as you look and cannot be painted on; "
                "press New annotation."
            )
        return layer

    def _emitters(self, layer: Any) -> tuple[Any, ...]:
        events = layer.events
        return events.mode, events.selected_label, events.preserve_labels, events.contour

    def _follow(self, _event: Any = None) -> None:
        if self._frames.layer is not self._layer:
            self._leave()
            self._layer = self._frames.layer
            if self._layer is not None:
                self._guard = KeepCells(self._layer)
                self._outlines = Outlines(self._layer, self._outline_closed)
                for emitter in self._emitters(self._layer):
                    emitter.connect(self._show)
            self._show()

    def _leave(self) -> None:
        if self._layer is not None:
            for emitter in self._emitters(self._layer):
                emitter.disconnect(self._show)
        if self._guard is not None:
            self._guard.close()
        if self._outlines is not None:
            self._outlines.close()
        self._layer = self._guard = self._outlines = None

    def _outline_closed(self) -> None:
        self.attempt(self._next_outline)

    def _next_outline(self) -> None:
        """Take the next number, so that the next outline is another cell."""
        layer = self._layer
        cells = self._frames.kind is LabelKind.INSTANCES
        if layer is not None and cells and self.next_check.isChecked() and layer.selected_label > 0:
            free = next_number(self._frames, current_index(self._workspace.viewer, layer))
            number = max(free, layer.selected_label + 1)
            hold_labels(layer, 0, number)
            layer.selected_label = number

    def _show(self, _event: Any = None) -> None:
        layer, kind = self._layer, self._frames.kind
        self.setEnabled(layer is not None)
        if layer is None:
            self.patch.setText("")
            self.hint.setText("New annotation makes labels to paint on.")
            return
        mode = str(layer.mode)
        self._group.setExclusive(False)
        for name, button in self.mode_buttons.items():
            button.setChecked(name == mode)
        self._group.setExclusive(True)
        for check, value in (
            (self.keep_check, layer.preserve_labels),
            (self.outline_check, layer.contour > 0),
        ):
            check.blockSignals(True)
            check.setChecked(bool(value))
            check.blockSignals(False)
        cells = kind is LabelKind.INSTANCES
        self.keep_check.setText("Keep other cells" if cells else "Keep what is painted")
        self.new_button.setVisible(cells)
        self.next_check.setVisible(cells)
        self.unknown_button.setVisible(kind is not LabelKind.SCRIBBLES)
        self.unknown_button.setChecked(layer.selected_label == UNKNOWN)
        background = layer.selected_label == 0 and mode == "paint"
        self.background_button.setVisible(kind is not LabelKind.SCRIBBLES)
        self.background_button.setChecked(background)
        self.patch.setText(self._what(layer, mode))
        next_one = " M: next cell." if cells and mode in ("paint", "polygon", "fill") else ""
        undo = "" if mode in ("pick", "pan_zoom", "transform") else " Ctrl+Z: undo."
        self.hint.setText(_HINTS.get(mode, "") + next_one + undo)

    def _what(self, layer: Any, mode: str) -> str:
        number = layer.selected_label
        if mode == "erase":
            return "Erases"
        colour = layer.colormap.map(number)
        rgb = ",".join(str(round(255 * float(c))) for c in np.ravel(colour)[:3])
        return f"<span style='color:rgb({rgb})'>■</span> {self._name(number)}"

    def _name(self, number: int) -> str:
        legend = self._frames.legend
        if number == UNKNOWN:
            return "unknown"
        if 0 <= number < len(legend):
            return legend[number][0]
        if self._frames.kind is LabelKind.INSTANCES:
            return f"cell {number}" if number > 0 else "background"
        return f"class {number}"

    def _unknown_clicked(self, on: bool) -> None:
        self.attempt(partial(self.use_unknown_brush, on))
        self._show()

    def _background_clicked(self, on: bool) -> None:
        self.attempt(partial(self.use_background_brush, on))
        self._show()

    def _set_keep(self, on: bool) -> None:
        if self._layer is not None:
            self._layer.preserve_labels = on

    def _set_outline(self, on: bool) -> None:
        if self._layer is not None:
            self._layer.contour = 2 if on else 0
