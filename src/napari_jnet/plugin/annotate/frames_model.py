"""What the table of frames shows: a row a frame, read from the book when it is shown."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from qtpy.QtCore import QAbstractTableModel, QModelIndex, Qt, Signal
from qtpy.QtGui import QColor, QFont

from napari_jnet.data.stack import LabelKind
from napari_jnet.plugin.session import Lifetime

__all__ = ["OPTIONAL", "ROLE_WORDS", "FramesModel", "class_shares", "percent"]

FRAME, PAINTED, UNKNOWN, ROLE, SCORE, UNSURE = range(6)
ROLE_WORDS = {
    "training": "the network learns from this frame",
    "validation": "never learned from; tells how good the network is",
    "unused": "left out",
}
_HELP = {
    FRAME: "Frame number as in the file names. Click to show the frame.",
    PAINTED: "Painted cells, or how much of the frame each class covers.",
    UNKNOWN: "How much of the frame nobody knows; it is not learned from.",
    ROLE: "What the frame is used for. Click to change; right click for several frames.",
    SCORE: "Score of the last evaluation or training, 0 to 1; higher is better.",
    UNSURE: "How unsure the network was in the last prediction; the highest is worth annotating.",
}
_TITLES = {FRAME: "Frame", PAINTED: "Cells", UNKNOWN: "Unkn.", ROLE: "Use", UNSURE: "Unsure"}
OPTIONAL = (UNKNOWN, SCORE, UNSURE)  # shown once a frame has a value
_LOOKED_AT = 200  # frames that are looked at for such values at once
_SHOWN = QColor(0, 122, 204, 110)


class FramesModel(QAbstractTableModel):
    """Reads a `FrameBook`, a frame when it is shown; a row a frame, or an annotated frame.

    Parameters
    ----------
    book
        Of the session.
    lifetime
        Ends the listening.
    """

    filled = Signal(object)  # the columns that hold something

    def __init__(self, book: Any, lifetime: Lifetime) -> None:
        super().__init__()
        self._book = book
        self.columns: frozenset[int] = frozenset((FRAME, PAINTED, ROLE))
        self._only_annotated = False
        self._shown = -1
        self._facts: dict[int, Any] = {}
        self._rows: list[int] = []
        self._head: tuple[Any, ...] = ()
        lifetime.connect(book.changed, self._changed)
        self._reset()

    def rowCount(self, parent: QModelIndex | None = None) -> int:
        """Return the number of frames in the table."""
        return 0 if parent is not None and parent.isValid() else len(self._rows)

    def columnCount(self, parent: QModelIndex | None = None) -> int:
        """Return the number of columns."""
        return 0 if parent is not None and parent.isValid() else len(_HELP)

    def position(self, row: int) -> int:
        """Return the frame of a row, as its position along the stack."""
        return self._rows[row]

    def row(self, position: int) -> int:
        """Return the row of a frame, -1 where it is not in the table."""
        return self._rows.index(position) if position in self._rows else -1

    def facts(self, position: int) -> Any:
        """Return the `FrameFacts` of a frame."""
        if position not in self._facts:
            self._facts[position] = self._book.facts(position)
        return self._facts[position]

    def set_only_annotated(self, only: bool) -> None:
        """List annotated frames only."""
        self._only_annotated = only
        self._reset()

    def show_position(self, position: int) -> None:
        """Mark the frame that the viewer shows."""
        before, self._shown = self._shown, position
        for row in (self.row(before), self.row(position)):
            if row >= 0:
                self._tell(row)

    def headerData(self, section: int, orientation: Qt.Orientation, role: int = 0) -> Any:
        """Return the title of a column and what it means."""
        if orientation != Qt.Orientation.Horizontal:
            return None
        if role == Qt.ItemDataRole.DisplayRole:
            if section == PAINTED and self._book.kind is not LabelKind.INSTANCES:
                return "Painted"
            return _TITLES.get(section) or self._score_name()
        return _HELP[section] if role == Qt.ItemDataRole.ToolTipRole else None

    def data(self, index: QModelIndex, role: int = 0) -> Any:
        """Return what a cell shows."""
        position, column = self._rows[index.row()], index.column()
        if role == Qt.ItemDataRole.DisplayRole:
            return self._text(self.facts(position), column)
        if role == Qt.ItemDataRole.BackgroundRole and position == self._shown:
            return _SHOWN
        if role == Qt.ItemDataRole.FontRole and column == FRAME:
            font = QFont()
            font.setBold(self.facts(position).annotated)
            return font
        if role == Qt.ItemDataRole.TextAlignmentRole and column not in (PAINTED, ROLE):
            return Qt.AlignmentFlag.AlignCenter
        if role == Qt.ItemDataRole.ToolTipRole:
            return self._tip(self.facts(position), column)
        return None

    def _text(self, facts: Any, column: int) -> str:
        if column == FRAME:
            return str(self._book.frame_name(facts.number))
        if column == PAINTED:
            return self._painted(facts) if facts.counted else "…"
        if column == UNKNOWN:
            return percent(facts.unknown, facts.size) if facts.annotated else ""
        if column == ROLE:
            return f"{facts.role or 'automatic'} ▾" if facts.annotated else ""
        value = facts.score if column == SCORE else facts.uncertainty
        return "" if value is None else f"{value:.2f}"

    def _painted(self, facts: Any) -> str:
        if not facts.annotated:
            return ""
        if self._book.kind is LabelKind.INSTANCES:
            return "no cells" if facts.empty else str(facts.objects)
        background, *classes = class_shares(self._book, facts)
        shares = [(name, count) for name, count in (*classes, background) if count]
        return ", ".join(f"{name} {percent(count, facts.size)}" for name, count in shares)

    def _tip(self, facts: Any, column: int) -> str | None:
        if column == ROLE and facts.annotated:
            return ROLE_WORDS.get(facts.role, "the split decides when training starts")
        if column == SCORE and facts.score is not None:
            return f"{facts.score_name} {facts.score:.3f}"
        return self._painted(facts) if column == PAINTED else None

    def _score_name(self) -> str:
        known = (f.score_name for f in self._facts.values() if f.score is not None)
        return next(known, "") or "Score"

    def _changed(self, positions: Sequence[int]) -> None:
        for position in positions:
            self._facts.pop(position, None)
        if self._head != self._identity() or self._only_annotated:
            self._reset()
            self._look_for_columns(self._book.annotated)
            return
        self._look_for_columns(positions)
        rows = [p for p in positions if p < len(self._rows)]  # without a filter, row = position
        if rows:
            self._tell(min(rows), max(rows))
        self.headerDataChanged.emit(Qt.Orientation.Horizontal, PAINTED, SCORE)

    def _look_for_columns(self, positions: Sequence[int]) -> None:
        found = set(self.columns)
        for position in positions[:_LOOKED_AT]:
            facts = self.facts(position)
            values = (facts.annotated and facts.unknown, facts.score, facts.uncertainty)
            found.update(c for c, v in zip(OPTIONAL, values, strict=True) if v)
        if found != self.columns:
            self.columns = frozenset(found)
            self.filled.emit(self.columns)

    def _identity(self) -> tuple[Any, ...]:
        return (id(self._book.layer), len(self._book), self._book.kind)

    def _reset(self) -> None:
        head = self._identity()
        rows = list(self._book.annotated if self._only_annotated else range(len(self._book)))
        if head == self._head and rows == self._rows:
            if rows:
                self._tell(0, len(rows) - 1)
            return
        self.beginResetModel()
        if head != self._head:
            self._facts.clear()
            self.columns = frozenset((FRAME, PAINTED, ROLE))
            self.filled.emit(self.columns)
        self._head, self._rows = head, rows
        self.endResetModel()

    def _tell(self, first: int, last: int | None = None) -> None:
        end = self.index(first if last is None else last, self.columnCount() - 1)
        self.dataChanged.emit(self.index(first, 0), end)


def class_shares(book: Any, facts: Any) -> list[tuple[str, int]]:
    """Return name and pixels of each class of a frame, background first."""
    legend = book.legend
    first = 1 if book.kind is LabelKind.SCRIBBLES else 0  # scribbles count background as 1
    names = [name for name, _ in legend[first:]]
    if not names:
        names = ["background"]
    return [
        (names[n] if n < len(names) else f"class {n}", count)
        for n, count in enumerate(facts.pixels)
    ]


def percent(part: int, whole: int) -> str:
    """Write a share: "0 %", "<1 %", "12 %"."""
    share = 100 * part / whole if whole else 0.0
    return "<1 %" if 0 < share < 0.5 else f"{share:.0f} %"
