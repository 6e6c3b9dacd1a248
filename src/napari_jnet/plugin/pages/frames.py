"""The table of frames on the page Annotate, and which frame to annotate next."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from qtpy.QtCore import QAbstractTableModel, QModelIndex, QPoint, Qt, Signal
from qtpy.QtGui import QColor, QFont
from qtpy.QtWidgets import (
    QAbstractItemView,
    QCheckBox,
    QHeaderView,
    QMenu,
    QPushButton,
    QTableView,
    QVBoxLayout,
)

from napari_jnet.labels import LabelKind
from napari_jnet.plugin.pages.section import AnnotatePart, row_of
from napari_jnet.plugin.workspace import Lifetime, Workspace

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
    """Reads a `FrameTable`, a frame when it is shown; a row a frame, or an annotated frame.

    Parameters
    ----------
    frames
        Of the session.
    lifetime
        Ends the listening.
    """

    filled = Signal(object)  # the columns that hold something

    def __init__(self, frames: Any, lifetime: Lifetime) -> None:
        super().__init__()
        self._frames = frames
        self.columns: frozenset[int] = frozenset((FRAME, PAINTED, ROLE))
        self._only_annotated = False
        self._shown = -1
        self._facts: dict[int, Any] = {}
        self._rows: list[int] = []
        self._head: tuple[Any, ...] = ()
        lifetime.connect(frames.changed, self._changed)
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
        """Return the `FrameInfo` of a frame."""
        if position not in self._facts:
            self._facts[position] = self._frames.info(position)
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
            if section == PAINTED and self._frames.kind is not LabelKind.INSTANCES:
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
            return str(self._frames.frame_name(facts.number))
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
        if self._frames.kind is LabelKind.INSTANCES:
            return "no cells" if facts.empty else str(facts.objects)
        background, *classes = class_shares(self._frames, facts)
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
            self._look_for_columns(self._frames.annotated)
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
        return (id(self._frames.layer), len(self._frames), self._frames.kind)

    def _reset(self) -> None:
        head = self._identity()
        rows = list(self._frames.annotated if self._only_annotated else range(len(self._frames)))
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


def class_shares(frames: Any, facts: Any) -> list[tuple[str, int]]:
    """Return name and pixels of each class of a frame, background first."""
    legend = frames.legend
    first = 1 if frames.kind is LabelKind.SCRIBBLES else 0  # scribbles count background as 1
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


class FramesTable(QTableView):
    """Shows a `FramesModel`; a click asks for the frame, a click on its use for a menu."""

    frame_wanted = Signal(int)  # position
    role_wanted = Signal(object, str)  # positions, role

    def __init__(self, model: FramesModel) -> None:
        super().__init__()
        self._model = model
        self.setModel(model)
        self.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self.setFocusPolicy(Qt.FocusPolicy.NoFocus)  # the keys belong to the brush
        self.setHorizontalScrollMode(QAbstractItemView.ScrollMode.ScrollPerPixel)
        self.setShowGrid(False)
        self.setWordWrap(False)
        self.setMinimumHeight(150)
        self.setContextMenuPolicy(Qt.ContextMenuPolicy.CustomContextMenu)
        self.customContextMenuRequested.connect(self._right_click)
        self.clicked.connect(self._click)
        rows, columns = self.verticalHeader(), self.horizontalHeader()
        assert rows is not None and columns is not None
        rows.hide()
        rows.setDefaultSectionSize(self.fontMetrics().height() + 6)
        columns.setMinimumSectionSize(30)
        em = self.fontMetrics().horizontalAdvance
        for column, text in {
            FRAME: "t0000 ",
            UNKNOWN: "100 % ",
            SCORE: "Score ",
            UNSURE: "Unsure ",
        }.items():
            columns.setSectionResizeMode(column, QHeaderView.ResizeMode.Fixed)
            columns.resizeSection(column, em(text) + 8)
        columns.setSectionResizeMode(ROLE, QHeaderView.ResizeMode.Fixed)
        columns.resizeSection(ROLE, em("validation ▾ ") + 22)
        columns.setSectionResizeMode(PAINTED, QHeaderView.ResizeMode.Stretch)
        model.filled.connect(self._show_columns)
        self._show_columns(model.columns)

    def selected_positions(self) -> list[int]:
        """Return the frames of the selected rows."""
        selection = self.selectionModel()
        assert selection is not None
        return sorted(self._model.position(index.row()) for index in selection.selectedRows())

    def show_position(self, position: int) -> None:
        """Mark the frame that the viewer shows, and bring it into view."""
        self._model.show_position(position)
        row = self._model.row(position)
        if row >= 0:
            self.scrollTo(self._model.index(row, 0))

    def role_menu(self, positions: Sequence[int]) -> QMenu:
        """Return the menu that changes the use of these frames."""
        menu = QMenu(self)
        menu.setToolTipsVisible(True)
        menu.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        present = {self._model.facts(p).role for p in positions}
        for role, meaning in ROLE_WORDS.items():
            action = menu.addAction(f"{role}: {meaning}")
            assert action is not None
            action.setCheckable(True)
            action.setChecked(present == {role})
            action.triggered.connect(
                lambda _=False, role=role: self.role_wanted.emit(list(positions), role)
            )
        return menu

    def _show_columns(self, filled: frozenset[int]) -> None:
        for column in OPTIONAL:
            self.setColumnHidden(column, column not in filled)

    def _click(self, index: QModelIndex) -> None:
        position = self._model.position(index.row())
        self.frame_wanted.emit(position)
        if index.column() == ROLE and self._model.facts(position).annotated:
            corner = self.visualRect(index).bottomLeft()
            self._pop_up([position], corner)

    def _right_click(self, at: QPoint) -> None:
        under = self.indexAt(at)
        positions = self.selected_positions()
        if under.isValid() and self._model.position(under.row()) not in positions:
            positions = [self._model.position(under.row())]
        annotated = [p for p in positions if self._model.facts(p).annotated]
        if annotated:
            self._pop_up(annotated, at)

    def _pop_up(self, positions: list[int], at: QPoint) -> None:
        viewport = self.viewport()
        assert viewport is not None
        self.role_menu(positions).popup(viewport.mapToGlobal(at))


def choose_next(
    count: int,
    annotated: Sequence[int],
    shown: int,
    *,
    scores: Mapping[int, float] | None = None,
    uncertainty: Mapping[int, float] | None = None,
) -> tuple[int, str]:
    """Choose the frame to annotate next.

    Parameters
    ----------
    count
        Frames in the stack.
    annotated
        Positions of the annotated ones.
    shown
        Position of the frame on the screen; another one is chosen where there is one.
    scores
        Position -> score of the last prediction, higher is better.
    uncertainty
        Position -> how unsure the network is, higher is less sure.

    Returns
    -------
    position : int
        0 to ``count - 1``.
    why : str
        In a few words.

    Notes
    -----
    A frame without annotation with the worst score, else the least certain one, else the one
    farthest from all annotated frames.  When all are annotated: the one with the worst score.
    """
    done = set(annotated)
    open_frames = [p for p in range(count) if p not in done and p != shown]
    for values, worst, why in (
        (scores or {}, min, "worst score, {:.2f}"),
        (uncertainty or {}, max, "least certain"),
    ):
        known = [p for p in open_frames if p in values]
        if known:
            chosen = worst(known, key=values.__getitem__)
            return chosen, why.format(values[chosen])
    if open_frames:
        if not done:
            return open_frames[len(open_frames) // 2], "nothing is annotated yet"
        far = max(open_frames, key=lambda p: min(abs(p - q) for q in done))
        return far, "farthest from annotated frames"
    if shown not in done:
        return shown, "the last frame without annotation"
    others = [p for p in (scores or {}) if p in done and p != shown]
    if others:
        chosen = min(others, key=(scores or {}).__getitem__)
        return chosen, f"all frames are annotated; worst score, {(scores or {})[chosen]:.2f}"
    return shown, "all frames are annotated"


class FramesPart(AnnotatePart):
    """The table of frames and the button to the next frame worth annotating.

    Parameters
    ----------
    workspace
        Of the viewer.
    lifetime
        Ends the listening.
    """

    def __init__(self, workspace: Workspace, lifetime: Lifetime) -> None:
        super().__init__(workspace, lifetime)
        self.model = FramesModel(self._frames, lifetime)
        self.table = FramesTable(self.model)
        self.table.frame_wanted.connect(workspace.go_to)
        self.table.role_wanted.connect(self._role_wanted)
        self.next_button = QPushButton("Next frame to annotate")
        self.next_button.clicked.connect(lambda: self.attempt(self.next_frame))
        self.only_check = QCheckBox("Only annotated")
        self.only_check.setToolTip("List annotated frames only.")
        self.only_check.toggled.connect(self.model.set_only_annotated)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.addWidget(self.table)
        column.addLayout(row_of(self.next_button, self.only_check))
        lifetime.connect(workspace.viewer.dims.events.current_step, self._show_frame)
        lifetime.connect(workspace.image_changed, self._show_frame)
        self._show_frame()

    def next_frame(self) -> int:
        """Show the frame where annotating helps most, say why, and return its position.

        Raises
        ------
        ValueError
            If there is no image.
        """
        count = len(self._frames)
        if not count:
            raise ValueError("There is no image to annotate; open one first.")
        facts = [self.model.facts(p) for p in range(count)]
        annotated = self._frames.annotated
        position, why = choose_next(
            count,
            annotated,
            self.position(),
            scores={f.position: f.score for f in facts if f.score is not None},
            uncertainty={f.position: f.uncertainty for f in facts if f.uncertainty is not None},
        )
        self._workspace.go_to(position)
        done = f"{len(annotated)} of {count} frames are annotated."
        self.said.emit(f"{self._frames.frame_name(facts[position].number)}: {why}. {done}")
        return position

    def set_role(self, number: int, role: str) -> None:
        """Say what a frame is used for, by its frame number.

        Raises
        ------
        ValueError
            If there is no such frame, or no such role.
        """
        numbers = self._frames.numbers
        if number not in numbers:
            there = f"frames run from {numbers[0]} to {numbers[-1]}" if numbers else "open an image"
            raise ValueError(f"There is no frame {number}; {there}.")
        self._frames.set_role(numbers.index(number), role)

    def _role_wanted(self, positions: list[int], role: str) -> None:
        self.attempt(lambda: self._frames.set_roles(dict.fromkeys(positions, role)))

    def _show_frame(self, _event: Any = None) -> None:
        self.table.show_position(self.position())
