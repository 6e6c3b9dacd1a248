"""Going through predicted cells: the least sure first, once, and what the project remembers of it."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest

pytest.importorskip("napari")
pytest.importorskip("pytestqt")

from napari_jnet.events import FramePrediction
from napari_jnet.plugin.layers.add import add_results
from napari_jnet.plugin.layers.read import image_stack
from napari_jnet.plugin.open_workspace import open_workspace
from napari_jnet.plugin.pages.predict import PredictWidget

SURE = {0: (0.9, 0.4), 1: (0.2, np.nan), 3: (0.6, 0.3)}  # position -> confidence of cells 1 and 2


def frame(position: int, sure: tuple[float, ...]) -> FramePrediction:
    cells = np.zeros((64, 64), np.int32)
    cells[5:15, 5:15], cells[40:50, 40:50] = 1, 2
    maps = (cells > 0).astype(np.float32)
    given = np.array(sure, np.float32)
    return FramePrediction(position, position, len(SURE), maps, maps, cells, confidence=given)


@pytest.fixture
def state(viewer_model):
    viewer_model.layers.remove("truth")
    return open_workspace(viewer_model)


@pytest.fixture
def page(state, qtbot):
    page = PredictWidget(state.viewer)
    qtbot.addWidget(page)
    results = add_results(state.viewer, None, state.image, image_stack(state.image), 5.0, "model")
    for position, sure in SURE.items():
        results.write(frame(position, sure), 0.5)
    state.prediction = results
    return page


def visit(state, page) -> tuple[int, int] | None:
    """Press Next cell; return the frame that is shown and the cell that is selected."""
    before = page.message.text
    assert state.commands.run("next_cell")
    assert not page.message.is_error
    if "looked at" in page.message.text and page.message.text != before:
        return None
    assert state.viewer.layers.selection.active is state.prediction.cells
    return state.prediction.shown(), state.prediction.cells.selected_label


def test_the_least_sure_cell_of_all_frames_comes_first_and_each_once(state, page):
    assert [visit(state, page) for _ in range(6)] == [(1, 1), (3, 2), (0, 2), (3, 1), (0, 1), None]
    assert "5 cells looked at" in page.message.text


def test_the_cell_is_in_the_middle_and_its_confidence_is_said(state, page):
    visit(state, page)
    assert page.message.text == "t001, cell 1: confidence 0.20."
    at = state.prediction.cells.data_to_world((1, 9.5, 9.5))
    np.testing.assert_allclose(state.viewer.scene.camera.center[-2:], at[-2:], atol=3)


def test_back_is_to_the_cell_before_which_comes_next_again(state, page):
    assert [visit(state, page) for _ in range(3)][-1] == (0, 2)
    page.review_bar.back()
    assert (state.prediction.shown(), state.prediction.cells.selected_label) == (3, 2)
    assert visit(state, page) == (0, 2)
    for _ in range(3):
        page.review_bar.back()
    assert page.message.text == "There is no cell before."


def test_cells_of_other_thresholds_are_the_same_where_they_lie(state, page):
    assert visit(state, page) == (1, 1)
    cells = np.where(state.prediction.cells.data[1] > 0, 3 - state.prediction.cells.data[1], 0)
    state.prediction.write_cells(1, cells, 0.5, np.array([0.1, 0.2], np.float32))
    assert visit(state, page) == (1, 1)  # which is the cell that was 2
    assert visit(state, page) == (3, 2)


def test_annotated_cells_are_done(state, page):
    state.new_annotation()
    state.frames.wait()
    layer = state.annotation
    layer.data_setitem(tuple(a.ravel() for a in np.mgrid[3:4, 38:52, 38:52]), 7)
    assert visit(state, page) == (1, 1)
    assert visit(state, page) == (0, 2)  # the frame 3 is annotated: its background too


@pytest.mark.parametrize("label", [3, 2**31 - 1])
def test_cells_painted_by_hand_are_passed_over_whatever_their_number(state, page, label):
    state.prediction.cells.data[1, 30, 30] = label
    tracemalloc.start()
    visited = [visit(state, page) for _ in range(6)]
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert visited == [(1, 1), (3, 2), (0, 2), (3, 1), (0, 1), None]
    assert peak < 100e6


def test_without_a_prediction_it_says_what_to_do(state, qtbot):
    page = PredictWidget(state.viewer)
    qtbot.addWidget(page)
    assert state.commands.run("next_cell")
    assert page.message.is_error and "press Predict" in page.message.text


def project_with_a_stroke(state):
    state.new_annotation()
    state.annotation.paint((2, 60, 60), 1)  # in a frame that is not predicted
    assert state.autosave.flush()
    return state.project


def test_the_project_remembers_what_was_looked_at_and_the_sliders(state, page, qtbot):
    visit(state, page)  # before there is a project
    project = project_with_a_stroke(state)
    visit(state, page)
    page.separation.set({"instances.min_confidence": 0.35})
    qtbot.waitUntil(lambda: page.separation.touched and not page.resegmentation.running)
    qtbot.waitUntil(lambda: project.instances is not None)
    assert state.autosave.flush()
    again = type(project).open(project.path)
    assert [cell[0] for cell in again.looked_at] == [1, 3]
    assert again.instances.min_confidence == 0.35


def test_it_is_restored_with_the_project(state, page, qtbot):
    project = project_with_a_stroke(state)
    project.set_looked_at([(1, 9, 9)])
    project.set_instances(page.separation.config.instances.changed(min_size=3))
    state.project = None
    other = PredictWidget(state.viewer)
    qtbot.addWidget(other)
    state.project = project
    assert other.review_bar.review.looked_at == [(1, 9, 9)]
    assert other.separation.config.instances.min_size == 3


def test_another_model_has_other_cells(state, page, tmp_path):
    project = project_with_a_stroke(state)
    models = [tmp_path / name for name in ("a.pt", "b.pt")]
    for model in models:
        model.touch()
    state.choose_model(models[0])
    visit(state, page)
    assert state.autosave.flush()
    assert len(project.looked_at) == 1
    state.choose_model(models[1])
    assert state.autosave.flush()
    assert project.looked_at == () and page.review_bar.review.looked_at == []


def color(layer, label: int) -> tuple[float, ...]:
    return tuple(np.ravel(layer.colormap.map(label)).tolist())


def test_the_colour_of_a_cell_is_its_confidence(state, page):
    cells = state.prediction.cells
    state.viewer.dims.set_point(0, 0)
    own = [color(cells, label) for label in (0, 1, 2, 300)]
    page.review_bar.color_check.setChecked(True)
    assert "cells: their confidence" in page.legend.text()
    sure, unsure = color(cells, 1), color(cells, 2)
    assert sure[2] > sure[0] and unsure[0] > unsure[2]  # blue and red
    assert color(cells, 0)[3] == 0 and color(cells, 3)[2] > color(cells, 3)[0]  # painted later
    state.viewer.dims.set_point(0, 3)
    assert color(cells, 1) != sure
    state.viewer.dims.set_point(0, 0)
    state.prediction.write_cells(0, cells.data[0], 0.5, np.array([0.1, 0.9], np.float32))
    assert color(cells, 1)[0] > color(cells, 1)[2]
    page.review_bar.color_check.setChecked(False)
    assert [color(cells, label) for label in (0, 1, 2, 300)] == own
    assert "its own colour" in page.legend.text()


def test_cells_of_a_region_keep_the_confidence_of_the_others(state, page):
    results = state.prediction
    part = frame(0, (0.7,))
    region = (slice(38, 52), slice(38, 52))
    cut = {name: getattr(part, name)[region] for name in ("segmentation", "distance")}
    cells = (part.instances[region] > 0).astype(np.int32)
    results.write(
        FramePrediction(0, 0, 1, **cut, instances=cells, region=region, confidence=part.confidence),
        0.5,
    )
    labels = results.cells.data[0]
    assert results.confidence[0][labels[9, 9] - 1] == np.float32(0.9)
    assert results.confidence[0][labels[45, 45] - 1] == np.float32(0.7)
    assert results.prediction(0).confidence is results.confidence[0]


def test_cells_whose_layer_was_removed_are_not_gone_through(state, page):
    state.viewer.layers.remove(state.prediction.cells)
    for button in (page.review_bar.next_button, page.review_bar.back_button):
        button.click()
        assert page.message.is_error and "press Predict again" in page.message.text


def test_where_no_cell_is_predicted_that_is_said(state, page):
    for position in SURE:
        maps = np.zeros((64, 64), np.float32)
        empty = FramePrediction(
            position, position, 3, maps, maps, maps.astype(int), confidence=np.zeros(0, np.float32)
        )
        state.prediction.write(empty, 0.5)
    page.review_bar.next_cell()
    assert page.message.text == "No cell is predicted in these frames."
