"""The shown frame: what is known of it, and what is done to all of it at once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from qtpy.QtWidgets import QCheckBox, QPushButton, QVBoxLayout

from napari_jnet.data.stack import LabelKind
from napari_jnet.plugin.annotate.actions import copy_labels, rest_is_background, rest_is_unknown
from napari_jnet.plugin.annotate.kind_preview import KindPreview
from napari_jnet.plugin.annotate.next_number import number_pieces_apart
from napari_jnet.plugin.annotate.part import AnnotatePart, row_of
from napari_jnet.plugin.correct.edits import read_plane, replace_plane
from napari_jnet.plugin.forms import small_label
from napari_jnet.plugin.session import Lifetime, Session

__all__ = ["FramePart"]


class FramePart(AnnotatePart):
    """Says what is learned from the shown frame; its buttons are one undo step each.

    Parameters
    ----------
    session
        Of the viewer.
    lifetime
        Ends the listening.
    """

    def __init__(self, session: Session, lifetime: Lifetime) -> None:
        super().__init__(session, lifetime)
        self.preview = KindPreview(session, lifetime)
        self.unknown_button = QPushButton("Mark unpainted as unknown")
        self.unknown_button.setToolTip(
            "Only what you painted is known in this frame; the rest is not learned from. Takes back that "
            "a frame without cells is all background."
        )
        self.background_button = QPushButton("Mark unpainted as background")
        self.background_button.setToolTip(
            "All that is not painted in this frame is background; where nothing is painted, there are "
            "no cells in it."
        )
        self.copy_button = QPushButton("Copy frame before")
        self.copy_button.setToolTip(
            "Copy the labels of the nearest annotated frame before this one, to correct them."
        )
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
        lifetime.connect(session.viewer.dims.events.current_step, self._show_pieces)
        lifetime.connect(self._book.kind_changed, self._show_kind)
        lifetime.connect(self._book.changed, self._show_kind)
        self._show_kind()

    def rest_is_unknown(self) -> int:
        """Make the background unknown, and return how many pixels changed; raises `ValueError`.

        Where the frame is marked as without cells, this is taken back.
        """
        position = self.position()
        if self._book.layer is not None and self._book.facts(position).empty:
            self._book.say_empty(position, False)
            self.said.emit(
                f"{self._named(position)} is not marked any more, so it is not learned from."
            )
            return 0
        count = self._edit(rest_is_unknown, "unknown")
        self._book.say_empty(position, False)  # should all that is painted be erased again
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
        frame = np.asarray(self._book.frame(position))
        if (frame > 0).any() or self._book.kind is LabelKind.SCRIBBLES:
            cells = self._book.kind is not LabelKind.SCRIBBLES
            if cells and not (read_plane(layer, index) > 0).any():
                raise ValueError(
                    f"Nothing is painted in this section of {self._named(position)}, but in others; paint a "
                    "stroke of Unknown, and the rest of the section is background."
                )
            return self._edit(rest_is_background, "background")
        if self._book.facts(position).empty:
            self.said.emit(
                f"{self._named(position)} is marked as without cells already; Mark unpainted as unknown "
                "takes it back."
            )
            return 0
        self._book.say_empty(position)
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
        book = self._book
        before = [p for p in book.annotated if index and p < index[0] and not book.facts(p).empty]
        if not before:
            raise ValueError("No frame before this one is painted, so there is nothing to copy.")
        source = before[-1]
        there = read_plane(layer, (source, *index[1:]))
        new, count = copy_labels(
            read_plane(layer, index), there, self._book.kind, overwrite=overwrite
        )
        replace_plane(layer, index, new)
        cells = self._book.kind is LabelKind.INSTANCES
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
        if self._book.layer is None:
            raise ValueError("There is no annotation yet; press New annotation.")
        count = number_pieces_apart(self._book, self.position())
        cells = "1 new cell" if count == 1 else f"{count} new cells"
        self.said.emit(f"{cells}; Ctrl+Z takes it back." if count else "No cell is in pieces here.")
        return count

    def _named(self, position: int) -> str:
        return str(self._book.frame_name(self._book.numbers[position]))

    def _copy_clicked(self) -> None:
        self.copy_from_before(self.over_check.isChecked())

    def _edit(self, change: Callable[..., Any], name: str) -> int:
        layer, index = self.shown_plane()
        before = read_plane(layer, index)
        count = replace_plane(layer, index, change(before, self._book.kind))
        share = f"{100 * count / before.size:.0f} % of this frame is now {name}"
        self.said.emit(
            f"{share}; Ctrl+Z takes it back.{self._background_words(layer, index)}"
            if count
            else f"All the rest is {name} already."
        )
        return count

    def _background_words(self, layer: Any, index: tuple[int, ...]) -> str:
        """Say that there is nothing to tell cells from, where no pixel of the plane is background."""
        if self._book.kind is not LabelKind.INSTANCES or (read_plane(layer, index) == 0).any():
            return ""
        return (
            " Now paint a few strokes of Background, so that there is something to tell cells from."
        )

    def _show_pieces(self, _event: Any = None) -> None:
        position = self.position()
        shown = self._book.layer is not None and position < len(self._book)
        found = self._book.facts(position).in_pieces if shown else ()
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
        self.unknown_button.setVisible(self._book.kind is not LabelKind.SCRIBBLES)
        for part in (self.copy_button, self.over_check):
            part.setVisible(len(self._book) != 1)  # a single image has no frame before
