"""Measure: values, both ways of the link, files, and every refusal."""

import csv

import numpy as np
import pytest

pytest.importorskip("napari")

from qtpy.QtCore import Qt

from napari_jnet.measure import measure_frame
from napari_jnet.plugin.open_workspace import open_workspace
from napari_jnet.plugin.pages.measure import MeasureWidget

TIMEOUT = 30_000


@pytest.fixture
def viewer(viewer_model):
    """Return a viewer without a window, which is faster."""
    return viewer_model


@pytest.fixture
def widget(qtbot, viewer):
    widget = MeasureWidget(viewer)
    qtbot.addWidget(widget)
    widget.show()
    return widget


def measure(qtbot, widget, button):
    assert button.isEnabled()
    with qtbot.waitSignal(widget.finished, timeout=TIMEOUT) as signal:
        qtbot.mouseClick(button, Qt.LeftButton)
    assert button.isEnabled()
    return signal.args[0]


def titles(widget):
    return list(widget.table.columns)


def test_all_frames_in_the_units_of_the_layer(qtbot, viewer, widget):
    assert measure(qtbot, widget, widget.all_button) == "done"
    truth, movie = (np.asarray(viewer.layers[name].data) for name in ("truth", "movie"))
    expected = [
        m for n in range(4) for m in measure_frame(truth[n], movie[n], number=n, scale=(3, 3))
    ]
    assert [m for _, m in widget.measured] == expected
    assert titles(widget)[2:5] == ["area (µm²)", "diameter (µm)", "perimeter (µm)"]
    first = widget.table.rows[0]
    assert first[:3] == (0, 1, expected[0].area) and first[2] == 9 * (truth[0] == 1).sum()
    assert first[5] == pytest.approx(movie[0][truth[0] == 1].mean())
    assert f"{len(expected)} cells in 4 frames" in widget.message.text


def test_this_frame(qtbot, viewer, widget):
    viewer.dims.set_current_step(0, 2)
    measure(qtbot, widget, widget.frame_button)
    assert {position for position, _ in widget.measured} == {2}


def test_a_row_selects_the_cell_and_a_cell_its_row(qtbot, viewer, widget):
    measure(qtbot, widget, widget.all_button)
    layer = viewer.layers["truth"]
    row = next(n for n, (p, m) in enumerate(widget.measured) if p == 3 and m.label == 4)
    widget.table.choose(row)
    assert viewer.dims.current_step[0] == 3
    assert layer.selected_label == 4
    assert viewer.layers.selection.active.name == "truth"
    centre = np.array(widget.measured[row][1].centroid)
    np.testing.assert_allclose(viewer.scene.camera.center[-2:], centre)
    assert open_workspace(viewer).measured == len(widget.measured)
    widget.table.choose(row)
    widget.table.sortByColumn(2, Qt.DescendingOrder)
    layer.selected_label = 5
    assert widget.measured[widget.table.row][0] == 3
    assert widget.measured[widget.table.row][1].label == 5
    viewer.dims.set_current_step(0, 1)
    layer.selected_label = 2
    assert widget.measured[widget.table.row][0] == 1
    layer.selected_label = 77
    assert widget.table.row is None
    assert viewer.dims.current_step[0] == 1


class Unsearched(list):
    """A list that is not gone through."""

    def __iter__(self):
        raise AssertionError("all cells of the film are looked at for those of one frame")


def test_a_frame_and_a_cell_are_found_without_a_search(qtbot, viewer, widget):
    measure(qtbot, widget, widget.all_button)
    layer, widget.measured = viewer.layers["truth"], Unsearched(widget.measured)
    viewer.dims.set_current_step(0, 2)
    first = next(n for n, row in enumerate(widget.table.rows) if row[0] == 2)
    assert list(layer.features["area (µm²)"][1:2]) == [widget.table.rows[first][2]]
    layer.selected_label = 2
    assert widget.table.row == first + 1


def test_pixels_where_there_is_no_unit(qtbot, viewer, widget):
    plane = viewer.add_labels(np.asarray(viewer.layers["truth"].data[0]).copy(), name="plane")
    widget.cells_choice.set_layer(plane)
    measure(qtbot, widget, widget.all_button)
    assert titles(widget)[2] == "area (px)"
    assert "different sizes" in widget.message.text
    assert widget.table.isColumnHidden(5)
    widget.table.choose(1)
    assert plane.selected_label == widget.measured[1][1].label


def test_saved_with_units_in_the_titles(qtbot, tmp_path, viewer, widget):
    assert not widget.save_button.isEnabled()
    measure(qtbot, widget, widget.all_button)
    widget.save(tmp_path / "cells")
    with (tmp_path / "cells.csv").open(encoding="utf-8-sig", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == len(widget.measured)
    first = widget.measured[0][1]
    assert float(rows[0]["area (µm²)"]) == first.area
    assert float(rows[0]["y (px)"]) == pytest.approx(first.centroid_px[0], rel=1e-6)
    assert float(rows[0]["x (µm)"]) == pytest.approx(first.centroid[1], rel=1e-6)
    assert (rows[0]["frame"], rows[0]["cell"]) == ("0", "1")


def test_a_volume(qtbot, viewer, widget):
    viewer.layers.clear()
    volume = np.zeros((2, 6, 20, 20), np.int32)
    volume[1, 1:5, 4:12, 4:12] = 3
    viewer.add_labels(volume, name="volume", scale=(1, 2, 1, 1), units=("s", "um", "um", "um"))
    measure(qtbot, widget, widget.all_button)
    assert titles(widget)[2] == "volume (µm³)" and titles(widget)[-3:] == [
        "z (µm)", "y (µm)", "x (µm)",
    ]  # fmt: skip
    assert widget.table.rows[0][:3] == (1, 3, 2 * 4 * 8 * 8)
    widget.table.choose(0)
    assert viewer.dims.current_step[:2] == (1, 2)


def test_what_changed_since_is_said(qtbot, viewer, widget):
    measure(qtbot, widget, widget.all_button)
    viewer.layers["truth"].data_setitem((np.array([0]), np.array([3]), np.array([3])), 9)
    assert "changed since" in widget.message.text


def test_nothing_to_measure(qtbot, viewer, widget):
    viewer.layers["truth"].data[:] = 0
    assert measure(qtbot, widget, widget.all_button) == "done"
    assert "0 cells" in widget.message.text
    viewer.layers.remove("truth")
    assert measure(qtbot, widget, widget.all_button) == "failed"
    assert "no labels to measure" in widget.message.text


def test_a_layer_that_is_gone_leads_nowhere(qtbot, viewer, widget):
    measure(qtbot, widget, widget.all_button)
    viewer.layers.remove("truth")
    viewer.dims.set_current_step(0, 0)
    widget.table.choose(len(widget.measured) - 1)
    assert viewer.dims.current_step[0] == 0


def test_the_frame_that_is_shown_is_in_the_features(qtbot, viewer, widget):
    layer = viewer.layers["truth"]
    layer.features = {"index": [0, 1, 2], "class": ["background", "round", "long"]}
    viewer.dims.set_current_step(0, 3)
    measure(qtbot, widget, widget.all_button)
    for position in (3, 1):
        viewer.dims.set_current_step(0, position)
        features = layer.features
        # napari's table takes the number of a row for the label
        assert list(features["index"]) == list(range(len(features)))
        for found in (m for p, m in widget.measured if p == position):
            assert features["area (µm²)"][found.label] == found.area
        assert list(features["class"][:3]) == ["background", "round", "long"]
        assert list(layer.features["class"][3:].dropna()) == []
