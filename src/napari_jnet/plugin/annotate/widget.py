"""The dock widget to annotate: labels to paint on, tools, what they mean, and which frame is next."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from qtpy.QtWidgets import QComboBox, QHBoxLayout, QMenu, QPushButton

from napari_jnet.data.stack import LabelKind
from napari_jnet.plugin.annotate.class_table import ClassTable
from napari_jnet.plugin.annotate.frame_part import FramePart
from napari_jnet.plugin.annotate.frames_part import FramesPart
from napari_jnet.plugin.annotate.kind_preview import KIND_TITLES
from napari_jnet.plugin.annotate.layers import annotation_options, new_annotation
from napari_jnet.plugin.annotate.part import AnnotatePart
from napari_jnet.plugin.annotate.tools import PaintTools
from napari_jnet.plugin.correct.bar import CorrectionBar
from napari_jnet.plugin.forms import small_label
from napari_jnet.plugin.job_widget import JobWidget
from napari_jnet.plugin.keeping.remedy_button import RemedyButton
from napari_jnet.plugin.keys import bind_keys, key_table, with_key
from napari_jnet.plugin.layer_combos import LayerCombo
from napari_jnet.plugin.layers import describe_kind
from napari_jnet.plugin.theme import set_style

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
        self._embedded = False
        self._labels_group()
        self.tools = PaintTools(self._session, self._lifetime)
        self.classes = ClassTable(self._session, self._lifetime)
        self.frame = FramePart(self._session, self._lifetime)
        self.frames = FramesPart(self._session, self._lifetime)
        self._painting = self._box("Paint", self.tools, self.classes)
        self.corrections = CorrectionBar(self._session, with_message=False)
        self.corrections.said.connect(self._correction_said)
        self._correcting = self._group("Correct a cell")
        self._correcting.addRow(self.corrections)
        self._this_frame = self._box("This frame", self.frame)
        self._box("Frames", self.frames)
        self.saved_line = small_label()
        outer = self.layout()
        assert outer is not None
        outer.addWidget(self.message)  # below what scrolls, so that it is always seen
        outer.addWidget(self.saved_line)
        self._remedy = RemedyButton(self._session, self._lifetime)
        outer.addWidget(self._remedy)
        for emitter, slot in (
            (self._book.changed, self._show_layer),
            (self._book.kind_changed, self._show_layer),
            (self._session.saving_changed, self._show_saved),
        ):
            self._lifetime.connect(emitter, slot)
        self._bind_keys()
        self._show_layer()
        self._show_saved()

    def _labels_group(self) -> None:
        form = self._group("Labels")
        self.labels_combo = LayerCombo(self._session, "annotation", self._lifetime)
        self.labels_combo.setMinimumContentsLength(7)  # a button shares its row
        self.labels_combo.setToolTip("The labels that are painted on and learned from.")
        self.kind_combo = QComboBox()
        for kind, title in KIND_TITLES.items():
            self.kind_combo.addItem(title, kind)
        self.kind_combo.setToolTip("What the numbers of the labels mean; nothing painted changes.")
        self.kind_combo.activated.connect(self._kind_chosen)
        self.kind_line = small_label()
        self.new_button = QPushButton("New annotation")
        self.new_button.setToolTip("Empty labels as large as the image, ready to paint on.")
        self.new_button.clicked.connect(self._new_clicked)
        form.addRow("Meaning", self.kind_combo)
        form.addRow(self.kind_line)
        row = QHBoxLayout()
        row.setSpacing(4)
        row.addWidget(self.labels_combo, 1)
        row.addWidget(self.new_button, 1)
        form.addRow("Paint on", row)

    def _box(self, title: str, *parts: AnnotatePart) -> Any:
        form = self._group(title)
        for part in parts:
            form.addRow(part)
            part.said.connect(self.message.say)
            part.failed.connect(self.show_error)
        return form.parentWidget()

    def _bind_keys(self) -> None:
        self._keyed = {
            "next_frame": (self.frames.next_button, self._key_next),
            "unknown_brush": (self.tools.unknown_button, self._key_unknown),
            "rest_unknown": (self.frame.unknown_button, self._key_rest),
            "copy_before": (self.frame.copy_button, self._key_copy),
        }
        self._tips = {name: button.toolTip() for name, (button, _) in self._keyed.items()}
        actions = {name: action for name, (_, action) in self._keyed.items()}
        bind_keys(self._session, actions, self._lifetime)
        self._lifetime.connect(key_table().changed, self._show_keys)
        self._show_keys()

    # what scripts use

    def embed(self) -> None:
        """Leave the line about saving to the workbench."""
        self._embedded = True
        self._remedy.setParent(None)
        self._show_saved()

    def new_annotation(self, kind: LabelKind | str = LabelKind.INSTANCES) -> Any:
        """Add labels to paint on and return the layer; see `annotation_layers.new_annotation`."""
        layer = new_annotation(self._session, kind)
        meaning = KIND_TITLES[LabelKind(kind)].split(":")[0]
        said = f"{layer.name!r} is ready: paint {meaning} with the brush."
        self.message.say(said)

        def painted(_event: Any) -> None:
            if self.message.text == said:
                self.message.say("")

        self._lifetime.connect(layer.events.paint, painted)
        return layer

    def set_kind(self, kind: LabelKind | str) -> None:
        """Say what the numbers of the present labels mean; nothing painted changes.

        Raises
        ------
        ValueError
            If there is no annotation, or no such kind.
        """
        kind, before = LabelKind(kind), self._book.kind
        layer = self._book.layer
        legend = self._book.legend if before is kind else ()
        self._book.set_kind(kind)
        if kind is before:
            return
        options = annotation_options(kind, legend)
        layer.features = options.get("features", {})
        layer.colormap = options["colormap"]
        self._book.kind_changed.emit(kind)
        self.message.say(f"Nothing painted has changed. {_consequence(before, kind)}")

    def use_unknown_brush(self, on: bool = True) -> None:
        """Paint what nobody can tell; raises `ValueError` where there is nothing to paint on."""
        self.tools.use_unknown_brush(on)

    def new_cell(self) -> int:
        """Choose a number for a new cell, and return it; raises `ValueError`."""
        return self.tools.new_cell()

    def rest_is_unknown(self) -> int:
        """Make the background of the shown frame unknown; see `FramePart.rest_is_unknown`."""
        return self.frame.rest_is_unknown()

    def rest_is_background(self) -> int:
        """Make all that is not painted in the shown frame background."""
        return self.frame.rest_is_background()

    def copy_from_before(self, overwrite: bool = False) -> int:
        """Copy the nearest annotated frame before the shown one; see `FramePart`."""
        return self.frame.copy_from_before(overwrite)

    def next_frame(self) -> int:
        """Show the frame where annotating helps most, and return its position."""
        return self.frames.next_frame()

    def set_role(self, number: int, role: str) -> None:
        """Say what a frame is used for, by its frame number; raises `ValueError`."""
        self.frames.set_role(number, role)

    # what the buttons do

    @property
    def _chosen_kind(self) -> LabelKind:
        if self.kind_combo.currentIndex() < 0:
            self.kind_combo.setCurrentIndex(0)
        return LabelKind(self.kind_combo.currentData())

    def _attempt(self, call: Any) -> None:
        try:
            call()
        except (ValueError, OSError) as error:
            self.show_error(error)

    def _new_clicked(self) -> None:
        self._attempt(partial(self.new_annotation, self._chosen_kind))

    def _kind_chosen(self, index: int) -> None:
        if self._book.layer is not None:
            self._attempt(partial(self.set_kind, self.kind_combo.itemData(index)))
        self._show_layer()

    def _key_next(self) -> None:
        self._attempt(self.next_frame)

    def _key_unknown(self) -> None:
        """Take the unknown brush, or the cell or class of before again, as the button does."""
        self._attempt(partial(self.use_unknown_brush, not self.tools.unknown_button.isChecked()))

    def _key_rest(self) -> None:
        self._attempt(self.rest_is_unknown)

    def _key_copy(self) -> None:
        self._attempt(partial(self.copy_from_before, self.frame.over_check.isChecked()))

    def _correction_said(self, text: str, failed: bool) -> None:
        (self.message.fail if failed else self.message.say)(text)

    def _new_menu(self) -> QMenu:
        """Ask for a kind: where labels are there, the kind in the form is theirs."""
        menu = QMenu(self.new_button)
        for kind, title in KIND_TITLES.items():
            new = partial(self.new_annotation, kind)
            menu.addAction(title.capitalize(), partial(self._attempt, new))
        return menu

    # what is shown

    def _show_layer(self, _event: Any = None) -> None:
        there = self._book.layer is not None
        if there:
            self.kind_combo.setCurrentIndex(list(KIND_TITLES).index(self._book.kind))
        self.kind_line.setText(describe_kind(self._chosen_kind))
        if there != (self.new_button.menu() is not None):
            self.new_button.setMenu(self._new_menu() if there else None)
        for box in (self._painting, self._this_frame):
            box.setVisible(there)
        self.labels_combo.setVisible(there)
        cells = there and self._book.kind is LabelKind.INSTANCES
        box = self._correcting.parentWidget()
        assert box is not None
        box.setVisible(cells)

    def _show_keys(self) -> None:
        for name, (button, _) in self._keyed.items():
            button.setToolTip(with_key(name, self._tips[name]))

    def _show_saved(self, _event: Any = None) -> None:
        saving = self._session.saving
        self.saved_line.setText(saving.text)
        self.saved_line.setVisible(bool(saving.text) and not self._embedded)
        role = "@error" if saving.failed else "@muted"
        set_style(self.saved_line, f"font-size: 8pt; color: {role};")


def _consequence(before: LabelKind, now: LabelKind) -> str:
    """Say what another kind means for what is painted already."""
    if now is LabelKind.SCRIBBLES:
        return "Now 1 is background, 2 and up are classes, and what is not painted is unknown."
    if before is LabelKind.SCRIBBLES:
        return "Now what is not painted is background, and 1 is a cell or class as well."
    if now is LabelKind.CLASSES:
        return "Now each number is a class: all that is painted 1 is the same class."
    return "Now each number is one cell: pixels of one number are the same cell."
