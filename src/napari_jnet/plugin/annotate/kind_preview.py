"""What the labels of the shown frame mean: in words, in colours beside them, and on the image."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from qtpy.QtCore import Qt, QTimer
from qtpy.QtWidgets import QCheckBox, QHBoxLayout, QLabel, QVBoxLayout, QWidget

from napari_jnet.data.stack import LabelKind, known_labels
from napari_jnet.plugin.annotate.frames_model import class_shares, percent
from napari_jnet.plugin.annotate.layers import UNKNOWN_COLOUR
from napari_jnet.plugin.forms import small_label
from napari_jnet.plugin.layers import current_index, plane
from napari_jnet.plugin.legend import legend_options
from napari_jnet.plugin.predict.result_layers import plane_placement
from napari_jnet.plugin.session import METADATA_KEY, Lifetime, Session, same

__all__ = ["KIND_TITLES", "KindPreview", "describe_frame", "what_counts"]

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


def describe_frame(book: Any, facts: Any) -> str:
    """Say in a line what is learned from a frame: "t005: 12 cells, 78 % background, 0 % unknown"."""
    name = book.frame_name(facts.number)
    things = "cells" if book.kind is LabelKind.INSTANCES else "objects"
    if not facts.counted:
        return f"{name}: counting…"
    if not facts.annotated:
        return f"{name}: nothing is painted, so it is not learned from."
    if facts.empty:
        return f"{name}: marked as without {things}, all background; it is learned from."
    unknown = f"{percent(facts.unknown, facts.size)} unknown"
    if book.kind is LabelKind.INSTANCES:
        background = percent(facts.pixels[0] if facts.pixels else 0, facts.size)
        cells = "1 cell" if facts.objects == 1 else f"{facts.objects} cells"
        covered = percent(sum(facts.pixels[1:]), facts.size)
        return f"{name}: {cells} ({covered}), {background} background, {unknown}."
    shares = [f"{percent(count, facts.size)} {name}" for name, count in class_shares(book, facts)]
    return f"{name}: {', '.join([*shares, unknown])}."


class KindPreview(QWidget):
    """A legend of three colours, a sentence about the shown frame, and a switch for the overlay.

    Parameters
    ----------
    session
        Of the viewer; its book is read.
    lifetime
        Ends the listening.
    """

    def __init__(self, session: Session, lifetime: Lifetime) -> None:
        super().__init__()
        self._session, self._book = session, session.book
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
        lifetime.connect(self._book.changed, self._later)
        lifetime.connect(self._book.kind_changed, self._later)
        lifetime.connect(session.viewer.dims.events.current_step, self._later)
        lifetime.connect(session.viewer.layers.events.removed, self._removed)
        lifetime.at_end(self._timer.stop)
        lifetime.at_end(self.remove)
        self.renew()

    @property
    def layer(self) -> Any | None:
        """The overlay layer, or None where it is switched off."""
        return self._layer

    def renew(self) -> None:
        """Describe the shown frame, and colour it where the overlay is on."""
        layer, viewer = self._book.layer, self._session.viewer
        if layer is None or viewer is None:
            self.line.setText("")
            self.switch.setChecked(False)
            return
        if self._faint is not None and not same(self._faint[0], layer):
            self.remove()  # another annotation, perhaps of another size
            self._add()
        index = current_index(viewer, layer)
        position = index[0] if index else 0
        if position >= len(self._book):
            return
        facts = self._book.facts(position)
        cells = self._book.kind is LabelKind.INSTANCES
        self.patches["cell"].setText(_patch(_COLOURS["cell"], "cell" if cells else "a class"))
        self.line.setText(describe_frame(self._book, facts))
        if self._layer is not None:
            labels = plane(layer)(index)
            partial = self._book.is_partial(position)
            self._layer.data = what_counts(
                labels, self._book.kind, partial=partial, empty=facts.empty
            )
            lies = plane_placement(layer, index)["affine"]
            if not np.allclose(lies, self._layer.affine.affine_matrix):
                self._layer.affine = lies

    def remove(self) -> None:
        """Take the overlay away."""
        layer, self._layer = self._layer, None
        viewer = self._session.viewer
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
        if on and self._layer is None and self._book.layer is not None:
            self._add()
        elif not on:
            self.remove()
        self.renew()

    def _add(self) -> None:
        viewer, painted = self._session.viewer, self._book.layer
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
        if self._layer is not None and same(event.value, self._layer):
            self._layer = None
            self._brighten()
            self.switch.setChecked(False)


def _patch(colour: str, name: str) -> str:
    return f"<span style='color:{colour}'>■</span> {name}"
