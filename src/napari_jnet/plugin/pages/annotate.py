"""The dock widget to annotate: labels to paint on, tools, what they mean, and which frame is next."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from qtpy.QtCore import Qt, QTimer
from qtpy.QtWidgets import (
    QCheckBox,
    QComboBox,
    QHBoxLayout,
    QLabel,
    QMenu,
    QPushButton,
    QVBoxLayout,
    QWidget,
)

from napari_jnet.labels import LabelKind, known_labels
from napari_jnet.plugin.layers.add import (
    UNKNOWN_COLOUR,
    annotation_options,
    plane_placement,
)
from napari_jnet.plugin.layers.edit import (
    copy_labels,
    number_pieces_apart,
    read_plane,
    replace_plane,
    rest_is_background,
    rest_is_unknown,
)
from napari_jnet.plugin.layers.read import (
    METADATA_KEY,
    current_index,
    describe_kind,
    legend_options,
    plane,
)
from napari_jnet.plugin.pages.brush import PaintTools
from napari_jnet.plugin.pages.classes import ClassTable
from napari_jnet.plugin.pages.correct import CorrectionBar
from napari_jnet.plugin.pages.frames import FramesPart, class_shares, percent
from napari_jnet.plugin.pages.section import AnnotatePart, row_of
from napari_jnet.plugin.ui.page import JobWidget
from napari_jnet.plugin.ui.theme import set_style
from napari_jnet.plugin.ui.widgets import LayerCombo, RemedyButton, small_label
from napari_jnet.plugin.workspace import Lifetime, Workspace

if TYPE_CHECKING:
    import napari


KIND_TITLES = {
    LabelKind.INSTANCES: "cells: each cell its own number",
    LabelKind.CLASSES: "classes: each pixel a class",
    LabelKind.SCRIBBLES: "scribbles: a few strokes a class",
}


_COLOURS = {"cell": "#3ddc84", "background": "#4d7cff", "unknown": UNKNOWN_COLOUR}


_FAINT = 0.15  # opacity of the painted labels under the overlay: a stroke is still seen


_DELAY = 60  # ms that the picture may be behind the brush


def what_counts(
    labels: NDArray[Any], kind: LabelKind, *, partial: bool = False, empty: bool = False
) -> NDArray[Any]:
    """Say of each pixel as what it is learned.

    Parameters
    ----------
    labels
        (H, W), as painted.
    kind
        What they mean.
    partial
        For instances: 0 is unknown.
    empty
        Whether somebody says that nothing is in the frame.

    Returns
    -------
    ndarray of uint8
        (H, W): 1 = cell (any class but background), 2 = background, 3 = unknown; all unknown
        where nothing is painted, since such frames are not used.
    """
    if not (empty or labels.any()):
        return np.full(labels.shape, 3, np.uint8)
    known = known_labels(labels, kind, partial=partial)
    return np.select([known > 0, known == 0], [1, 2], default=3).astype(np.uint8)


def describe_frame(frames: Any, facts: Any) -> str:
    """Say in a line what is learned from a frame: "t005: 12 cells, 78 % background, 0 % unknown"."""
    name = frames.frame_name(facts.number)
    things = "cells" if frames.kind is LabelKind.INSTANCES else "objects"
    if not facts.counted:
        return f"{name}: counting…"
    if not facts.annotated:
        return f"{name}: nothing is painted, so it is not learned from."
    if facts.empty:
        return f"{name}: marked as without {things}, all background; it is learned from."
    unknown = f"{percent(facts.unknown, facts.size)} unknown"
    if frames.kind is LabelKind.INSTANCES:
        background = percent(facts.pixels[0] if facts.pixels else 0, facts.size)
        cells = "1 cell" if facts.objects == 1 else f"{facts.objects} cells"
        covered = percent(sum(facts.pixels[1:]), facts.size)
        return f"{name}: {cells} ({covered}), {background} background, {unknown}."
    shares = [f"{percent(count, facts.size)} {name}" for name, count in class_shares(frames, facts)]
    return f"{name}: {', '.join([*shares, unknown])}."


class KindPreview(QWidget):
    """A legend of three colours, a sentence about the shown frame, and a switch for the overlay.

    Parameters
    ----------
    workspace
        Of the viewer; its frame table is read.
    lifetime
        Ends the listening.
    """

    def __init__(self, workspace: Workspace, lifetime: Lifetime) -> None:
        super().__init__()
        self._workspace, self._frames = workspace, workspace.frames
        self._layer: Any | None = None
        self._faint: tuple[Any, float] | None = None  # the layer that is dimmed, as it was
        self.switch = QCheckBox("on image")
        self.switch.setToolTip(
            "Colour each pixel by what the network is told of it: cell (or a class), "
            "background, or unknown (not learned from)."
        )
        self.switch.toggled.connect(self._switched)
        self.line = small_label()
        self.patches: dict[str, QLabel] = {}
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(3)
        column.addWidget(self.line)
        column.addLayout(self._legend())
        self._timer = QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.setInterval(_DELAY)
        self._timer.timeout.connect(self.renew)
        lifetime.connect(self._frames.changed, self._later)
        lifetime.connect(self._frames.kind_changed, self._later)
        lifetime.connect(workspace.viewer.dims.events.current_step, self._later)
        lifetime.connect(workspace.viewer.layers.events.removed, self._removed)
        lifetime.at_end(self._timer.stop)
        lifetime.at_end(self.remove)
        self.renew()

    @property
    def layer(self) -> Any | None:
        """The overlay layer, or None where it is switched off."""
        return self._layer

    def renew(self) -> None:
        """Describe the shown frame, and colour it where the overlay is on."""
        layer, viewer = self._frames.layer, self._workspace.viewer
        if layer is None or viewer is None:
            self.line.setText("")
            self.switch.setChecked(False)
            return
        if self._faint is not None and self._faint[0] is not layer:
            self.remove()  # another annotation, perhaps of another size
            self._add()
        index = current_index(viewer, layer)
        position = index[0] if index else 0
        if position >= len(self._frames):
            return
        facts = self._frames.info(position)
        cells = self._frames.kind is LabelKind.INSTANCES
        self.patches["cell"].setText(_patch(_COLOURS["cell"], "cell" if cells else "a class"))
        self.line.setText(describe_frame(self._frames, facts))
        if self._layer is not None:
            labels = plane(layer)(index)
            partial = self._frames.is_partial(position)
            self._layer.data = what_counts(
                labels, self._frames.kind, partial=partial, empty=facts.empty
            )
            lies = plane_placement(layer, index)["affine"]
            if not np.allclose(lies, self._layer.affine.affine_matrix):
                self._layer.affine = lies

    def remove(self) -> None:
        """Take the overlay away."""
        layer, self._layer = self._layer, None
        viewer = self._workspace.viewer
        if layer is not None and viewer is not None and layer in viewer.layers:
            viewer.layers.remove(layer)
        self._brighten()

    def _legend(self) -> QHBoxLayout:
        row = QHBoxLayout()
        row.setSpacing(8)
        for name, colour in _COLOURS.items():
            self.patches[name] = patch = QLabel(_patch(colour, name))
            patch.setTextFormat(Qt.TextFormat.RichText)
            row.addWidget(patch)
        row.addStretch(1)
        row.addWidget(self.switch)
        return row

    def _switched(self, on: bool) -> None:
        if on and self._layer is None and self._frames.layer is not None:
            self._add()
        elif not on:
            self.remove()
        self.renew()

    def _add(self) -> None:
        viewer, painted = self._workspace.viewer, self._frames.layer
        active = viewer.layers.selection.active
        index = current_index(viewer, painted)
        lies = plane_placement(painted, index)
        colours = (("", "#000000"), *_COLOURS.items())
        self._layer = viewer.add_labels(
            np.zeros(plane(painted)(index).shape, np.uint8),
            name="what counts",
            opacity=0.5,
            metadata={METADATA_KEY: {"result": "what counts"}},
            **lies,
            **legend_options(colours),
        )
        self._faint = (painted, painted.opacity)
        painted.opacity = min(painted.opacity, _FAINT)
        if active is not None:
            viewer.layers.selection.active = active

    def _brighten(self) -> None:
        faint, self._faint = self._faint, None
        if faint is not None:
            faint[0].opacity = faint[1]

    def _later(self, _event: Any = None) -> None:
        if not self._timer.isActive():
            self._timer.start()

    def _removed(self, event: Any) -> None:
        if self._layer is not None and event.value is self._layer:
            self._layer = None
            self._brighten()
            self.switch.setChecked(False)


def _patch(colour: str, name: str) -> str:
    return f"<span style='color:{colour}'>■</span> {name}"


class FramePart(AnnotatePart):
    """Says what is learned from the shown frame; its buttons are one undo step each.

    Parameters
    ----------
    workspace
        Of the viewer.
    lifetime
        Ends the listening.
    """

    def __init__(self, workspace: Workspace, lifetime: Lifetime) -> None:
        super().__init__(workspace, lifetime)
        self.preview = KindPreview(workspace, lifetime)
        self.unknown_button = QPushButton("Mark unpainted as unknown")
        self.background_button = QPushButton("Mark unpainted as background")
        self.background_button.setToolTip(
            "All that is not painted in this frame is background; where nothing is painted, there are "
            "no cells in it."
        )
        self.copy_button = QPushButton("Copy previous frame")
        self.over_check = QCheckBox("over painted too")
        self.over_check.setToolTip("Off: what is painted in this frame stays as it is.")
        self.unknown_button.clicked.connect(lambda: self.attempt(self.rest_is_unknown))
        self.background_button.clicked.connect(lambda: self.attempt(self.rest_is_background))
        self.copy_button.clicked.connect(lambda: self.attempt(self._copy_clicked))
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(4)
        self.pieces_line = small_label()
        self.apart_button = QPushButton("Number them apart")
        self.apart_button.setToolTip(
            "Each separate piece becomes a cell of its own; the largest keeps the number."
        )
        self.apart_button.clicked.connect(lambda: self.attempt(self.number_apart))
        column.addWidget(self.preview)
        column.addWidget(self.pieces_line)
        column.addLayout(row_of(self.apart_button))
        column.addLayout(row_of(self.unknown_button))  # each alone: together they widen the dock
        column.addLayout(row_of(self.background_button))
        column.addLayout(row_of(self.copy_button, self.over_check))
        lifetime.connect(workspace.viewer.dims.events.current_step, self._show_pieces)
        lifetime.connect(self._frames.kind_changed, self._show_kind)
        lifetime.connect(self._frames.changed, self._show_kind)
        self._show_kind()

    def rest_is_unknown(self) -> int:
        """Make the background unknown, and return how many pixels changed; raises `ValueError`.

        Where the frame is marked as without cells, this is taken back.
        """
        position = self.position()
        if self._frames.layer is not None and self._frames.info(position).empty:
            self._frames.say_empty(position, False)
            self.said.emit(
                f"{self._named(position)} is not marked any more, so it is not learned from."
            )
            return 0
        count = self._edit(rest_is_unknown, "unknown")
        self._frames.say_empty(position, False)  # should all that is painted be erased again
        return count

    def rest_is_background(self) -> int:
        """Make all that is not painted background, and return how many pixels changed.

        A frame in which nothing is painted is marked as without cells: it is learned from, saved and
        scored.

        Raises
        ------
        ValueError
            If there is no annotation, or it cannot be said of this frame.
        """
        layer, index = self.shown_plane()
        position = self.position()
        frame = np.asarray(self._frames.frame(position))
        if (frame > 0).any() or self._frames.kind is LabelKind.SCRIBBLES:
            cells = self._frames.kind is not LabelKind.SCRIBBLES
            if cells and not (read_plane(layer, index) > 0).any():
                raise ValueError(
                    f"Nothing is painted in this section of {self._named(position)}, but in others; paint a "
                    "stroke of Unknown, and the rest of the section is background."
                )
            return self._edit(rest_is_background, "background")
        if self._frames.info(position).empty:
            self.said.emit(
                f"{self._named(position)} is marked as without cells already; Mark unpainted as unknown "
                "takes it back."
            )
            return 0
        self._frames.say_empty(position)
        count = replace_plane(layer, index[:1], np.zeros_like(frame)) if frame.any() else 0
        whole = ", in all its sections" if frame.ndim > 2 else ""
        self.said.emit(
            f"{self._named(position)} has no cells{whole}: all of it is background. Mark unpainted as "
            "unknown takes it back."
        )
        return count

    def copy_from_before(self, overwrite: bool = False) -> int:
        """Copy the nearest annotated frame before the shown one; see `copy_labels`.

        Returns
        -------
        int
            Cells, or for classes and scribbles pixels, that were copied.

        Raises
        ------
        ValueError
            If no frame before this one is annotated.
        """
        layer, index = self.shown_plane()
        frames = self._frames
        before = [
            p for p in frames.annotated if index and p < index[0] and not frames.info(p).empty
        ]
        if not before:
            raise ValueError("No frame before this one is painted, so there is nothing to copy.")
        source = before[-1]
        there = read_plane(layer, (source, *index[1:]))
        new, count = copy_labels(
            read_plane(layer, index), there, self._frames.kind, overwrite=overwrite
        )
        replace_plane(layer, index, new)
        cells = self._frames.kind is LabelKind.INSTANCES
        what = "pixels" if not cells else "cell" if count == 1 else "cells"
        name = self._named(source)
        self.said.emit(
            f"{count} {what} copied from {name}; Ctrl+Z takes it back."
            if count
            else f"Nothing copied: all that {name} has is painted over here."
        )
        return count

    def number_apart(self) -> int:
        """Give each piece of the cells of the shown frame its own number, and return how many are new.

        Raises
        ------
        ValueError
            If there is no annotation, or it cannot be painted on.
        """
        if self._frames.layer is None:
            raise ValueError("There is no annotation yet; press New annotation.")
        count = number_pieces_apart(self._frames, self.position())
        cells = "1 new cell" if count == 1 else f"{count} new cells"
        self.said.emit(f"{cells}; Ctrl+Z takes it back." if count else "No cell is in pieces here.")
        return count

    def _named(self, position: int) -> str:
        return str(self._frames.frame_name(self._frames.numbers[position]))

    def _copy_clicked(self) -> None:
        self.copy_from_before(self.over_check.isChecked())

    def _edit(self, change: Callable[..., Any], name: str) -> int:
        layer, index = self.shown_plane()
        before = read_plane(layer, index)
        count = replace_plane(layer, index, change(before, self._frames.kind))
        share = f"{100 * count / before.size:.0f} % of this frame is now {name}"
        self.said.emit(
            f"{share}; Ctrl+Z takes it back.{self._background_words(layer, index)}"
            if count
            else f"All the rest is {name} already."
        )
        return count

    def _background_words(self, layer: Any, index: tuple[int, ...]) -> str:
        """Say that there is nothing to tell cells from, where no pixel of the plane is background."""
        if self._frames.kind is not LabelKind.INSTANCES or (read_plane(layer, index) == 0).any():
            return ""
        return (
            " Now paint a few strokes of Background, so that there is something to tell cells from."
        )

    def _show_pieces(self, _event: Any = None) -> None:
        position = self.position()
        shown = self._frames.layer is not None and position < len(self._frames)
        found = self._frames.info(position).in_pieces if shown else ()
        words = ""
        if found:
            (cell, count), *more = found
            others = f", {len(more)} more cells in several" if len(more) > 1 else ""
            others = ", another cell in several" if len(more) == 1 else others
            words = f"Cell {cell} is in {count} pieces{others}."
        self.pieces_line.setText(words)
        self.pieces_line.setVisible(bool(found))
        self.apart_button.setVisible(bool(found))

    def _show_kind(self, _event: Any = None) -> None:
        self._show_pieces()
        self.unknown_button.setVisible(self._frames.kind is not LabelKind.SCRIBBLES)
        for part in (self.copy_button, self.over_check):
            part.setVisible(len(self._frames) != 1)  # a single image has no frame before


class AnnotateWidget(JobWidget):
    """Makes labels to paint on, and shows what is painted, frame by frame.

    Parameters
    ----------
    napari_viewer
        The viewer whose image is annotated.
    """

    def __init__(self, napari_viewer: napari.viewer.Viewer) -> None:
        super().__init__(napari_viewer)
        self._frames = self._workspace.frames
        self._embedded = False
        self._labels_group()
        self.tools = PaintTools(self._workspace, self._lifetime)
        self.classes = ClassTable(self._workspace, self._lifetime)
        self.frame = FramePart(self._workspace, self._lifetime)
        self.frames = FramesPart(self._workspace, self._lifetime)
        self._painting = self._box("Paint", self.tools, self.classes)
        self.corrections = CorrectionBar(self._workspace, with_message=False)
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
        self._remedy = RemedyButton(self._workspace, self._lifetime)
        outer.addWidget(self._remedy)
        for emitter, slot in (
            (self._frames.changed, self._show_layer),
            (self._frames.kind_changed, self._show_layer),
            (self._workspace.saving_changed, self._show_saved),
        ):
            self._lifetime.connect(emitter, slot)
        self._bind_keys()
        self._show_layer()
        self._show_saved()

    def _labels_group(self) -> None:
        form = self._group("Labels")
        self.labels_combo = LayerCombo(self._workspace, "annotation", self._lifetime)
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
        commands = self._workspace.commands
        actions = {name: action for name, (_, action) in self._keyed.items()}
        self._lifetime.at_end(commands.attach(actions))
        self._lifetime.connect(commands.changed, self._show_keys)
        self._show_keys()

    # what scripts use

    def embed(self) -> None:
        """Leave the line about saving to the workbench."""
        self._embedded = True
        self._remedy.setParent(None)
        self._show_saved()

    def new_annotation(self, kind: LabelKind | str = LabelKind.INSTANCES) -> Any:
        """Add labels to paint on and return the layer; see `annotation_layers.new_annotation`."""
        layer = self._workspace.new_annotation(kind)
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
        kind, before = LabelKind(kind), self._frames.kind
        layer = self._frames.layer
        legend = self._frames.legend if before is kind else ()
        self._frames.set_kind(kind)
        if kind is before:
            return
        options = annotation_options(kind, legend)
        layer.features = options.get("features", {})
        layer.colormap = options["colormap"]
        self._frames.kind_changed.emit(kind)
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
        if self._frames.layer is not None:
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
        there = self._frames.layer is not None
        if there:
            self.kind_combo.setCurrentIndex(list(KIND_TITLES).index(self._frames.kind))
        self.kind_line.setText(describe_kind(self._chosen_kind))
        if there != (self.new_button.menu() is not None):
            self.new_button.setMenu(self._new_menu() if there else None)
        for box in (self._painting, self._this_frame):
            box.setVisible(there)
        self.labels_combo.setVisible(there)
        cells = there and self._frames.kind is LabelKind.INSTANCES
        box = self._correcting.parentWidget()
        assert box is not None
        box.setVisible(cells)

    def _show_keys(self) -> None:
        for name, (button, _) in self._keyed.items():
            button.setToolTip(self._workspace.commands.tooltip(name))

    def _show_saved(self, _event: Any = None) -> None:
        saving = self._workspace.saving
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
