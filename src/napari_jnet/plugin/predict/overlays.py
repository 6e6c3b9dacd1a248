"""The result layers of a viewer as overlays: what each shows, in which colour, and its switch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from qtpy.QtCore import QSignalBlocker, Qt, Signal
from qtpy.QtGui import QColor, QImage, QPainter, QPixmap
from qtpy.QtWidgets import QCheckBox, QGridLayout, QLabel, QSizePolicy, QWidget

from napari_jnet.plugin.forms import small_label
from napari_jnet.plugin.legend import layer_legend
from napari_jnet.plugin.session import METADATA_KEY, Lifetime, Session, result_of, switch, switching

__all__ = ["OVERLAYS", "OverlayPanel", "Visibility"]

OVERLAYS: dict[str, str] = {
    "classes": "most probable class",
    "cells": "each cell its own colour",
    "segmentation": "where the network sees cell",
    "distance": "to the nearest boundary",
    "preview": "what training sees now",
    "errors": "missed, false, split, merged",
}
"""Kind of result -> what it shows, in the order of the legend."""

_COVERING = {"cells", "segmentation", "distance", "classes", "preview"}
"""What would lie over an annotation made of it."""

_PATCH_WIDTH, _PATCH_HEIGHT = 36, 12


class Visibility:
    """Which overlays are shown; remembered for the layers of the next prediction.

    Parameters
    ----------
    session
        Of the viewer.
    lifetime
        Of the widget that asks.
    """

    def __init__(self, session: Session, lifetime: Lifetime) -> None:
        self._session = session
        self._wanted: dict[str, bool] = {}
        self._put_away: set[str] = set()  # by `toggle`
        # position that has become annotation -> kinds that the user wants to see there all the same
        self._away: dict[int, set[str]] = {}
        self._hidden: set[str] = set()  # kinds, in the frame that is shown
        self._preview_away = False
        viewer = session.viewer
        self._watched = Lifetime()
        lifetime.at_end(self._watched.end)
        lifetime.connect(viewer.layers.events.inserted, self._inserted)
        lifetime.connect(viewer.dims.events.current_step, self._moved)
        lifetime.connect(session.book.changed, self._annotation_changed)
        lifetime.connect(session.training_changed, self._training_changed)

    def layers(self) -> dict[str, Any]:
        """Return the overlays that are there, the newest of each kind, in the order to show."""
        found = {}
        for layer in self._session.viewer.layers:
            told = layer.metadata.get(METADATA_KEY, {})
            if told.get("result") in OVERLAYS and not told.get("earlier"):
                found[told["result"]] = layer
        return {kind: found[kind] for kind in OVERLAYS if kind in found}

    def set_visible(self, kind: str, visible: bool) -> None:
        """Show or hide the overlays of a kind, also the next ones; unknown kinds do nothing."""
        self._put_away.discard(kind)
        self._wish(kind, visible)
        if kind in (there := self.layers()):
            self._show(there[kind], visible)

    def toggle(self) -> bool:
        """Hide all overlays, or show again what was hidden; return whether they are shown."""
        there = self.layers()
        shown = {kind for kind, layer in there.items() if layer.visible}
        if shown:
            self._put_away = shown
        wanted = set() if shown else (self._put_away or self._hidden or set(there)) & set(there)
        for kind in wanted & self._hidden:
            self._ask_for(kind)
        for kind in shown or wanted:
            self._show(there[kind], kind in wanted)
        if not shown:
            self._put_away = set()
        return bool(wanted)

    def hide_in(self, position: int) -> None:
        """Hide what was predicted in a frame that has become annotation; a switch brings it back."""
        self._away[position] = set()
        self._moved()

    def show_in(self, positions: Sequence[int]) -> None:
        """Show again what is predicted in these frames."""
        for position in positions:
            self._away.pop(position, None)
        self._moved()

    def put_preview_away(self) -> None:
        """Hide what the last training saw, until the next one begins."""
        preview = self.layers().get("preview")
        if self._session.training.state == "idle" and preview is not None and preview.visible:
            self._preview_away = True
            self._show(preview, False)

    def _training_changed(self, status: Any) -> None:
        self._moved()
        if self._preview_away and status.state != "idle":
            self._preview_away = False
            if "preview" in (there := self.layers()):
                self._show(there["preview"], True)

    def _annotation_changed(self, positions: Sequence[int]) -> None:
        """Show the cells again where their copy was taken back, so that the frame is not bare."""
        book = self._session.book
        bare = [p for p in self._away.keys() & set(positions) if not book.facts(p).annotated]
        if bare:
            self.show_in(bare)

    def _wish(self, kind: str, visible: bool) -> None:
        """Remember what the user wants to see."""
        self._wanted[kind] = visible
        if kind == "preview":
            self._preview_away = False
        if visible and kind in self._hidden:
            self._ask_for(kind)

    def _ask_for(self, kind: str) -> None:
        self._away.get(self._position(), set()).add(kind)
        self._hidden.discard(kind)

    def _position(self) -> int:
        results = self._session.results
        return -1 if results is None else results.shown()

    def _moved(self, _event: Any = None) -> None:
        if not self._away and not self._hidden:
            return
        there, asked_for = self.layers(), self._away.get(self._position())
        if "errors" in there and there["errors"].visible:
            return  # alone: what is hidden now comes back with the end of the errors
        hide = set()
        if asked_for is not None:
            seen = {k for k, layer in there.items() if layer.visible or k in self._hidden}
            hide = (seen & _COVERING) - asked_for
            if self._session.training.state != "idle":
                hide.discard("preview")  # it is watched
        back, self._hidden = self._hidden - hide, hide
        for kind in (back | hide) & there.keys():
            self._show(there[kind], kind in back)

    def _show(self, layer: Any, visible: bool) -> None:
        if layer.visible != visible:
            switch(layer, visible)

    def _inserted(self, event: Any) -> None:
        layer = event.value
        kind = result_of(layer)
        if kind not in OVERLAYS:
            return
        if kind == "cells":
            self._away, self._hidden = {}, set()
        if kind in self._wanted:
            layer.visible = self._wanted[kind]
        self._watched.connect(layer.events.visible, self._switched)

    def _switched(self, event: Any) -> None:
        """Remember what the user switched, here or in the list of layers."""
        layer = event.source
        if switching(layer) or layer.metadata.get(METADATA_KEY, {}).get("earlier"):
            return
        self._wish(result_of(layer), layer.visible)


class OverlayPanel(QWidget):
    """A legend of the overlays with one switch for each.

    Parameters
    ----------
    session
        Of the viewer.
    lifetime
        Of the widget that holds it.
    """

    changed = Signal()  # other overlays are there

    def __init__(self, session: Session, lifetime: Lifetime) -> None:
        super().__init__()
        self.visibility = Visibility(session, lifetime)
        self.switches: dict[str, QCheckBox] = {}
        self._connected = Lifetime()
        lifetime.at_end(self._connected.end)
        self._grid = QGridLayout(self)
        self._grid.setContentsMargins(0, 0, 0, 0)
        self._grid.setHorizontalSpacing(8)
        self._grid.setVerticalSpacing(2)
        self._grid.setColumnStretch(2, 1)
        self._empty = small_label("Segmentation, distance and cells appear here when predicted.")
        self._grid.addWidget(self._empty, 0, 0, 1, 3)
        events = session.viewer.layers.events
        for emitter in (events.inserted, events.removed):
            lifetime.connect(emitter, self._rebuild)
        self._rebuild()

    def _rebuild(self, _event: Any = None) -> None:
        there = self.visibility.layers()
        self._connected.end()
        for row in range(self._grid.rowCount()):
            for column in range(3):
                item = self._grid.itemAtPosition(row, column)
                widget = None if item is None else item.widget()
                if widget is not None and widget is not self._empty:
                    self._grid.removeWidget(widget)
                    widget.deleteLater()
        self.switches = {}
        self._empty.setVisible(not there)
        for row, (kind, layer) in enumerate(there.items(), start=1):
            self._add_row(row, kind, layer)
        self.changed.emit()

    def _add_row(self, row: int, kind: str, layer: Any) -> None:
        switch = QCheckBox(kind)
        switch.setChecked(layer.visible)
        switch.setToolTip(f"Show or hide the layer {layer.name!r}. Its opacity is set above.")
        switch.toggled.connect(lambda on, kind=kind: self.visibility.set_visible(kind, on))
        self.switches[kind] = switch
        patch = QLabel()
        patch.setPixmap(_patch(kind, layer))
        words = small_label(_meaning(kind, layer))
        words.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Preferred)
        self._grid.addWidget(switch, row, 0)
        self._grid.addWidget(patch, row, 1, Qt.AlignmentFlag.AlignVCenter)
        self._grid.addWidget(words, row, 2)

        def follow(_event: Any = None) -> None:
            with QSignalBlocker(switch):
                switch.setChecked(layer.visible)

        def repaint(_event: Any = None) -> None:
            patch.setPixmap(_patch(kind, layer))
            words.setText(_meaning(kind, layer))

        self._connected.connect(layer.events.visible, follow)
        for name in ("colormap", "contrast_limits", "features"):
            if hasattr(layer.events, name):
                self._connected.connect(getattr(layer.events, name), repaint)


def _meaning(kind: str, layer: Any) -> str:
    if kind == "distance":
        low, high = (float(limit) for limit in layer.contrast_limits)
        return f"{OVERLAYS[kind]}, {low:g} to {high:g} px"
    names = [name for name, _ in layer_legend(layer)[1:]] if hasattr(layer, "brush_size") else []
    return ", ".join(names) or layer.metadata[METADATA_KEY].get("shows") or OVERLAYS[kind]


def _patch(kind: str, layer: Any) -> QPixmap:
    """Draw the colours of a layer side by side, or the scale of an image."""
    if hasattr(layer, "brush_size"):
        count = {"cells": 6, "segmentation": 1}.get(kind) or max(len(layer_legend(layer)) - 1, 1)
        colours = [layer.get_color(number) for number in range(1, count + 1)]
    else:
        colours = list(layer.colormap.map(np.linspace(0, 1, _PATCH_WIDTH)))
    image = QImage(_PATCH_WIDTH, _PATCH_HEIGHT, QImage.Format.Format_RGB32)
    image.fill(QColor("black"))
    painter = QPainter(image)
    edges = np.linspace(0, _PATCH_WIDTH, len(colours) + 1).round().astype(int)
    for left, right, colour in zip(edges, edges[1:], colours, strict=False):
        # transparent as it is on the image, on black
        red, green, blue, alpha = (float(part) for part in np.asarray(colour).ravel()[:4])
        painter.fillRect(
            int(left), 0, int(right - left), _PATCH_HEIGHT,
            QColor.fromRgbF(red * alpha, green * alpha, blue * alpha),
        )  # fmt: skip
    painter.end()
    return QPixmap.fromImage(image)
