"""Every labels layer that somebody paints on is saved, or the window says that it is not."""

import shutil
import sys

import numpy as np
import pytest
import tifffile

pytest.importorskip("napari")

from napari.components import ViewerModel

from napari_jnet.events import FramePrediction
from napari_jnet.labels import UNKNOWN, LabelKind
from napari_jnet.plugin.guidance import workflow_state
from napari_jnet.plugin.jobs.train import LiveAnnotations
from napari_jnet.plugin.layers.add import add_results
from napari_jnet.plugin.layers.read import image_stack
from napari_jnet.plugin.layers.watch import free_number
from napari_jnet.plugin.open_workspace import open_workspace
from napari_jnet.plugin.pages.correct import corrections_of
from napari_jnet.plugin.ui.widgets import LayerCombo
from napari_jnet.plugin.workspace import Lifetime
from napari_jnet.project.project import Project


@pytest.fixture
def work(qapp):
    """Return a session with an image of four frames, and its annotation, which is chosen."""
    viewer = ViewerModel()
    movie = np.random.default_rng(0).integers(0, 99, (4, 32, 32), np.uint8)
    viewer.add_image(movie, name="movie")
    layer = viewer.add_labels(np.zeros((4, 32, 32), np.int32), name="annotation")
    state = open_workspace(viewer)
    state.choose("annotation", layer)
    yield state, layer
    state.autosave.flush()


def saved(state, layer):
    """Return the project that holds the frames of a layer as they are."""
    found = [
        project
        for project in state.autosave.projects
        if project.annotated
        and all(np.array_equal(project.read_frame(n), layer.data[n]) for n in project.annotated)
    ]
    assert len(found) == 1, f"{layer.name} is in {len(found)} projects"
    return found[0]


def test_a_second_layer_is_saved_while_the_first_is_chosen(work):
    state, layer = work
    layer.paint((0, 9, 9), 1)
    other = state.viewer.add_labels(np.zeros((4, 32, 32), np.uint8), name="mine")
    assert state.annotation is layer
    other.paint((2, 20, 20), 3)
    assert not state.saving.saved
    assert state.autosave.flush()
    assert saved(state, other).annotated == (2,)
    assert saved(state, layer).annotated == (0,)
    assert "'mine'" in state.saving.text
    assert saved(state, other).path.name in state.saving.text
    other.undo()
    assert state.autosave.flush()
    assert Project.open(state.autosave.projects[-1].path).annotated == ()


def test_layers_of_any_origin_are_saved(work):
    state, _ = work
    viewer = state.viewer
    for number, dtype in enumerate((np.uint16, np.int64, bool), start=1):
        layer = viewer.add_labels(np.zeros((4, 32, 32), dtype), name=f"from elsewhere {number}")
        layer.paint((number, 20, 20), 1)
        layer.name = "renamed"
        assert state.autosave.flush(), state.saving.text
        assert saved(state, layer).annotated == (number,)


class OnDisk:
    """Labels that are no numpy array, such as those of zarr, but can be painted on."""

    def __init__(self, array):
        self._array = array
        self.shape, self.dtype, self.ndim = array.shape, array.dtype, array.ndim
        self.size, self.nbytes = array.size, array.nbytes

    def __getitem__(self, index):
        return self._array[index].copy()

    def __setitem__(self, index, value):
        self._array[index] = value

    def __array__(self, dtype=None, copy=None):
        return np.array(self._array, dtype)


@pytest.mark.parametrize("chosen", [True, False])
def test_labels_that_are_not_in_memory_are_saved_also_undone(work, chosen):
    state, _ = work
    layer = state.viewer.add_labels(OnDisk(np.zeros((4, 32, 32), np.int32)), name="on disk")
    if chosen:
        state.choose("annotation", layer)
    layer.data_setitem((np.array([1]), np.array([5]), np.array([5])), 3)
    layer.data_setitem((np.array([2]), np.array([5]), np.array([5])), 4)
    assert state.autosave.flush(), state.saving.text
    assert saved(state, layer).annotated == (1, 2)
    state.frames.wait()
    layer.undo()
    state.frames.wait()
    assert state.autosave.flush()
    assert saved(state, layer).annotated == (1,)


def test_an_annotation_that_is_left_is_still_watched(work):
    state, layer = work
    layer.paint((1, 9, 9), 1)
    other = state.viewer.add_labels(np.zeros((4, 32, 32), np.int32), name="next")
    state.choose("annotation", other)
    layer.paint((3, 9, 9), 2)
    layer.undo()
    layer.undo()
    layer.redo()
    assert state.autosave.flush()
    assert saved(state, layer).annotated == (1,)


def test_a_layer_that_is_removed_at_once_is_saved(work):
    state, _ = work
    other = state.viewer.add_labels(np.zeros((4, 32, 32), np.int32), name="short lived")
    other.paint((2, 20, 20), 3)
    state.viewer.layers.remove(other)
    assert state.autosave.flush()
    assert saved(state, other).annotated == (2,)


def test_frames_of_labels_that_are_replaced_at_once_have_a_role(work):
    state, layer = work
    layer.paint((0, 9, 9), 1)
    layer.data = np.zeros((2, 32, 32), np.int32)
    assert state.autosave.flush()
    (project,) = state.autosave.projects
    assert project.annotated == (0,)
    assert dict(Project.open(project.path).roles) == {0: "training"}


def test_a_backup_of_a_layer_never_writes_over_its_project(work):
    state, layer = work
    layer.paint((1, 9, 9), 1)
    assert state.autosave.flush()
    backup = type(layer).create(*layer.as_layer_data_tuple())  # as napari duplicates a layer
    backup.data = layer.data.copy()
    layer.paint((2, 9, 9), 1)
    state.viewer.layers.remove(layer)
    assert state.autosave.flush()
    state.viewer.layers.append(backup)
    backup.paint((3, 9, 9), 1)
    assert state.autosave.flush()
    assert saved(state, layer).annotated == (1, 2)
    assert saved(state, backup).annotated == (1, 3)
    state.viewer.layers.append(layer)
    layer.paint((3, 20, 20), 2)
    assert state.autosave.flush()
    assert saved(state, layer).annotated == (1, 2, 3), "a layer that comes back goes on"
    assert len(state.autosave.projects) == 2


def test_roles_go_with_their_layer(work):
    state, layer = work
    layer.paint((0, 9, 9), 1)
    state.frames.set_roles({0: "validation"})
    other = state.viewer.add_labels(np.zeros((4, 32, 32), np.int32), name="next")
    state.choose("annotation", other)
    layer.paint((1, 9, 9), 1)
    assert state.autosave.flush()
    assert saved(state, layer).role(0) == "validation"


def predict(state, *positions, model="model", before=None):
    """Return results of a prediction that found one cell in these frames."""
    cells = np.zeros((32, 32), np.int32)
    cells[4:9, 4:9] = 1
    maps = (cells > 0).astype(np.float32)
    results = add_results(
        state.viewer, before, state.image, image_stack(state.image), 5.0, model, positions
    )
    for position in positions:
        results.write(FramePrediction(position, position, 4, maps, maps, cells), 0.5)
    return results


def test_corrected_predictions_are_saved_and_others_are_not(work):
    state, _ = work
    results = predict(state, 0, 1, 2)
    assert state.autosave.flush()
    assert state.autosave.projects == (), "nobody has painted"
    results.cells.paint((1, 20, 20), 2)
    predict(state, 3, before=results)
    for _ in range(2):
        assert state.autosave.flush()
    state.autosave.wait()
    assert state.autosave.projects[0].open_stack().shape == (32, 32), "its image is kept too"
    project = saved(state, results.cells)
    assert project.annotated == (1,)
    assert project.role(1) == "training"
    assert "'cells'" in state.saving.text


def test_the_tools_correct_predicted_cells_for_good(work):
    state, _ = work
    state.viewer.layers.remove(state.annotation)
    results = predict(state, 0, 1)
    state.viewer.dims.set_point(0, 1)
    results.cells.paint((1, 20, 20), 2)
    tools = corrections_of(state)
    assert tools.correct("delete", [(1, 6, 6)])
    assert state.autosave.flush()
    assert set(np.unique(saved(state, results.cells).read_frame(1))) == {0, 2}
    results.cells.undo()
    assert state.autosave.flush()
    assert set(np.unique(saved(state, results.cells).read_frame(1))) == {0, 1, 2}


@pytest.mark.parametrize("name", ["cells", "segmentation"])
def test_a_prediction_that_was_painted_on_outlives_the_next(work, name):
    state, _ = work
    results = predict(state, 0, 1)
    layer = getattr(results, name)
    layer.paint((1, 20, 20), 1)
    painted = layer.data.copy()
    predict(state, 0, 1, model="another", before=results)
    assert layer in state.viewer.layers
    assert np.array_equal(layer.data, painted)
    state.viewer.layers.remove(layer)
    assert state.autosave.flush()
    kind = LabelKind.INSTANCES if name == "cells" else LabelKind.CLASSES
    assert saved(state, layer).kind is kind


def test_what_is_painted_while_a_prediction_runs_is_not_predicted_over(work):
    state, _ = work
    results = predict(state, 0)
    results.cells.paint((2, 20, 20), 9)
    painted = results.cells.data[2].copy()
    predict(state, 1, 3, before=results)
    cells = np.ones((32, 32), np.int32)
    results.write(FramePrediction(2, 2, 4, cells.astype(np.float32), cells, cells), 0.5)
    assert np.array_equal(results.cells.data[2], painted)
    assert results.maps(2)[0].all(), "what the network says of the frame is kept"
    assert state.autosave.flush()
    assert saved(state, results.cells).annotated == (2,)


def test_frames_whose_files_are_taken_away_are_saved_again(work):
    state, layer = work
    layer.paint((0, 9, 9), 1)
    layer.paint((1, 9, 9), 2)
    layer.undo()
    assert state.autosave.flush()
    shutil.rmtree(state.project.path / "annotations")
    layer.paint((2, 9, 9), 1)
    assert state.autosave.flush()
    assert saved(state, layer).annotated == (0, 2)


def test_a_training_hears_that_the_labels_mean_something_else_now(work):
    state, layer = work
    layer.paint((0, 9, 9), 1)
    layer.paint((0, 20, 20), 2)
    state.frames.wait()
    feed = LiveAnnotations(state)
    state.frames.set_kind("scribbles")
    layer.paint((1, 9, 9), 1)
    feed.copy()
    new = {frame.name[-4:]: frame for frame in feed.take()}["t001"]
    assert new.kind is LabelKind.CLASSES
    assert set(np.unique(new.labels)) == {UNKNOWN, 0}, "a stroke of background is no cell"


def test_corrected_cells_that_are_learned_from_are_saved_whole(work):
    state, _ = work
    results = predict(state, 0, 1, 2)
    results.cells.paint((1, 20, 20), 2)
    assert state.autosave.flush()
    state.choose("annotation", results.cells)
    state.autosave.ensure_project()
    state.autosave.wait()
    assert state.project.annotated == (0, 1, 2)


def test_a_layer_of_another_size_is_saved_with_the_image_it_fits(work):
    state, _ = work
    state.choose("image", state.image)
    state.viewer.add_image(np.zeros((3, 16, 16), np.uint8), name="small")
    layer = state.viewer.add_labels(np.zeros((3, 16, 16), np.int32))
    layer.paint((1, 5, 5), 1)
    assert state.autosave.flush()
    assert saved(state, layer).name == "small"


def test_what_fits_no_image_is_said_until_it_does(work):
    state, layer = work
    small = state.viewer.add_labels(np.zeros((3, 16, 16), np.int32), name="small")
    small.paint((1, 5, 5), 1)
    assert not state.autosave.flush()
    assert "not saved" in state.saving.text
    assert "'small'" in state.saving.text
    layer.paint((0, 9, 9), 1)
    assert not state.autosave.flush()
    assert saved(state, layer).annotated == (0,)
    assert "'small'" in state.saving.text, "what is not saved stays said"
    state.viewer.add_image(np.zeros((3, 16, 16), np.uint8), name="small image")
    assert state.autosave.flush()
    assert saved(state, small).annotated == (1,)


def test_labels_that_cannot_be_saved_keep_no_training_waiting(work):
    state, layer = work
    plane = state.viewer.add_labels(np.zeros((9, 9), np.int32), name="plane")
    plane.paint((5, 6), 2)
    layer.data[:, 3:6, 3:6] = 1
    made, failed = [], []
    state.autosave.ensure_project(made.append, failed.append)
    state.autosave.wait()
    assert failed == []
    assert made == [state.project]


def test_labels_that_fit_no_image_and_are_removed_are_in_a_file(work, projects):
    state, _ = work
    plane = state.viewer.add_labels(np.zeros((9, 9), np.int32), name="plane")
    plane.paint((5, 6), 2)
    state.viewer.layers.remove(plane)
    assert state.autosave.flush()
    (file,) = projects.glob("labels without an image/*.tif")
    assert np.array_equal(tifffile.imread(file), plane.data)
    assert str(file) in state.saving.text


def test_numbers_that_no_project_takes_go_into_a_file(work, projects):
    state, _ = work
    layer = state.viewer.add_labels(np.zeros((4, 32, 32), np.uint64), name="ids")
    at = np.array([1]), np.array([5]), np.array([7])
    layer.data_setitem(at, np.array([2**40 + 3], np.uint64))
    assert not state.autosave.flush()
    assert str(2**40 + 3) in state.saving.text
    state.viewer.layers.remove(layer)
    assert state.autosave.flush(), state.saving.text
    (file,) = projects.glob("labels without an image/*.tif")
    assert np.array_equal(tifffile.imread(file), layer.data)


def test_labels_of_an_image_that_is_no_stack_go_into_a_file(work, projects):
    state, _ = work
    odd = state.viewer.add_image(np.zeros((2, 2, 2, 8, 8), np.uint8), name="odd")
    state.choose("image", odd)
    layer = state.viewer.add_labels(np.zeros((2, 2, 2, 8, 8), np.int32), name="odd labels")
    layer.paint((1, 1, 1, 4, 4), 3)
    assert not state.autosave.flush()
    state.viewer.layers.remove(layer)
    state.autosave.wait()
    (file,) = projects.glob("labels without an image/*.tif")
    assert np.array_equal(tifffile.imread(file), layer.data)


# the first stroke on labels that were there


def cells(dtype=np.int32, highest=5):
    labels = np.zeros((4, 32, 32), dtype)
    labels[:, 4:9, 4:9], labels[2, 20:25, 20:25] = 1, highest
    return labels


@pytest.mark.parametrize("chosen", [True, False])
def test_the_first_stroke_damages_no_loaded_cell(work, chosen):
    state, _ = work
    viewer = state.viewer
    told = {"napari-jnet": {"kind": "instances"}}
    gold = viewer.add_labels(cells(), name="gold", metadata=told)
    viewer.layers.selection.active = viewer.layers[0]
    if chosen:
        state.choose("annotation", gold)
    else:
        viewer.layers.selection.active = gold
    before = gold.data.copy()
    gold.brush_size = 12
    gold.paint((2, 10, 10), gold.selected_label)
    changed = gold.data != before
    assert changed.any()
    assert (before[changed] == 0).all(), "no cell is painted over"
    assert not np.isin(gold.data[changed], before).any(), "and none gets more pixels"


def test_a_narrow_box_tells_the_labels_of_an_image_apart(work, qtbot):
    state, _ = work
    state.image.name = "DIC-C2DH-HeLa 01"
    for truth in ("gold", "silver"):
        state.viewer.add_labels(cells(), name=f"DIC-C2DH-HeLa 01 {truth}")
    combo = LayerCombo(state, "annotation", Lifetime())
    qtbot.addWidget(combo)
    assert [combo.itemText(n)[:6].strip() for n in range(3)] == ["annota", "gold (", "silver"]


def test_a_number_that_was_chosen_stays(work):
    state, _ = work
    other = state.viewer.add_labels(cells())
    assert other.selected_label == 6
    other.selected_label, other.preserve_labels = 5, False
    state.choose("annotation", other)
    state.viewer.layers.selection.active = state.viewer.layers[0]
    state.viewer.layers.selection.active = other
    assert (other.selected_label, other.preserve_labels) == (5, False)


def test_classes_and_scribbles_are_painted_over(work):
    state, _ = work
    for kind, number in (("classes", 1), ("scribbles", 2)):
        layer = state.viewer.add_labels(cells(), metadata={"napari-jnet": {"kind": kind}})
        assert (layer.selected_label, layer.preserve_labels) == (number, False)


@pytest.mark.parametrize(("highest", "free"), [(7, 8), (255, 2)])
def test_a_free_number_fits_the_type(highest, free):
    assert free_number(cells(np.uint8, highest)) == free
    assert free_number(np.full((3, 3), 2**31 - 1, np.int32)) == 1
    assert free_number(np.arange(256, dtype=np.uint8).reshape(16, 16)) == 0


# long films


def calls_of(task):
    """Count the calls that the window's thread makes, each turn of a generator included."""
    count = 0

    def note(_frame, event, _argument):
        nonlocal count
        count += event in ("call", "c_call")

    sys.setprofile(note)
    try:
        task()
    finally:
        sys.setprofile(None)
    return count


def long_film(frames, *painted):
    viewer = ViewerModel()
    viewer.add_image(np.zeros((frames, 16, 16), np.uint8), name=f"film of {frames}")
    labels = np.zeros((frames, 16, 16), np.int32)
    labels[list(painted), :4, :4] = 1
    layer = viewer.add_labels(labels)
    state = open_workspace(viewer)
    state.frames.wait()
    return viewer, state, layer


def test_a_stroke_in_a_long_film_is_saved_as_in_a_short_one(qapp):
    def work(frames):
        _viewer, state, layer = long_film(frames, 0, 1)
        layer.paint((0, 9, 9), 2)
        assert state.autosave.flush(), state.saving.text  # the project is there

        def stroke():
            layer.paint((1, 9, 9), 2)
            assert state.autosave.flush()

        return calls_of(stroke)

    assert work(4000) < 2 * work(40)


def test_a_long_film_is_looked_over_as_a_short_one(qapp):
    def work(frames):
        _viewer, state, layer = long_film(frames, *range(frames))
        for position in range(frames):
            layer.paint((position, 9, 9), 2)
        workflow_state(state)

        def look():
            layer.paint((2, 12, 12), 3)
            assert workflow_state(state).totals.frames == frames
            assert workflow_state(state).totals.objects == 2 * frames + 1

        return calls_of(look)

    assert work(400) < 2 * work(40)


def test_totals_are_those_of_the_facts(work):
    state, layer = work
    frames, random = state.frames, np.random.default_rng(3)
    for kind in LabelKind:
        frames.set_kind(kind)
        for _ in range(12):
            position, label = int(random.integers(4)), int(random.integers(UNKNOWN, 4))
            layer.paint((position, *random.integers(2, 30, 2)), label)
            frames.set_scores({position: float(random.random())}, "AP50")
            facts = [frames.info(p) for p in range(4)]
            there = [one for one in facts if one.annotated]
            assert frames.annotated == tuple(one.position for one in there)
            totals = frames.totals
            assert totals.objects == sum(one.objects for one in there)
            width = max((len(one.pixels) for one in there), default=0)
            columns = [
                sum(one.pixels[n] for one in there if n < len(one.pixels)) for n in range(width)
            ]
            while columns and not columns[-1]:
                columns.pop()
            assert totals.pixels == tuple(columns)
            scores = [one.score for one in there if one.score is not None]
            assert totals.score == (pytest.approx(sum(scores) / len(scores)) if scores else None)
