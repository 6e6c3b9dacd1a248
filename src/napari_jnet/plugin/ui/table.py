"""A small table of results: sorted by a click on its head, a row leads somewhere, copied and saved."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from qtpy.QtCore import QAbstractTableModel, QModelIndex, QObject, Qt, Signal
from qtpy.QtGui import QColor, QKeySequence
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
    csv: str = ""  # the title where it differs, for example with its unit

    @property
    def csv_title(self) -> str:
        """The title in a file."""
        return self.csv or self.title


class _Model(QAbstractTableModel):
    """Rows in the order in which they came, and the order in which they are shown."""

    def __init__(self, columns: Sequence[Column], parent: QObject) -> None:
        super().__init__(parent)
        self.columns = tuple(columns)
        self.rows: list[Row] = []
        self.order: list[int] = []  # line -> row
        self.lines: dict[int, int] = {}  # row -> line
        self.pinned: frozenset[int] = frozenset()  # rows that stay at the end
        self._colours: dict[int, QColor] = {}
        self._sorted: tuple[int, bool] | None = None

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
            return _written(value, self.columns[index.column()].digits)
        if role == Qt.ItemDataRole.TextAlignmentRole:
            return _WORDS if isinstance(value, str) else _NUMBERS
        if role == Qt.ItemDataRole.ForegroundRole and index.column() == 0:
            return self._colours.get(row)
        if role == Qt.ItemDataRole.FontRole and row in self.pinned:
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

    def fill(self, rows: Iterable[Row], pinned: int, colours: Sequence[str] | None) -> None:
        self.beginResetModel()
        self.rows = list(rows)
        self.pinned = frozenset(range(len(self.rows) - pinned, len(self.rows)))
        self._colours = {n: QColor(colour) for n, colour in enumerate(colours or ())}
        self._arrange()
        self.endResetModel()

    def append(self, rows: Sequence[Row]) -> None:
        first = len(self.rows)
        self.beginInsertRows(QModelIndex(), first, first + len(rows) - 1)
        self.rows.extend(rows)
        self.order.extend(range(first, len(self.rows)))
        self.lines.update((n, n) for n in range(first, len(self.rows)))
        self.endInsertRows()

    def sort(self, column: int, order: Qt.SortOrder = Qt.SortOrder.AscendingOrder) -> None:
        self.layoutAboutToBeChanged.emit()
        before = self.persistentIndexList()
        rows = [(self.order[index.row()], index.column()) for index in before]
        self._sorted = (column, order == Qt.SortOrder.DescendingOrder) if column >= 0 else None
        self._arrange()
        after = [self.index(self.lines[row], column) for row, column in rows]
        self.changePersistentIndexList(before, after)
        self.layoutChanged.emit()

    def _arrange(self) -> None:
        free = [n for n in range(len(self.rows)) if n not in self.pinned]
        if self._sorted is not None:
            column, falling = self._sorted
            known = [n for n in free if self.rows[n][column] is not None]
            known.sort(key=lambda n: _key(self.rows[n][column]), reverse=falling)
            # what is not known comes last either way
            free = known + [n for n in free if self.rows[n][column] is None]
        self.order = free + sorted(self.pinned)
        self.lines = {row: line for line, row in enumerate(self.order)}


class ResultTable(QTableView):
    """A table of results.

    Rows are named by the position in which they were given, however they are sorted.  A click or an
    arrow key emits `row_chosen`; `show_row` selects without emitting, so that both sides of a link
    can follow each other.

    Parameters
    ----------
    columns
        Titles, tips and how numbers are written.
    """

    row_chosen = Signal(int)

    def __init__(self, columns: Sequence[Column]) -> None:
        super().__init__()
        self._model = _Model(columns, self)
        self._quiet = self._again = False
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
        selection = self.selectionModel()
        assert selection is not None
        selection.currentRowChanged.connect(self._chosen)

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
        self._model.beginResetModel()
        self._model.columns = tuple(columns)
        self._model.rows, self._model.order, self._model.lines = [], [], {}
        self._model.endResetModel()

    def set_rows(
        self, rows: Iterable[Row], *, pinned: int = 0, colours: Sequence[str] | None = None
    ) -> None:
        """Show rows.

        Parameters
        ----------
        rows
            A value for each column: a number, a string, or None where nothing is known.
        pinned
            How many of the last rows stay at the end however the table is sorted, such as sums.
        colours
            Of the text in the first column, row by row.
        """
        self._model.fill(rows, pinned, colours)
        self.resizeColumnsToContents()

    def add_rows(self, rows: Sequence[Row]) -> None:
        """Show more rows, at the end until the table is sorted again."""
        if rows:
            self._model.append(rows)

    def show_row(self, row: int | None) -> None:
        """Select a row and scroll to it, without `row_chosen`; None selects nothing."""
        line = None if row is None else self._model.lines.get(row)
        self._quiet = True
        try:
            if line is None:
                self.clearSelection()
                self.setCurrentIndex(QModelIndex())
            else:
                self.selectRow(line)
        finally:
            self._quiet = False
        if line is not None:
            self.scrollTo(self._model.index(line, 0))

    def choose(self, row: int) -> None:
        """Select a row as a click does."""
        if self.row == row:
            self.row_chosen.emit(row)
        else:
            self.selectRow(self._model.lines[row])

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

    def keyPressEvent(self, event: Any) -> None:
        """Copy by the usual keys."""
        if event.matches(QKeySequence.StandardKey.Copy):
            self.copy()
        else:
            super().keyPressEvent(event)

    def contextMenuEvent(self, event: Any) -> None:
        """Offer to copy."""
        menu = QMenu(self)
        menu.addAction("Copy for a spreadsheet", self.copy)
        menu.exec(event.globalPos())

    def mouseReleaseEvent(self, event: Any) -> None:
        """Lead to a row that is selected already once more."""
        before = self.row
        index = self.indexAt(event.pos())
        super().mouseReleaseEvent(event)
        if index.isValid() and self._again and before == self._model.order[index.row()]:
            self.row_chosen.emit(before)

    def mousePressEvent(self, event: Any) -> None:
        """Note whether a click changes the row."""
        index, before = self.indexAt(event.pos()), self.currentIndex()
        self._again = index.isValid() and before.isValid() and index.row() == before.row()
        super().mousePressEvent(event)

    def _chosen(self, index: QModelIndex, _before: QModelIndex) -> None:
        if index.isValid() and not self._quiet:
            self.row_chosen.emit(self._model.order[index.row()])


def write_csv(path: Path | str, columns: Sequence[Column], rows: Iterable[Row]) -> None:
    """Write rows as a CSV file that spreadsheets open; raises `OutputError` where it cannot be.

    A file that is there is replaced if it is a table by its name; another one is refused.
    """
    path = Path(path)
    if path.exists() and path.suffix.lower() not in _TABLES:
        raise OutputError(
            f"{path} is there already and is no table; it would be overwritten. Choose a name that ends "
            "with .csv."
        )
    make_folder(path.parent)
    with atomic_write(path) as partial, partial.open("w", newline="", encoding="utf-8-sig") as file:
        _write(file, columns, rows)


def _write(file: Any, columns: Sequence[Column], rows: Iterable[Row], delimiter: str = ",") -> None:
    writer = csv.writer(file, delimiter=delimiter, lineterminator="\n")
    writer.writerow([column.csv_title for column in columns])
    writer.writerows([_plain(value) for value in row] for row in rows)


def _plain(value: Any) -> Any:
    if value is None:
        return ""
    return f"{value:.7g}" if isinstance(value, float) else value


def _written(value: Any, digits: int) -> str:
    if value is None:
        return "–"
    return f"{value:.{digits}f}" if isinstance(value, float) else str(value)


def _key(value: Any) -> tuple[bool, Any]:
    return isinstance(value, str), value
