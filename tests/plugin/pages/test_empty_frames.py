"""A frame without cells is an annotated one where somebody says so: Mark unpainted as background."""

import numpy as np
import pytest

pytest.importorskip("napari")

from napari.components import ViewerModel

from napari_jnet.labels import UNKNOWN, LabelKind
from napari_jnet.plugin.autosave.resume import resume_project
from napari_jnet.plugin.guidance import check
from napari_jnet.plugin.jobs.evaluate import layer_labels
from napari_jnet.plugin.jobs.train import LiveAnnotations, labels_now
from napari_jnet.plugin.open_workspace import open_workspace
from napari_jnet.plugin.pages.annotate import AnnotateWidget, describe_frame, training_mask
from napari_jnet.project.project import Project
from napari_jnet.training.loop import train


@pytest.fixture(autouse=True)
def _forget_viewers():
    yield
    _viewers.clear()


_viewers = []  # a session does not hold its viewer


def opened(shape=(4, 24, 32)):
    """Return the session of a new viewer with an image."""
    viewer = ViewerModel()
    _viewers.append(viewer)
    viewer.add_image(np.random.default_rng(0).random(shape, np.float32), name="movie")
    viewer.layers[0].axis_labels = {2: "yx", 3: "tyx", 4: "tzyx"}[len(shape)]
    return open_workspace(viewer)


@pytest.fixture
def work(qtbot):
    """Return a workspace with an empty annotation, and the page Annotate."""
    return begun(qtbot, opened())


def begun(qtbot, state):
    """Begin an annotation, and show frame 0."""
    shape = state.image.data.shape
    layer = state.viewer.add_labels(np.zeros(shape, np.int32), name="annotation")
    state.choose("annotation", layer)
    state.viewer.dims.set_point(0, 0)
    return state, layer, page_of(qtbot, state)


def page_of(qtbot, state):
    page = AnnotateWidget(state.viewer)
    qtbot.addWidget(page)
    return page


def paint(layer, position, value=1, rows=slice(2, 8)):
    where = np.zeros(layer.data.shape[1:], bool)
    where[..., rows, 2:8] = True
    inner = np.nonzero(where)
    with layer.block_history():  # as a brush does
        layer.data_setitem((np.full(inner[0].size, position), *inner), value)


def saved(state):
    """Wait until all is on disk, the image too."""
    assert state.autosave.flush()
    state.autosave.wait()
    return Project.open(state.project.path)


def test_a_frame_marked_as_background_is_annotated_without_cells(work):
    state, layer, page = work
    paint(layer, 0)
    state.viewer.dims.set_point(0, 2)
    assert page.frame.mark_background() == 0
    assert "t002 has no cells" in page.message.text
    assert state.frames.annotated == (0, 2)
    facts = state.frames.info(2)
    assert facts.annotated and facts.empty and facts.objects == 0
    assert facts.pixels[0] == facts.size and facts.unknown == 0
    assert state.frames.totals.frames == 2
    assert "without cells" in describe_frame(state.frames, facts)
    assert (training_mask(layer.data[2], LabelKind.INSTANCES, empty=facts.empty) == 2).all()
    frames = {f.name[-4:]: f for f in labels_now(state).frames()}
    assert sorted(frames) == ["t000", "t002"]
    assert not frames["t002"].labels.any()
    truth = layer_labels(layer, None)
    assert not truth.read(2, 2).any()
    assert truth.read(1, 1) is None


def test_it_is_saved_comes_back_and_is_taken_back(qtbot, work):
    state, layer, page = work
    paint(layer, 0)
    state.viewer.dims.set_point(0, 2)
    page.frame.mark_background()
    project = saved(state)
    assert project.annotated == (0, 2)
    assert project.empty == {2}
    assert project.role(2) == state.frames.info(2).role == "training"
    assert [frame.labels.any() for frame in project.frames()] == [True, False]
    state.autosave.release()

    again = opened()
    resume_project(again, project.path)
    again.autosave.wait()
    assert again.frames.annotated == (0, 2)
    assert again.frames.info(2).empty
    page = page_of(qtbot, again)
    again.viewer.dims.set_point(0, 2)
    page.frame.mark_background()
    assert "t002 has no cells" in page.message.text
    page.frame.mark_unknown()
    assert "not used for training" in page.message.text
    assert again.frames.annotated == (0,)
    assert again.autosave.flush()
    assert Project.open(project.path).annotated == (0,)


def test_the_mark_alone_makes_a_project(work):
    state, _, page = work
    page.frame.mark_background()
    assert saved(state).annotated == (0,)
    with pytest.raises(ValueError, match="no object"):
        list(train(state.project.frames(), state.project.new_run()))


def test_an_erased_frame_is_what_it_was_before(work):
    state, layer, page = work
    for position in (1, 2):
        state.viewer.dims.set_point(0, position)
        if position == 2:
            page.frame.mark_background()
        paint(layer, position)
        assert state.frames.info(position).objects == 1
        assert not state.frames.info(position).empty
        assert state.autosave.flush()
        paint(layer, position, 0)
    assert state.autosave.flush()
    assert state.frames.annotated == (2,)
    assert state.project.annotated == (2,)
    assert state.project.empty == {2}


def test_unknown_strokes_become_background_and_undo_brings_them_back(work):
    state, layer, page = work
    paint(layer, 0, UNKNOWN)
    assert page.frame.mark_background() == 36
    assert saved(state).empty == {0}
    layer.undo()
    project = saved(state)
    assert (project.read_frame(0) == UNKNOWN).sum() == 36
    assert project.empty == frozenset()


def test_scribbles_are_background_by_label(work):
    state, layer, page = work
    state.frames.set_kind(LabelKind.SCRIBBLES)
    assert page.frame.mark_background() == 24 * 32
    project = saved(state)
    assert (project.read_frame(0) == 1).all()
    assert project.empty == frozenset()
    layer.undo()
    assert saved(state).annotated == ()


def test_marks_of_cells_say_nothing_of_scribbles(work):
    state, layer, page = work
    paint(layer, 1)
    page.frame.mark_background()
    state.frames.set_kind(LabelKind.SCRIBBLES)
    assert state.frames.annotated == (1,)
    assert len(labels_now(state).frames()) == 1


def test_a_volume_is_marked_as_a_whole_or_not_at_all(qtbot):
    state, layer, page = begun(qtbot, opened((3, 4, 24, 32)))
    with layer.block_history():
        layer.data_setitem(tuple(np.array([n]) for n in (0, 1, 5, 5)), 1)
    state.viewer.dims.set_point(0, 0)
    state.viewer.dims.set_point(1, 3)
    with pytest.raises(ValueError, match="section of t000"):
        page.frame.mark_background()
    state.viewer.dims.set_point(0, 2)
    page.frame.mark_background()
    assert "all its sections" in page.message.text
    names = [frame.name for frame in labels_now(state).frames()]
    assert sum("t002" in name for name in names) == 4
    assert sum("t002" in frame.name for frame in saved(state).frames()) == 4


def test_a_single_image(qtbot):
    state, _, page = begun(qtbot, opened((24, 32)))
    page.frame.mark_background()
    assert state.frames.info(0).empty
    assert state.autosave.flush()
    assert state.project.empty == set(state.project.annotated) != set()


def test_a_training_that_runs_learns_of_it(work):
    state, layer, page = work
    paint(layer, 0)
    feed = LiveAnnotations(state)
    state.viewer.dims.set_point(0, 3)
    page.frame.mark_background()
    feed.copy()
    assert len(feed.take()) == 2
    page.frame.mark_unknown()
    feed.copy()
    assert len(feed.take()) == 1


def test_a_frame_without_cells_is_not_said_to_lack_some(work):
    state, layer, page = work
    page.frame.mark_background()
    for position in (1, 2):
        paint(layer, position)
    assert not any("t000" in problem.text for problem in check(state))


def test_copies_come_from_painted_frames(work):
    state, layer, page = work
    paint(layer, 0)
    state.viewer.dims.set_point(0, 1)
    page.frame.mark_background()
    state.viewer.dims.set_point(0, 2)
    assert page.frame.copy_previous() == 1
    assert "t000" in page.message.text


def test_partly_annotated_truth_cannot_be_said_to_be_empty(work):
    state, layer, page = work
    layer.metadata["napari-jnet"] = {"partial": [0]}
    other = state.viewer.add_labels(np.zeros((4, 24, 32), np.int32), name="other")
    state.choose("annotation", other)
    state.choose("annotation", layer)
    with pytest.raises(ValueError, match="Only some cells"):
        page.frame.mark_background()


def test_other_labels_of_another_size_are_not_marked(work):
    state, layer, page = work
    page.frame.mark_background()
    layer.data = np.zeros((5, 24, 32), np.int32)
    assert not state.frames.info(0).empty
    assert state.autosave.flush()


def test_frames_that_the_truth_says_are_empty_are_listed_and_saved_with_the_first_stroke(qtbot):
    state = opened()
    told = {"napari-jnet": {"kind": "instances", "empty": frozenset({1, 3})}}
    layer = state.viewer.add_labels(np.zeros((4, 24, 32), np.int32), name="gold", metadata=told)
    state.choose("annotation", layer)
    assert state.frames.annotated == (1, 3)
    paint(layer, 0)
    project = saved(state)
    assert project.annotated == (0, 1, 3)
    assert project.empty == {1, 3}


def test_a_mark_that_was_taken_for_unknown_does_not_come_back(work):
    state, layer, page = work
    page.frame.mark_background()
    paint(layer, 0)
    page.frame.mark_unknown()
    layer.data[0] = 0
    layer.refresh()
    paint(layer, 0)
    paint(layer, 0, 0)
    assert saved(state).annotated == ()
