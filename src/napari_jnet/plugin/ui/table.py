"""A small table of results: sorted by a click on its head, a row leads somewhere, copied and saved."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from qtpy.QtCore import QAbstractTableModel, QModelIndex, Qt, Signal
from qtpy.QtGui import QColor, QKeyEvent, QKeySequence
from qtpy.QtWidgets import QApplication, QFileDialog, QPushButton, QTableView

from napari_jnet.files import OutputError, atomic_write, make_folder
from napari_jnet.plugin.ui.widgets import push_button

Row = tuple[Any, ...]
_NUMBERS = Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter
_WORDS = Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter


class _Model(QAbstractTableModel):
    """Rows in the order in which they came, and the order in which they are shown."""

    def __init__(self, digits: int) -> None:
        super().__init__()
        self._digits = digits
        self.columns: dict[str, str] = {}  # title -> tip
        self.rows: list[Row] = []
        self.colors: Sequence[str] = ()  # of rows
        self.order: list[int] = []  # line -> row

    def rowCount(self, _parent: QModelIndex | None = None) -> int:
        return len(self.rows)

    def columnCount(self, _parent: QModelIndex | None = None) -> int:
        return len(self.columns)

    def data(self, index: QModelIndex, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        row = self.order[index.row()]
        value = self.rows[row][index.column()]
        if role == Qt.ItemDataRole.DisplayRole:
            text = f"{value:.{self._digits}f}" if isinstance(value, float) else str(value)
            return "–" if value is None else text
        if role == Qt.ItemDataRole.TextAlignmentRole:
            return _WORDS if isinstance(value, str) else _NUMBERS
        if role == Qt.ItemDataRole.DecorationRole and index.column() == 0 and self.colors:
            return QColor(self.colors[row])
        return None

    def headerData(
        self, section: int, orientation: Qt.Orientation, role: int = Qt.ItemDataRole.DisplayRole
    ) -> Any:
        if orientation != Qt.Orientation.Horizontal:
            return None
        title = list(self.columns)[section]
        if role == Qt.ItemDataRole.DisplayRole:
            return title
        return self.columns[title] if role == Qt.ItemDataRole.ToolTipRole else None

    def sort(self, column: int, order: Qt.SortOrder = Qt.SortOrder.AscendingOrder) -> None:
        """Sort by a column, with what is not known last either way; -1: as the rows came."""
        self.layoutAboutToBeChanged.emit()
        before = self.persistentIndexList()
        rows = [self.order[index.row()] for index in before]
        self.order = list(range(len(self.rows)))
        if column >= 0:
            values = [row[column] for row in self.rows]
            known = [n for n in self.order if values[n] is not None]
            known.sort(
                key=lambda n: (isinstance(values[n], str), values[n]),
                reverse=order == Qt.SortOrder.DescendingOrder,
            )
            self.order = known + [n for n in self.order if values[n] is None]
        lines = {row: line for line, row in enumerate(self.order)}
        after = [
            self.index(lines[row], index.column()) for row, index in zip(rows, before, strict=True)
        ]
        self.changePersistentIndexList(before, after)
        self.layoutChanged.emit()


def make_compact(table: QTableView) -> None:
    """Choose whole rows, and show as many columns as can be read in a dock."""
    table.setSelectionBehavior(QTableView.SelectionBehavior.SelectRows)
    table.setHorizontalScrollMode(QTableView.ScrollMode.ScrollPerPixel)
    table.setWordWrap(False)
    table.setStyleSheet("QTableView { font-size: 9pt; } QHeaderView::section { padding: 2px 3px; }")
    table.ensurePolished()
    numbers, titles = table.verticalHeader(), table.horizontalHeader()
    numbers.hide()
    numbers.setDefaultSectionSize(table.fontMetrics().height() + 6)
    titles.setMinimumSectionSize(28)


class ResultTable(QTableView):
    """A table of results; numbers with a point have so many digits after it.

    Rows are identified by the position in which they were given, however they are sorted.  A click or a
    key that moves to another row emits `row_chosen`; `show_row` selects without emitting, so that both
    sides of a link can follow each other.
    """

    row_chosen = Signal(int)

    def __init__(self, digits: int) -> None:
        super().__init__()
        self._model = _Model(digits)
        self.setModel(self._model)
        self.setSortingEnabled(True)
        self.setEditTriggers(QTableView.EditTrigger.NoEditTriggers)
        make_compact(self)
        titles = self.horizontalHeader()
        titles.setMaximumSectionSize(150)
        titles.setResizeContentsPrecision(40)  # lines that are looked at; all of them take a while
        titles.setHighlightSections(False)
        titles.setDefaultAlignment(Qt.AlignmentFlag.AlignCenter)
        self.setMinimumHeight(120)
        self.clicked.connect(lambda index: self.row_chosen.emit(self._model.order[index.row()]))

    @property
    def columns(self) -> tuple[str, ...]:
        """The titles of the columns."""
        return tuple(self._model.columns)

    @property
    def rows(self) -> tuple[Row, ...]:
        """The rows as they were given."""
        return tuple(self._model.rows)

    @property
    def row(self) -> int | None:
        """The row that is selected, or None."""
        index = self.currentIndex()
        return self._model.order[index.row()] if index.isValid() else None

    def set_rows(
        self, columns: Mapping[str, str], rows: Iterable[Row], colors: Sequence[str] = ()
    ) -> None:
        """Show rows of numbers, strings and None, in this order; columns without any value are hidden.

        `columns` has the explanation of each title, `colors` the square before each row.
        """
        model = self._model
        model.beginResetModel()
        model.columns, model.rows, model.colors = dict(columns), list(rows), colors
        model.order = list(range(len(model.rows)))
        model.endResetModel()
        self.sortByColumn(-1, Qt.SortOrder.AscendingOrder)
        self.resizeColumnsToContents()
        for column in range(len(columns)):
            empty = all(row[column] in (None, "") for row in model.rows)
            self.setColumnHidden(column, empty and bool(model.rows))

    def show_row(self, row: int | None) -> None:
        """Select a row and scroll to it; None, or one that there is not, selects nothing."""
        if row is None or row >= len(self._model.order):
            self.clearSelection()
            self.setCurrentIndex(QModelIndex())
            return
        line = self._model.order.index(row)
        self.selectRow(line)
        self.scrollTo(self._model.index(line, 0))

    def choose(self, row: int) -> None:
        """Select a row as a click does."""
        self.show_row(row)
        self.row_chosen.emit(row)

    def copy(self) -> None:
        """Copy the selected rows (all where one or none is) with the titles, for a spreadsheet."""
        chosen = sorted(index.row() for index in self.selectionModel().selectedRows())
        lines = chosen if len(chosen) > 1 else range(len(self._model.order))
        out = io.StringIO()
        self._write(out, [self._model.rows[self._model.order[line]] for line in lines], "\t")
        QApplication.clipboard().setText(out.getvalue())

    def save(self, path: Path) -> Path:
        """Write all rows as a CSV file that spreadsheets open, and return its path; raises `OutputError`.

        Another ending than .csv gets that added, so that no image is overwritten, and no table that the
        dialog has not asked about.
        """
        if path.suffix.lower() != ".csv":
            path = path.with_name(f"{path.name}.csv")
            if path.exists():
                raise OutputError(
                    f"{path} exists already. Choose it to replace it, or another name."
                )
        make_folder(path.parent)
        with (
            atomic_write(path) as partial,
            partial.open("w", newline="", encoding="utf-8-sig") as file,
        ):
            self._write(file, self._model.rows, ",")
        return path

    def _write(self, file: Any, rows: Iterable[Row], delimiter: str) -> None:
        writer = csv.writer(file, delimiter=delimiter, lineterminator="\n")
        writer.writerow(self.columns)
        for row in rows:
            writer.writerow([f"{v:.7g}" if isinstance(v, float) else v for v in row])

    def keyPressEvent(self, event: QKeyEvent) -> None:
        """Copy by the usual keys; a key that moves to another row leads there."""
        if event.matches(QKeySequence.StandardKey.Copy):
            self.copy()
            return
        before = self.row
        super().keyPressEvent(event)
        if self.row is not None and self.row != before:
            self.row_chosen.emit(self.row)


def save_button(
    table: ResultTable, name: str, tooltip: str, save: Callable[[Path], Any]
) -> QPushButton:
    """Return a button that asks where the rows of a table, once it has some, are to be saved."""

    def ask() -> None:
        path, _ = QFileDialog.getSaveFileName(button, "Save as CSV", name, "CSV (*.csv)")
        if path:
            save(Path(path))

    button = push_button("Save as CSV…", tooltip, ask)
    button.setEnabled(False)
    table.model().modelReset.connect(lambda: button.setEnabled(bool(table.rows)))
    return button
