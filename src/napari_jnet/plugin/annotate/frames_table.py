"""The table of frames: what is painted in each, what it is used for, how well it is predicted."""

from __future__ import annotations

from collections.abc import Sequence

from qtpy.QtCore import QModelIndex, QPoint, Qt, Signal
from qtpy.QtWidgets import QAbstractItemView, QHeaderView, QMenu, QTableView

from napari_jnet.plugin.annotate.frames_model import (
    FRAME,
    OPTIONAL,
    PAINTED,
    ROLE,
    ROLE_WORDS,
    SCORE,
    UNKNOWN,
    UNSURE,
    FramesModel,
)

__all__ = ["FramesTable"]


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
