"""The table of classes: number, colour and name; a click chooses what the brush paints."""

from __future__ import annotations

from typing import Any

from qtpy.QtCore import Qt, Signal
from qtpy.QtGui import QColor
from qtpy.QtWidgets import (
    QColorDialog,
    QHBoxLayout,
    QHeaderView,
    QPushButton,
    QTableWidget,
    QTableWidgetItem,
    QVBoxLayout,
)

from napari_jnet.labels import LabelKind
from napari_jnet.plugin.layers.add import CLASS_COLOURS, annotation_options, default_legend
from napari_jnet.plugin.layers.edit import hold_labels
from napari_jnet.plugin.pages.section import AnnotatePart
from napari_jnet.plugin.workspace import Lifetime, Workspace

Legend = tuple[tuple[str, str], ...]


NUMBER, COLOUR, NAME = range(3)


class ClassTable(AnnotatePart):
    """Names and colours of the classes of the annotation; hidden where cells are numbered.

    Parameters
    ----------
    workspace
        Of the viewer; its frame table is read, its annotation layer gets the names and colours.
    lifetime
        Ends the listening.
    """

    chosen = Signal(int)  # the number to paint with

    def __init__(self, workspace: Workspace, lifetime: Lifetime) -> None:
        super().__init__(workspace, lifetime)
        self.table = QTableWidget(0, 3)
        self.table.setHorizontalHeaderLabels(["No.", "Colour", "Name (double click to change)"])
        self.table.setSelectionBehavior(QTableWidget.SelectionBehavior.SelectRows)
        self.table.setSelectionMode(QTableWidget.SelectionMode.SingleSelection)
        self.table.setMaximumHeight(130)
        rows, columns = self.table.verticalHeader(), self.table.horizontalHeader()
        assert rows is not None and columns is not None
        rows.hide()
        columns.setSectionResizeMode(NAME, QHeaderView.ResizeMode.Stretch)
        columns.resizeSection(NUMBER, 40)
        columns.resizeSection(COLOUR, 60)
        self.table.cellClicked.connect(self._click)
        self.table.cellDoubleClicked.connect(self._double_click)
        self.table.itemChanged.connect(self._renamed)
        self.add_button = QPushButton("Add class")
        self.add_button.clicked.connect(lambda: self.attempt(self.add))
        self.add_button.setToolTip("One more class, with the next number.")
        self.remove_button = QPushButton("Remove unused")
        self.remove_button.setToolTip(
            "Remove the last classes as far as nothing is painted in them."
        )
        self.remove_button.clicked.connect(lambda: self.attempt(self.remove_unused))
        buttons = QHBoxLayout()
        buttons.addWidget(self.add_button)
        buttons.addWidget(self.remove_button)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.addWidget(self.table)
        column.addLayout(buttons)
        self._layer: Any | None = None
        lifetime.connect(self._frames.changed, self._follow)
        lifetime.at_end(self._leave)
        self._follow()

    @property
    def legend(self) -> Legend:
        """(name, "#rrggbb") of each number from 0 of the annotation."""
        return self._frames.legend or default_legend(self._frames.kind)

    def set_legend(self, legend: Legend) -> None:
        """Give the annotation these names and colours, of each number from 0.

        Raises
        ------
        ValueError
            If there is no annotation of classes or scribbles, or a name is empty or there twice.
        """
        layer, kind = self._frames.layer, self._frames.kind
        if layer is None or kind is LabelKind.INSTANCES:
            raise ValueError(
                "Cells have no classes; choose classes or scribbles as the kind first."
            )
        names = [name.strip() for name, _ in legend]
        for name in names:
            if not name or names.count(name) > 1:
                problem = f"{name!r} is there twice" if name else "a name is empty"
                raise ValueError(f"{problem}; each class needs a name of its own.")
        legend = tuple((n, colour) for n, (_, colour) in zip(names, legend, strict=True))
        options = annotation_options(kind, legend)
        layer.features = options["features"]
        layer.colormap = options["colormap"]
        self._fill()
        self._frames.kind_changed.emit(kind)  # whoever keeps or shows the names hears of it

    def add(self, name: str = "") -> int:
        """Add a class and return its number; it is what the brush paints next."""
        number = len(self.legend)
        colour = CLASS_COLOURS[(number - self._first) % len(CLASS_COLOURS)]
        self.set_legend((*self.legend, (name or self._new_name(), colour)))
        self.choose(number)
        return number

    def rename(self, number: int, name: str) -> None:
        """Name a class; raises `ValueError` for an empty name or one that is there already."""
        legend = list(self.legend)
        legend[number] = (name, legend[number][1])
        self.set_legend(tuple(legend))

    def recolour(self, number: int, colour: str) -> None:
        """Give a class another colour, "#rrggbb"."""
        legend = list(self.legend)
        legend[number] = (legend[number][0], colour)
        self.set_legend(tuple(legend))

    def remove_unused(self) -> int:
        """Remove the last classes as far as no frame has them, and return how many."""
        legend = self.legend
        used = len(self._frames.totals.pixels)
        shift = 1 if self._frames.kind is LabelKind.SCRIBBLES else 0
        kept = max(used + shift, self._first + 1)
        if kept < len(legend):
            self.set_legend(legend[:kept])
        return max(0, len(legend) - kept)

    def choose(self, number: int) -> None:
        """Paint with this class from now on."""
        if self._frames.layer is not None:
            hold_labels(self._frames.layer, 0, number)
            self._frames.layer.selected_label = number
            self.chosen.emit(number)

    @property
    def _first(self) -> int:
        """The first number that is not background; it cannot be removed."""
        return 2 if self._frames.kind is LabelKind.SCRIBBLES else 1

    def _new_name(self) -> str:
        names = {name for name, _ in self.legend}
        numbers = range(len(self.legend), 10_000)  # the number that it is painted with
        return next(f"class {n}" for n in numbers if f"class {n}" not in names)

    def _name_of(self, number: int) -> str:
        legend = self.legend
        return legend[number][0] if number < len(legend) else ""

    # following

    def _follow(self, _event: Any = None) -> None:
        shown = self._frames.layer is not None and self._frames.kind is not LabelKind.INSTANCES
        self.setVisible(shown)
        if self._frames.layer is not self._layer:
            self._leave()
            self._layer = self._frames.layer
            if self._layer is not None:
                self._layer.events.selected_label.connect(self._mark_chosen)
        if shown:
            self._fill()

    def _leave(self) -> None:
        if self._layer is not None:
            self._layer.events.selected_label.disconnect(self._mark_chosen)
            self._layer = None

    def _fill(self) -> None:
        """Write the rows; the number 0 is a row where it is a class that can be painted."""
        legend = self.legend
        rows = [(n, *entry) for n, entry in enumerate(legend)]
        if self._frames.kind is LabelKind.SCRIBBLES:
            rows = rows[1:]  # 0 is not painted
        table = self.table
        now = [tuple(self._row(r)) for r in range(table.rowCount())]
        if now != rows:
            table.blockSignals(True)
            table.setRowCount(len(rows))
            for row, (number, name, colour) in enumerate(rows):
                self._write(row, number, name, colour)
            table.blockSignals(False)
        self._mark_chosen()

    def _row(self, row: int) -> tuple[int, str, str]:
        items = [self.table.item(row, column) for column in (NUMBER, NAME, COLOUR)]
        values: list[Any] = [item.data(Qt.ItemDataRole.UserRole) if item else "" for item in items]
        return values[0], values[1], values[2]

    def _write(self, row: int, number: int, name: str, colour: str) -> None:
        plain = Qt.ItemFlag.ItemIsEnabled | Qt.ItemFlag.ItemIsSelectable
        fixed = number == self._first - 1  # background
        values = {NUMBER: (str(number), number), COLOUR: ("", colour), NAME: (name, name)}
        for column, (text, value) in values.items():
            item = QTableWidgetItem(text)
            item.setData(Qt.ItemDataRole.UserRole, value)
            can_edit = column == NAME and not fixed
            item.setFlags(plain | Qt.ItemFlag.ItemIsEditable if can_edit else plain)
            if column == COLOUR and (number or not fixed):
                item.setData(Qt.ItemDataRole.DecorationRole, QColor(colour))
                item.setToolTip("Double click to change the colour.")
            self.table.setItem(row, column, item)

    def _mark_chosen(self, _event: Any = None) -> None:
        if self._frames.layer is None:
            return
        chosen = self._frames.layer.selected_label
        there = [r for r in range(self.table.rowCount()) if self._row(r)[0] == chosen]
        self.table.blockSignals(True)
        if there:
            self.table.selectRow(there[0])
        else:
            self.table.clearSelection()
        self.table.blockSignals(False)

    # clicks

    def _click(self, row: int, _column: int) -> None:
        self.choose(self._row(row)[0])

    def _double_click(self, row: int, column: int) -> None:
        number, name, colour = self._row(row)
        if column != COLOUR or number == 0:
            return
        chosen = QColorDialog.getColor(QColor(colour), self, f"Colour of {name}")
        if chosen.isValid():
            self.attempt(lambda: self.recolour(number, chosen.name()))

    def _renamed(self, item: QTableWidgetItem) -> None:
        if item.column() != NAME:
            return
        number, before, _ = self._row(item.row())
        self.attempt(lambda: self.rename(number, item.text()))
        if self._name_of(number) == before:
            self.table.blockSignals(True)
            item.setText(before)
            self.table.blockSignals(False)
