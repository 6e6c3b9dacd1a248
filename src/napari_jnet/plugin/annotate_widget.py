"""The dock widget to annotate: labels to paint on, tools, what they mean, and which frame is next."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QCheckBox, QComboBox, QHBoxLayout, QMenu, QPushButton

from napari_jnet.data.stack import LabelKind
from napari_jnet.plugin.annotate_actions import copy_labels, rest_is_background, rest_is_unknown
from napari_jnet.plugin.annotate_tools import PaintTools
from napari_jnet.plugin.annotation_layers import annotation_options, new_annotation
from napari_jnet.plugin.class_table import ClassTable
from napari_jnet.plugin.edits import read_plane, replace_plane
from napari_jnet.plugin.forms import small_label
from napari_jnet.plugin.frames_table import FramesModel, FramesTable
from napari_jnet.plugin.job_widget import JobWidget
from napari_jnet.plugin.kind_preview import KIND_TITLES, KindPreview
from napari_jnet.plugin.layer_combos import LayerCombo
from napari_jnet.plugin.layers import current_index, describe_kind, pixels
from napari_jnet.plugin.next_frame import choose_next

if TYPE_CHECKING:
    import napari

__all__ = ["AnnotateWidget"]


class AnnotateWidget(JobWidget):
    """Makes labels to paint on, and shows what is painted, frame by frame.

    Parameters
    ----------
    napari_viewer
        The viewer whose image is annotated.
    """

    def __init__(self, napari_viewer: napari.viewer.Viewer) -> None:
        super().__init__(napari_viewer)
        self._book = self._session.book
        self._labels_group()
        self._paint_group()
        self._frame_group()
        self._frames_group()
        self.saved_line = small_label()
        outer = self.layout()
        assert outer is not None
        outer.addWidget(self.message)  # below what scrolls, so that it is always seen
        outer.addWidget(self.saved_line)
        for emitter, slot in (
            (self._book.changed, self._show_layer),
            (self._book.kind_changed, self._show_layer),
            (self._session.saving_changed, self._show_saved),
            (napari_viewer.dims.events.current_step, self._show_frame),
        ):
            self._lifetime.connect(emitter, slot)
        self._show_layer()
        self._show_saved()
        self._show_frame()

    def _labels_group(self) -> None:
        form = self._group("Labels")
        self.labels_combo = LayerCombo(self._session, "annotation", self._lifetime)
        self.labels_combo.setToolTip("The labels that are painted on and learned from.")
        self.kind_combo = QComboBox()
        for kind, title in KIND_TITLES.items():
            self.kind_combo.addItem(title, kind)
        self.kind_combo.setToolTip("What the numbers of the labels mean; nothing painted changes.")
        self.kind_combo.activated.connect(self._kind_chosen)
        self.kind_line = small_label()
        self.new_button = QPushButton("New annotation")
        self.new_button.setToolTip("Empty labels as large as the image, ready to paint on.")
        self.new_button.clicked.connect(self._button(self._new_clicked))
        form.addRow(self.new_button)
        form.addRow("Paint on", self.labels_combo)
        form.addRow("Meaning", self.kind_combo)
        form.addRow(self.kind_line)

    def _paint_group(self) -> None:
        form = self._group("Paint")
        self.tools = PaintTools(self._session, self._lifetime)
        self.classes = ClassTable(self._session, self._lifetime)
        form.addRow(self.tools)
        form.addRow(self.classes)

    def _frame_group(self) -> None:
        form = self._group("This frame")
        self.preview = KindPreview(self._session, self._lifetime)
        self.unknown_button = QPushButton("Rest is unknown")
        self.unknown_button.setToolTip(
            "Only what you painted is known in this frame; the rest is not learned from."
        )
        self.background_button = QPushButton("Rest is background")
        self.background_button.setToolTip("All that is not painted in this frame is background.")
        self.copy_button = QPushButton("Copy frame before")
        self.copy_button.setToolTip(
            "Copy the labels of the nearest annotated frame before this one, to correct them."
        )
        self.over_check = QCheckBox("over painted too")
        self.unknown_button.clicked.connect(self._button(self.rest_is_unknown))
        self.background_button.clicked.connect(self._button(self.rest_is_background))
        self.copy_button.clicked.connect(
            self._button(lambda: self.copy_from_before(self.over_check.isChecked()))
        )
        form.addRow(self.preview)
        form.addRow(_row(self.unknown_button, self.background_button))
        form.addRow(_row(self.copy_button, self.over_check))

    def _frames_group(self) -> None:
        form = self._group("Frames")
        self.frames_model = FramesModel(self._book, self._lifetime)
        self.frames_table = FramesTable(self.frames_model)
        self.frames_table.frame_wanted.connect(self._session.go_to)
        self.frames_table.role_wanted.connect(self._role_wanted)
        self.next_button = QPushButton("Next frame to annotate")
        self.next_button.setToolTip(
            "Go to the frame where annotating helps most: the worst score, else the least certain "
            "prediction, else the one farthest from annotated frames."
        )
        self.next_button.clicked.connect(self._button(self.next_frame))
        self.only_check = QCheckBox("Only annotated")
        self.only_check.toggled.connect(self.frames_model.set_only_annotated)
        form.addRow(self.frames_table)
        form.addRow(_row(self.next_button, self.only_check))

    # what scripts use

    def new_annotation(self, kind: LabelKind | str = LabelKind.INSTANCES) -> Any:
        """Add labels to paint on and return the layer; see `annotation_layers.new_annotation`."""
        layer = new_annotation(self._session, kind)
        meaning = KIND_TITLES[LabelKind(kind)].split(":")[0]
        self.message.say(f"{layer.name!r} is ready: paint {meaning} with the brush.")
        return layer

    def set_kind(self, kind: LabelKind | str) -> None:
        """Say what the numbers of the present labels mean; nothing painted changes.

        Raises
        ------
        ValueError
            If there is no annotation, or no such kind.
        """
        kind = LabelKind(kind)
        before = self._book.kind
        self._book.set_kind(kind)
        if kind is before:
            return
        layer = self._book.layer
        options = annotation_options(kind, self._book.legend)
        layer.features = options.get("features", {})
        layer.colormap = options["colormap"]
        self._book.kind_changed.emit(kind)
        self.message.say(f"Nothing painted has changed. {_consequence(before, kind)}")

    def use_unknown_brush(self, on: bool = True) -> None:
        """Paint what nobody can tell; raises `ValueError` where there is nothing to paint on."""
        self.tools.use_unknown_brush(on)

    def new_cell(self) -> int:
        """Choose a number for a new cell, and return it."""
        return self.tools.new_cell()

    def rest_is_unknown(self) -> int:
        """Make the background of the shown frame unknown, and return how many pixels; one undo step.

        Raises
        ------
        ValueError
            If nothing is painted in the frame, or the labels are scribbles.
        """
        return self._edit(rest_is_unknown, "are unknown now")

    def rest_is_background(self) -> int:
        """Make all that is not painted in the shown frame background; one undo step."""
        return self._edit(rest_is_background, "are background now")

    def copy_from_before(self, overwrite: bool = False) -> int:
        """Copy the nearest annotated frame before the shown one into it; one undo step.

        Parameters
        ----------
        overwrite
            Also over what is painted.

        Returns
        -------
        int
            Cells, or for classes and scribbles pixels, that were copied.

        Raises
        ------
        ValueError
            If no frame before this one is annotated.
        """
        layer, index = self._shown_plane()
        position = index[0] if index else 0
        before = [p for p in self._book.annotated if p < position]
        if not before:
            raise ValueError("No frame before this one is annotated, so there is nothing to copy.")
        source = before[-1]
        new, count = copy_labels(
            read_plane(layer, index),
            read_plane(layer, (source, *index[1:])),
            self._book.kind,
            overwrite=overwrite,
        )
        replace_plane(layer, index, new)
        what = "cells" if self._book.kind is LabelKind.INSTANCES else "pixels"
        name = f"t{self._book.numbers[source]:03d}"
        self.message.say(
            f"{count} {what} copied from {name}; Ctrl+Z takes it back."
            if count
            else f"Nothing copied from {name}: all of it is painted over here already."
        )
        return count

    def next_frame(self) -> int:
        """Show the frame where annotating helps most, say why, and return its position."""
        count = len(self._book)
        if not count:
            raise ValueError("There is no image to annotate; open one first.")
        facts = [self._book.facts(p) for p in range(count)]
        position, why = choose_next(
            count,
            self._book.annotated,
            self._position(),
            scores={f.position: f.score for f in facts if f.score is not None},
            uncertainty={f.position: f.uncertainty for f in facts if f.uncertainty is not None},
        )
        self._session.go_to(position)
        self.message.say(f"t{facts[position].number:03d}: {why}.")
        return position

    def set_role(self, number: int, role: str) -> None:
        """Say what a frame is used for, by its frame number.

        Raises
        ------
        ValueError
            If there is no such frame, or no such role.
        """
        numbers = self._book.numbers
        if number not in numbers:
            raise ValueError(
                f"There is no frame {number}; frames run from {numbers[0]} to {numbers[-1]}."
                if numbers
                else "There is no image; open one first."
            )
        self._book.set_role(numbers.index(number), role)

    # what the buttons do

    def _button(self, call: Callable[[], Any]) -> Callable[..., None]:
        """Return a slot that says problems in the message line."""

        def slot(*_: Any) -> None:
            try:
                call()
            except (ValueError, OSError) as error:
                self.show_error(error)

        return slot

    def _new_clicked(self) -> None:
        self.new_annotation(self.kind_combo.currentData())

    def _kind_chosen(self, index: int) -> None:
        if self._book.layer is not None:
            self._button(lambda: self.set_kind(self.kind_combo.itemData(index)))()
        self._show_layer()

    def _role_wanted(self, positions: list[int], role: str) -> None:
        self._button(lambda: self._book.set_roles(dict.fromkeys(positions, role)))()

    def _edit(self, change: Callable[..., Any], said: str) -> int:
        layer, index = self._shown_plane()
        count = replace_plane(layer, index, change(read_plane(layer, index), self._book.kind))
        share = 100 * count / max(1, pixels(layer).shape[-1] * pixels(layer).shape[-2])
        self.message.say(f"{share:.0f} % of this frame {said}; Ctrl+Z takes it back.")
        return count

    def _shown_plane(self) -> tuple[Any, tuple[int, ...]]:
        layer = self._book.layer
        if layer is None:
            raise ValueError("There is no annotation yet; press New annotation.")
        if self._viewer.dims.ndisplay == 3:
            raise ValueError("The viewer shows 3-D; switch to 2-D (Ctrl+Y) to work on a frame.")
        return layer, current_index(self._viewer, layer)

    # what is shown

    def _position(self) -> int:
        layer = self._session.image if self._book.layer is None else self._book.layer
        index = () if layer is None else current_index(self._viewer, layer)
        return index[0] if index else 0

    def _show_frame(self, _event: Any = None) -> None:
        self.frames_table.show_position(self._position())

    def _show_layer(self, _event: Any = None) -> None:
        layer = self._book.layer
        if layer is not None:
            self.kind_combo.setCurrentIndex(list(KIND_TITLES).index(self._book.kind))
        kind = self.kind_combo.currentData()
        self.kind_line.setText(describe_kind(kind))
        if (layer is not None) != (self.new_button.menu() is not None):
            self.new_button.setMenu(None if layer is None else self._new_menu())
        scribbles = kind is LabelKind.SCRIBBLES
        for button in (self.background_button, self.copy_button, self.unknown_button):
            button.setEnabled(layer is not None)
        self.unknown_button.setVisible(not scribbles)

    def _new_menu(self) -> QMenu:
        """With labels there, the kind in the form is theirs; a new layer asks for its own."""
        menu = QMenu(self.new_button)
        for kind, title in KIND_TITLES.items():
            menu.addAction(title.capitalize(), self._button(partial(self.new_annotation, kind)))
        return menu

    def _show_saved(self, _event: Any = None) -> None:
        saving = self._session.saving
        self.saved_line.setText(saving.text)
        self.saved_line.setVisible(bool(saving.text))
        colour = "#ff6b5e" if saving.failed else "#9aa4b1"
        self.saved_line.setStyleSheet(f"font-size: 8pt; color: {colour};")


def _row(*widgets: Any) -> QHBoxLayout:
    row = QHBoxLayout()
    row.setSpacing(4)
    for widget in widgets:
        widget.setFocusPolicy(Qt.FocusPolicy.NoFocus)  # the keys stay with the brush
        row.addWidget(widget)
    return row


def _consequence(before: LabelKind, now: LabelKind) -> str:
    """Say what another kind means for what is painted already."""
    if now is LabelKind.SCRIBBLES:
        return "Now 1 is background, 2 and up are classes, and what is not painted is unknown."
    if before is LabelKind.SCRIBBLES:
        return "Now what is not painted is background, and 1 is a cell or class as well."
    if now is LabelKind.CLASSES:
        return "Now each number is a class: all that is painted 1 is the same class."
    return "Now each number is one cell: pixels of one number are the same cell."
