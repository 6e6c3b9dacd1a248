"""The model: chosen, shown, predicting, fine-tuned and remembered are one, for each annotation."""

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("napari")
pytest.importorskip("pytestqt")

from napari.components import ViewerModel

from napari_jnet.io.run_folder import PACKAGED
from napari_jnet.plugin.jobs.runner import JobRunner
from napari_jnet.plugin.jobs.train import LiveAnnotations
from napari_jnet.plugin.open_workspace import open_workspace
from napari_jnet.plugin.pages.predict import PredictWidget
from napari_jnet.plugin.pages.train import ModelComparison
from napari_jnet.project.project import Project


@pytest.fixture
def viewer(qapp):
    model = ViewerModel()
    model.add_image(np.random.default_rng(0).random((4, 32, 32)), name="movie")
    return model


@pytest.fixture
def state(viewer):
    return open_workspace(viewer)


@pytest.fixture
def predict(viewer, qtbot):
    widget = PredictWidget(viewer)
    qtbot.addWidget(widget)
    return widget


@pytest.fixture
def rounds(state, qtbot):
    made = ModelComparison(state, JobRunner())
    qtbot.addWidget(made)
    return made


def run_folder(path: Path) -> Path:
    """Return a run folder with a file in place of a model."""
    path.mkdir(parents=True, exist_ok=True)
    (path / "model.pt").write_text("a model")
    return path


def paint(state, frame=0):
    with state.annotation.block_history():
        at = [a.ravel() for a in np.mgrid[4:8, 4:8]]
        state.annotation.data_setitem((np.full(16, frame), *at), 1)


def saved(state):
    """Return the project of the present annotation, with all that is painted."""
    state.autosave.ensure_project()
    state.autosave.wait()
    project = state.project
    return project


def one_model(state, predict):
    """Return the model, which the form shows, Predict opens and fine-tuning begins with."""
    shown, predicting = predict.form.value("model"), predict.model()[0]
    assert shown == predicting == state.model
    return state.model


def train(rounds, state, run):
    """Begin a training, as the widget does; return what ends it."""
    rounds.begin(run)
    feed = LiveAnnotations(state)

    def end(*, compare=False):
        done = []
        run_folder(run)
        rounds.end(feed, "cpu", compare=compare, then=lambda: done.append(True))
        state.autosave.wait()
        assert done

    return end


def test_a_model_chosen_by_hand_stays_when_the_first_stroke_makes_a_project(
    state, predict, tmp_path
):
    chosen = run_folder(tmp_path / "chosen")
    state.new_annotation()
    state.set_model(run_folder(tmp_path / "of-this-session"), state.annotation, None)
    predict.set_model(chosen)
    paint(state)
    project = saved(state)
    assert one_model(state, predict) == chosen
    assert Project.open(project.path).model == chosen


def test_a_model_chosen_before_there_is_an_annotation_is_remembered_by_its_project(
    state, predict, tmp_path
):
    chosen = run_folder(tmp_path / "chosen")
    predict.set_model(chosen)
    state.new_annotation()
    paint(state)
    assert Project.open(saved(state).path).model == chosen


def test_what_is_typed_is_the_model_at_once(state, predict, tmp_path, qtbot):
    chosen = run_folder(tmp_path / "chosen")
    state.new_annotation()
    predict.form["model"].line_edit.native.setText(str(chosen))
    assert one_model(state, predict) == chosen
    paint(state)
    saved(state)
    assert one_model(state, predict) == chosen


def test_a_model_chosen_by_hand_is_that_of_its_annotation(state, predict, viewer, tmp_path):
    trained, chosen = (run_folder(tmp_path / name) for name in ("trained", "chosen"))
    first = state.new_annotation()
    state.set_model(trained, first, None)
    second = state.new_annotation()
    predict.set_model(chosen)
    state.choose("annotation", first)
    assert one_model(state, predict) == trained
    state.choose("annotation", second)
    assert one_model(state, predict) == chosen
    viewer.layers.remove(first)
    viewer.layers.remove(second)
    assert state.annotation is None
    assert one_model(state, predict) == chosen


def test_a_mistyped_path_is_the_model_of_no_labels(state, predict, tmp_path):
    trained = run_folder(tmp_path / "trained")
    first = state.new_annotation()
    state.set_model(trained, first, None)
    predict.form["model"].line_edit.native.setText(str(tmp_path / "traned"))
    assert one_model(state, predict) == tmp_path / "traned"  # as it is shown, and Predict says so
    state.new_annotation()
    state.choose("annotation", first)
    assert one_model(state, predict) == trained


def test_each_annotation_has_the_model_that_was_trained_for_it(state, predict, tmp_path):
    one, other = (run_folder(tmp_path / name) for name in ("one", "other"))
    first = state.new_annotation()
    state.set_model(one, first, None)
    second = state.new_annotation()
    assert one_model(state, predict) == one  # the new labels have none: nothing is swapped
    state.set_model(other, second, None)
    state.choose("annotation", first)
    assert one_model(state, predict) == one
    state.choose("annotation", second)
    assert one_model(state, predict) == other


def test_a_model_goes_to_the_labels_and_the_project_that_it_was_trained_for(state, predict, rounds):
    first = state.new_annotation()
    paint(state)
    project = saved(state)
    end = train(rounds, state, project.new_run())
    state.new_annotation()
    paint(state)
    other = saved(state)
    end()
    assert Project.open(project.path).model == project.path / "runs/001"
    assert Project.open(other.path).model is None
    state.choose("annotation", first)
    assert one_model(state, predict) == project.path / "runs/001"


def test_a_model_is_remembered_although_its_labels_are_gone(state, predict, rounds, viewer):
    first = state.new_annotation()
    paint(state)
    project = saved(state)
    end = train(rounds, state, project.new_run())
    state.new_annotation()
    viewer.layers.remove(first)
    end()
    assert Project.open(project.path).model == project.path / "runs/001"
    assert one_model(state, predict) == project.path / "runs/001"  # there is no other


def test_a_model_chosen_while_it_trains_is_kept_and_the_trained_one_offered(
    state, predict, rounds, tmp_path
):
    chosen = run_folder(tmp_path / "chosen")
    state.new_annotation()
    paint(state)
    project = saved(state)
    end = train(rounds, state, project.new_run())
    predict.set_model(chosen)
    end(compare=True)
    assert one_model(state, predict) == chosen
    assert Project.open(project.path).model == chosen
    assert "chosen" in rounds.text
    rounds.button.click()
    assert one_model(state, predict) == project.path / "runs/001"


def test_a_model_chosen_before_the_first_annotation_is_not_that_of_the_second(
    state, predict, rounds, tmp_path
):
    predict.set_model(run_folder(tmp_path / "chosen"))
    state.new_annotation()
    paint(state)
    project = saved(state)
    train(rounds, state, project.new_run())(compare=True)
    state.new_annotation()
    paint(state)
    saved(state)
    assert one_model(state, predict) == project.path / "runs/001"


def test_the_model_under_training_is_not_one_that_somebody_chose(state, predict, rounds, tmp_path):
    first = state.new_annotation()
    paint(state)
    run = saved(state).new_run()
    end = train(rounds, state, run)
    run_folder(run)  # it has its first epoch: the project names it as its newest model
    state.new_annotation()
    state.choose("annotation", first)
    end(compare=True)
    assert one_model(state, predict) == run
    assert "You chose" not in rounds.text


def test_a_training_takes_the_place_of_a_model_chosen_before_it(state, predict, rounds, tmp_path):
    predict.set_model(run_folder(tmp_path / "chosen"))
    state.new_annotation()
    paint(state)
    project = saved(state)
    train(rounds, state, project.new_run())(compare=True)  # without a validation frame
    assert one_model(state, predict) == project.path / "runs/001"
    assert Project.open(project.path).model == project.path / "runs/001"


def test_without_a_model_the_starter_predicts(state, predict, tmp_path):
    predict.set_model(run_folder(tmp_path / "chosen"))
    predict.set_model("")
    assert state.model is None
    assert predict.model()[0] == PACKAGED["starter"]


def test_half_typed_paths_are_not_remembered(state, predict, tmp_path):
    state.new_annotation()
    paint(state)
    project = saved(state)
    predict.form["model"].line_edit.native.setText(str(tmp_path))
    state.autosave.wait()
    assert Project.open(project.path).model is None
