"""The table of results: order, both ways of choosing a row, what is copied and saved."""

import csv

import pytest

pytest.importorskip("napari")

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QApplication

from napari_jnet.files import OutputError
from napari_jnet.plugin.ui.table import ResultTable

COLUMNS = {"frame": "its number", "SEG": "", "role": "", "empty": ""}
ROWS = [
    (2, 0.5, "training", None),
    (5, None, "", None),
    (7, 0.25, "validation", None),
    ("all", 0.375, "", None),
]


@pytest.fixture
def table(qtbot):
    table = ResultTable(digits=2)
    qtbot.addWidget(table)
    table.resize(300, 200)
    table.set_rows(COLUMNS, ROWS)
    table.show()
    return table


def shown(table, column=0):
    model = table.model()
    return [model.index(line, column).data() for line in range(model.rowCount())]


def click(qtbot, table, line, column=0):
    where = table.visualRect(table.model().index(line, column)).center()
    qtbot.mouseClick(table.viewport(), Qt.LeftButton, pos=where)


def test_sorted_by_value_with_unknown_last(table):
    assert shown(table) == ["2", "5", "7", "all"]
    table.sortByColumn(1, Qt.AscendingOrder)
    assert shown(table, 1) == ["0.25", "0.38", "0.50", "–"]
    table.sortByColumn(1, Qt.DescendingOrder)
    assert shown(table, 1) == ["0.50", "0.38", "0.25", "–"]
    table.sortByColumn(2, Qt.AscendingOrder)
    assert shown(table, 2) == ["", "", "training", "validation"]


def test_a_click_names_the_row_as_it_was_given(qtbot, table):
    table.sortByColumn(1, Qt.AscendingOrder)
    with qtbot.waitSignal(table.row_chosen) as signal:
        click(qtbot, table, 0)
    assert signal.args == [2] and table.row == 2
    with qtbot.waitSignal(table.row_chosen) as signal:
        click(qtbot, table, 0)  # once more leads there once more
    assert signal.args == [2]
    chosen = []
    table.row_chosen.connect(chosen.append)
    qtbot.keyClick(table, Qt.Key_Down)
    assert chosen == [3]
    table.choose(2)
    table.choose(2)
    assert chosen == [3, 2, 2]


def test_shown_is_not_chosen(qtbot, table):
    table.sortByColumn(1, Qt.DescendingOrder)
    with qtbot.assertNotEmitted(table.row_chosen):
        table.show_row(2)
        assert table.row == 2
        table.show_row(None)
        assert table.row is None
        table.show_row(99)
    assert table.selectionModel().selectedRows() == []


def test_the_selection_stays_with_its_row_when_sorted(table):
    table.show_row(0)
    table.sortByColumn(1, Qt.AscendingOrder)
    assert table.row == 0 and table.currentIndex().row() == 2


def test_other_rows_come_as_they_are_and_empty_columns_are_hidden(table):
    table.sortByColumn(1, Qt.AscendingOrder)
    table.set_rows(COLUMNS, ROWS[:2])
    assert shown(table) == ["2", "5"]
    assert [table.isColumnHidden(n) for n in range(4)] == [False, False, False, True]
    table.set_rows({"frame": ""}, [(9,)])
    assert table.columns == ("frame",) and not table.isColumnHidden(0)


def test_copied_for_a_spreadsheet(qtbot, table):
    qtbot.keyClick(table, Qt.Key_C, Qt.ControlModifier)
    lines = QApplication.clipboard().text().splitlines()
    assert lines[0] == "frame\tSEG\trole\tempty"
    assert lines[2] == "5\t\t\t"
    assert len(lines) == 5
    table.selectRow(0)
    click_with_shift = table.visualRect(table.model().index(1, 0)).center()
    qtbot.mouseClick(table.viewport(), Qt.LeftButton, Qt.ShiftModifier, click_with_shift)
    table.copy()
    assert len(QApplication.clipboard().text().splitlines()) == 3


def test_saved_whole_or_refused_in_words(tmp_path, table):
    table.sortByColumn(1, Qt.AscendingOrder)
    table.save(tmp_path / "new" / "scores")
    with (tmp_path / "new" / "scores.csv").open(encoding="utf-8-sig", newline="") as file:
        rows = list(csv.reader(file))
    assert rows[0] == ["frame", "SEG", "role", "empty"]
    assert rows[1:3] == [["2", "0.5", "training", ""], ["5", "", "", ""]]
    with pytest.raises(OutputError, match=r"scores\.csv exists already"):
        table.save(tmp_path / "new" / "scores")  # the dialog asked about "scores"
    table.save(tmp_path / "new" / "scores.csv")
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="a file is where"):
        table.save(tmp_path / "file" / "scores.csv")
    (tmp_path / "t000.tif").write_bytes(b"an image")
    assert table.save(tmp_path / "t000.tif") == tmp_path / "t000.tif.csv"
    assert (tmp_path / "t000.tif").read_bytes() == b"an image"
