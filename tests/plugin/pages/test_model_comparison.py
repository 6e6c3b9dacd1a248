"""A training ends: the better model is used, the other is one click away, and bias is named."""

import json

import pytest

pytest.importorskip("napari")

import napari_jnet.training.validate
from napari_jnet.events import ComparisonResult
from napari_jnet.plugin.jobs.runner import JobRunner
from napari_jnet.plugin.jobs.train import LiveAnnotations
from napari_jnet.plugin.open_workspace import open_workspace
from napari_jnet.plugin.pages.train import ModelComparison


@pytest.fixture
def state(viewer_model):
    return open_workspace(viewer_model)


@pytest.fixture
def runs(tmp_path):
    """Return two run folders; the second keeps t001 for validation, the first has learned from it."""
    splits = {
        "001": {"training": ["movie/t000", "movie/t001"], "validation": ["movie/t002"]},
        "002": {"training": ["movie/t000", "movie/t002"], "validation": ["movie/t001"]},
    }
    for name, split in splits.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "model.pt").write_text("a model")
        (tmp_path / name / "split.json").write_text(json.dumps(split))
    return tmp_path / "001", tmp_path / "002"


@pytest.fixture
def end(qtbot, state, monkeypatch):
    """Return a function that ends a round; what compare_models gets is in its ``asked``."""
    runner, asked = JobRunner(), []
    comparison = ModelComparison(state, runner)
    qtbot.addWidget(comparison)

    def end(new, answer, *, compare=True):
        def compare_models(models, frames, *, device):
            asked.append(([frame.name for frame in frames], device))
            if isinstance(answer, Exception):
                raise answer
            return ComparisonResult(models[answer], answer == "new", "Better or worse.", ())
            yield

        monkeypatch.setattr(napari_jnet.training.validate, "compare_models", compare_models)
        done = []
        comparison.begin(new)
        annotations = LiveAnnotations(state)
        comparison.end(annotations, "cpu", compare=compare, then=lambda: done.append(True))
        qtbot.waitUntil(lambda: bool(done), timeout=30_000)
        return comparison

    end.asked = asked
    yield end
    runner.close()


def test_the_first_model_is_used_and_not_compared(end, state, runs):
    panel = end(runs[0], "new")
    assert state.model == runs[0]
    assert panel.isHidden()
    assert not end.asked


@pytest.mark.parametrize(("better", "kept"), [("new", 1), ("old", 0)])
def test_the_better_of_two_is_used(end, state, runs, better, kept):
    state.set_model(runs[0], state.annotation, state.project)
    panel = end(runs[1], better)
    assert end.asked == [(["movie/t001"], "cpu")]  # the validation frames of the new run
    assert state.model == runs[kept]
    assert "The old model was trained on t001: its score is optimistic." in panel.text
    panel.button.click()
    assert state.model == runs[1 - kept]
    panel.button.click()
    assert state.model == runs[kept]


def test_what_cannot_be_compared_is_said_and_the_new_model_used(end, state, runs):
    state.set_model(runs[0], state.annotation, state.project)
    panel = end(runs[1], ValueError("The networks differ."))
    assert "The networks differ." in panel.text
    assert state.model == runs[1]
    panel.button.click()
    assert state.model == runs[0]


def test_without_a_validation_frame_this_is_said(end, state, runs):
    state.set_model(runs[0], state.annotation, state.project)
    (runs[1] / "split.json").write_text(json.dumps({"training": ["a"], "validation": []}))
    panel = end(runs[1], "new")
    assert "no validation frame" in panel.text
    assert state.model == runs[1]
    assert not end.asked


def test_nobody_waits_when_the_window_is_closed(end, state, runs):
    state.set_model(runs[0], state.annotation, state.project)
    end(runs[1], "new", compare=False)
    assert state.model == runs[0]  # the new one was not seen, and can go on
    assert not end.asked


def test_a_run_without_a_model_changes_nothing(end, state, runs, tmp_path):
    state.set_model(runs[0], state.annotation, state.project)
    end(tmp_path / "none", "new")
    assert state.model == runs[0]


def test_live_annotations_give_what_was_painted_and_only_once(viewer_model, state):
    layer, frames = viewer_model.layers["truth"], state.frames
    annotations = LiveAnnotations(state)
    before = {frame.name: frame.labels.copy() for frame in annotations.data.frames()}
    assert len(before) == 4
    assert annotations.take() is None
    layer.data[2] = 0
    layer.data[2, :20, :20] = 3
    state.frames.edited.emit((2,))
    annotations.copy()
    layer.data[2] = 0  # after the copy: seen with the next stroke
    after = {frame.name: frame.labels for frame in annotations.take()}
    assert (after["movie/t002"] == 3).sum() == 400
    assert (after["movie/t001"] == before["movie/t001"]).all()
    assert annotations.take() is None
    frames.set_roles({0: "validation", 1: "unused"})
    annotations.copy()
    roles = {frame.name: frame.role for frame in annotations.take()}
    assert roles == {"movie/t000": "validation", "movie/t002": "", "movie/t003": ""}


def test_nothing_to_learn_from_leaves_the_training_alone(viewer_model, state):
    annotations = LiveAnnotations(state)
    state.frames.set_roles(dict.fromkeys(range(4), "unused"))
    annotations.copy()
    assert annotations.take() is None
