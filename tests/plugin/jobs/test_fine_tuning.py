"""Fine-tune is offered only where it can work, and the hints say the same as the buttons."""

import json
import re

import numpy as np
import pytest

pytest.importorskip("napari")
pytest.importorskip("pytestqt")

from napari.components import ViewerModel

from napari_jnet.config import preset
from napari_jnet.labels import LabelKind
from napari_jnet.plugin.guidance import fine_tune_problem, next_step, workflow_state
from napari_jnet.plugin.open_workspace import open_workspace
from napari_jnet.plugin.pages.train import TrainWidget


@pytest.fixture
def viewer(qapp):
    made = ViewerModel()
    made.add_image(np.random.default_rng(0).random((4, 32, 32)), name="movie")
    return made


@pytest.fixture
def state(viewer):
    return open_workspace(viewer)


@pytest.fixture
def widget(viewer, qtbot):
    made = TrainWidget(viewer)
    qtbot.addWidget(made)
    return made


def run_folder(path, **network):
    """Return a run of a network with these settings; its model is an empty file."""
    path.mkdir(parents=True)
    (path / "model.pt").touch()
    config = preset("unet").replace({f"network.{name}": v for name, v in network.items()})
    (path / "config.json").write_text(json.dumps(config.to_dict()))
    return path


def paint(state, *numbers):
    for frame in (0, 1):
        for column, number in enumerate(numbers):
            rows, columns = np.mgrid[4:8, 5 * column : 5 * column + 4]
            at = (np.full(16, frame), rows.ravel(), columns.ravel())
            with state.annotation.block_history():
                state.annotation.data_setitem(at, number)
    state.frames.wait()


def paint_at(state, number, *where):
    box = np.zeros(state.annotation.data.shape, bool)
    box[where] = True
    with state.annotation.block_history():
        state.annotation.data_setitem(np.nonzero(box), number)


def offered(state, widget):
    """Return whether the button, the key, a script and the hint offer to fine-tune: all or none."""
    widget.check()
    shown = widget.fine_tune_button.isVisibleTo(widget)
    possible = not fine_tune_problem(state)
    hinted = "Fine-tune" in next_step(workflow_state(state, new_frames=1)).text
    assert shown == possible == hinted
    return shown


def test_a_model_of_the_same_kind_may_go_on(state, widget, tmp_path):
    state.new_annotation()
    paint(state, 1, 2)
    assert not offered(state, widget)
    state.choose_model(run_folder(tmp_path / "001"))
    assert offered(state, widget)


@pytest.mark.parametrize(
    ("network", "kind", "painted", "words"),
    [
        ({"classes": 1}, LabelKind.SCRIBBLES, (1, 2, 3), "3 classes, run 001 was trained on 1"),
        ({"classes": 1}, LabelKind.CLASSES, (1, 2), "3 classes, run 001 was trained on 1"),
        (
            {"classes": 3},
            LabelKind.INSTANCES,
            (1, 2),
            "2 classes .cell or not., run 001 was trained on 3",
        ),
        ({"in_channels": 3}, LabelKind.INSTANCES, (1, 2), "1 channels, run 001 was trained on 3"),
    ],
)
def test_a_model_that_cannot_learn_from_the_labels_is_not_offered_and_why_is_said(
    state, widget, tmp_path, network, kind, painted, words
):
    state.new_annotation(kind)
    paint(state, *painted)
    state.choose_model(run_folder(tmp_path / "001", **network))
    assert not offered(state, widget)
    hint = next_step(workflow_state(state, new_frames=1))
    assert "Fine-tune" not in hint.text
    told = [problem for problem in widget.problems.problems if "Fine-tune" in problem.text]
    assert len(told) == 1 and not told[0].blocking
    assert re.search(words, fine_tune_problem(state))
    assert widget.train_button.isEnabled()


def test_what_is_offered_follows_the_labels_and_their_meaning(state, widget, tmp_path):
    cells = state.new_annotation()
    paint(state, 1, 2, 3)
    state.set_model(run_folder(tmp_path / "001"), cells, None)
    assert offered(state, widget)
    state.frames.set_kind(LabelKind.CLASSES)
    assert not offered(state, widget)
    state.frames.set_kind(LabelKind.INSTANCES)
    assert offered(state, widget)
    state.new_annotation(LabelKind.SCRIBBLES)
    paint(state, 1, 2, 3)
    assert not offered(state, widget)  # the model is that of the cells
    state.choose("annotation", cells)
    assert offered(state, widget)


def test_a_training_learns_from_the_labels_that_it_was_asked_for(state, widget, qtbot):
    state.new_annotation()
    paint(state, 1, 2)
    with qtbot.waitSignal(widget.finished, timeout=30_000):
        widget.start()  # makes the project first
        assert widget.running
        state.new_annotation()
        state.autosave.wait()
    assert "Other labels than 'annotation' were chosen" in widget.message.text
    assert not widget.running


def test_the_list_numbers_pieces_apart_in_all_frames_that_have_them(state, widget, qtbot):
    state.new_annotation()
    for left in (0, 10):
        paint_at(state, 3, slice(0, 2), slice(20, 24), slice(left, left + 4))
    widget.check()
    (problem,) = (p for p in widget.problems.problems if "pieces" in p.text)
    widget.fix(problem)
    state.frames.wait()
    widget.check()
    assert not [p for p in widget.problems.problems if "pieces" in p.text]
    for plane in state.annotation.data[:2]:
        assert plane.max() > 3
        assert (plane == 3).sum() == 16


def test_pieces_of_a_volume_are_numbered_apart_in_one_step(qapp):
    viewer = ViewerModel()
    viewer.add_image(np.zeros((2, 3, 16, 16), np.float32), axis_labels=("t", "z", "y", "x"))
    state = open_workspace(viewer)
    layer = state.new_annotation()
    paint_at(state, 1, slice(1, 2), slice(0, 3), slice(2, 6), slice(2, 6))
    paint_at(state, 1, slice(1, 2), slice(0, 3), slice(2, 6), slice(10, 13))
    assert state.frames.number_apart(1) == 1
    assert (layer.data[1] == 2).sum() == 3 * 4 * 3
    layer.undo()
    assert layer.data.max() == 1
