"""A small table of results: sorted by a click on its head, a row leads somewhere, copied and saved."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from qtpy.QtCore import QAbstractTableModel, QModelIndex, QObject, Qt, Signal
from qtpy.QtGui import QColor, QKeyEvent, QKeySequence
from qtpy.QtWidgets import QAbstractItemView, QApplication, QMenu, QTableView

from napari_jnet.files import OutputError, atomic_write, make_folder

Row = tuple[Any, ...]
_ROOT = QModelIndex()
_NUMBERS = Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter
_WORDS = Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter
_TABLES = (".csv", ".tsv", ".txt")


@dataclass(frozen=True)
class Column:
    """One column: its title in the window, in a CSV file, and how numbers are written."""

    title: str
    tip: str = ""
    digits: int = 3  # after the point, of floating point numbers
    csv: str = ""  # the title in a file where it differs, for example with its unit


class _Model(QAbstractTableModel):
    """Rows in the order in which they came, and the order in which they are shown."""

    def __init__(self, columns: Sequence[Column], parent: QObject) -> None:
        super().__init__(parent)
        self.columns = tuple(columns)
        self.rows: list[Row] = []
        self.order: list[int] = []  # line -> row
        self.pinned = 0  # how many rows stay at the end
        self._colors: Sequence[str] = ()  # of rows
        self._sorted: tuple[int, bool] | None = None  # column, descending

    def rowCount(self, parent: QModelIndex = _ROOT) -> int:
        return 0 if parent.isValid() else len(self.rows)

    def columnCount(self, parent: QModelIndex = _ROOT) -> int:
        return 0 if parent.isValid() else len(self.columns)

    def data(self, index: QModelIndex, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        if not index.isValid():
            return None
        row = self.order[index.row()]
        value = self.rows[row][index.column()]
        if role == Qt.ItemDataRole.DisplayRole:
            digits = self.columns[index.column()].digits
            text = f"{value:.{digits}f}" if isinstance(value, float) else str(value)
            return "–" if value is None else text
        if role == Qt.ItemDataRole.TextAlignmentRole:
            return _WORDS if isinstance(value, str) else _NUMBERS
        if role == Qt.ItemDataRole.ForegroundRole and index.column() == 0 and self._colors:
            return QColor(self._colors[row])
        if role == Qt.ItemDataRole.FontRole and row >= len(self.rows) - self.pinned:
            font = QApplication.font()
            font.setBold(True)
            return font
        return None

    def headerData(
        self, section: int, orientation: Qt.Orientation, role: int = Qt.ItemDataRole.DisplayRole
    ) -> Any:
        if orientation != Qt.Orientation.Horizontal:
            return None
        column = self.columns[section]
        if role == Qt.ItemDataRole.DisplayRole:
            return column.title
        return column.tip if role == Qt.ItemDataRole.ToolTipRole else None

    def fill(
        self,
        rows: Iterable[Row],
        pinned: int = 0,
        colors: Sequence[str] = (),
        columns: Sequence[Column] | None = None,
    ) -> None:
        self.beginResetModel()
        self.columns = self.columns if columns is None else tuple(columns)
        self.rows, self.pinned, self._colors = list(rows), pinned, colors
        self._arrange()
        self.endResetModel()

    def append(self, rows: Sequence[Row]) -> None:
        first = len(self.rows)
        self.beginInsertRows(QModelIndex(), first, first + len(rows) - 1)
        self.rows.extend(rows)
        self.order.extend(range(first, len(self.rows)))
        self.endInsertRows()

    def sort(self, column: int, order: Qt.SortOrder = Qt.SortOrder.AscendingOrder) -> None:
        self.layoutAboutToBeChanged.emit()
        before = self.persistentIndexList()
        rows = [(self.order[index.row()], index.column()) for index in before]
        self._sorted = (column, order == Qt.SortOrder.DescendingOrder) if column >= 0 else None
        self._arrange()
        lines = {row: line for line, row in enumerate(self.order)}
        after = [self.index(lines[row], column) for row, column in rows]
        self.changePersistentIndexList(before, after)
        self.layoutChanged.emit()

    def _arrange(self) -> None:
        self.order = list(range(len(self.rows)))
        if self._sorted is not None:
            column, descending = self._sorted
            free = self.order[: len(self.rows) - self.pinned]
            unknown = [n for n in free if self.rows[n][column] is None]
            known = [n for n in free if self.rows[n][column] is not None]
            known.sort(
                key=lambda n: (isinstance(self.rows[n][column], str), self.rows[n][column]),
                reverse=descending,
            )
            # what is not known comes last either way
            self.order[: len(free)] = known + unknown


class ResultTable(QTableView):
    """A table of results.

    Rows are identified by the position in which they were given, however they are sorted.  A click or a
    key that moves to another row emits `row_chosen`; `show_row` selects without emitting, so that both
    sides of a link can follow each other.

    Parameters
    ----------
    columns
        Titles, tips and how numbers are written.
    """

    row_chosen = Signal(int)

    def __init__(self, columns: Sequence[Column]) -> None:
        super().__init__()
        self._model = _Model(columns, self)
        self.setModel(self._model)
        self.setSortingEnabled(True)
        self.sortByColumn(-1, Qt.SortOrder.AscendingOrder)
        self.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self.setWordWrap(False)
        self.setHorizontalScrollMode(QAbstractItemView.ScrollMode.ScrollPerPixel)
        numbers, titles = self.verticalHeader(), self.horizontalHeader()
        assert numbers is not None and titles is not None
        numbers.hide()
        numbers.setDefaultSectionSize(self.fontMetrics().height() + 6)
        # as many columns as can be read in a dock
        self.setStyleSheet(
            "QTableView { font-size: 9pt; } QHeaderView::section { padding: 2px 3px; }"
        )
        titles.setMinimumSectionSize(28)
        titles.setResizeContentsPrecision(40)  # lines that are looked at; all of them take a while
        titles.setHighlightSections(False)
        titles.setDefaultAlignment(Qt.AlignmentFlag.AlignCenter)
        self.setMinimumHeight(120)
        self.clicked.connect(lambda index: self.row_chosen.emit(self._model.order[index.row()]))

    @property
    def columns(self) -> tuple[Column, ...]:
        """The columns."""
        return self._model.columns

    @property
    def rows(self) -> tuple[Row, ...]:
        """The rows as they were given."""
        return tuple(self._model.rows)

    @property
    def row(self) -> int | None:
        """The row that is selected, or None."""
        index = self.currentIndex()
        return self._model.order[index.row()] if index.isValid() else None

    def set_columns(self, columns: Sequence[Column]) -> None:
        """Replace the columns; the table is empty then."""
        self._model.fill((), columns=columns)

    def set_rows(self, rows: Iterable[Row], *, pinned: int = 0, colors: Sequence[str] = ()) -> None:
        """Show rows.

        Parameters
        ----------
        rows
            A value for each column: a number, a string, or None where nothing is known.
        pinned
            How many of the last rows stay at the end however the table is sorted, such as sums.
        colors
            Of the text in the first column, row by row.
        """
        self._model.fill(rows, pinned, colors)
        self.resizeColumnsToContents()

    def add_rows(self, rows: Sequence[Row]) -> None:
        """Show more rows, at the end until the table is sorted again."""
        if rows:
            self._model.append(rows)

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

    def text(self) -> str:
        """Return the selected rows (all where one or none is) with the titles, for a spreadsheet."""
        selection = self.selectionModel()
        chosen = [] if selection is None else sorted(i.row() for i in selection.selectedRows())
        lines = chosen if len(chosen) > 1 else range(len(self._model.order))
        rows = [self._model.rows[self._model.order[line]] for line in lines]
        out = io.StringIO()
        _write(out, self.columns, rows, delimiter="\t")
        return out.getvalue()

    def copy(self) -> None:
        """Put `text` into the clipboard."""
        clipboard = QApplication.clipboard()
        assert clipboard is not None
        clipboard.setText(self.text())

    def save(self, path: Path | str) -> None:
        """Write all rows as CSV; raises `OutputError` where the file cannot be written."""
        write_csv(path, self.columns, self._model.rows)

    def keyPressEvent(self, event: QKeyEvent) -> None:
        """Copy by the usual keys; a key that moves to another row leads there."""
        if event.matches(QKeySequence.StandardKey.Copy):
            self.copy()
            return
        before = self.row
        super().keyPressEvent(event)
        if self.row is not None and self.row != before:
            self.row_chosen.emit(self.row)

    def contextMenuEvent(self, event: Any) -> None:
        """Offer to copy."""
        menu = QMenu(self)
        menu.addAction("Copy for a spreadsheet", self.copy)
        menu.exec(event.globalPos())


def write_csv(path: Path | str, columns: Sequence[Column], rows: Iterable[Row]) -> None:
    """Write rows as a CSV file that spreadsheets open; raises `OutputError` where it cannot be.

    A file that exists is replaced if it is a table by its name; another one is refused.
    """
    path = Path(path)
    if path.exists() and path.suffix.lower() not in _TABLES:
        raise OutputError(
            f"{path} exists already and is not a table; it would be overwritten. Choose a name that ends "
            "with .csv."
        )
    make_folder(path.parent)
    with atomic_write(path) as partial, partial.open("w", newline="", encoding="utf-8-sig") as file:
        _write(file, columns, rows)


def _write(file: Any, columns: Sequence[Column], rows: Iterable[Row], delimiter: str = ",") -> None:
    writer = csv.writer(file, delimiter=delimiter, lineterminator="\n")
    writer.writerow([column.csv or column.title for column in columns])
    writer.writerows(
        ["" if v is None else f"{v:.7g}" if isinstance(v, float) else v for v in row]
        for row in rows
    )
