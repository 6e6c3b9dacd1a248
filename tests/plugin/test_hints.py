"""What to do next: every branch, from plain facts."""

import dataclasses

import pytest

from napari_jnet.labels import LabelKind
from napari_jnet.plugin.guidance import WorkflowState, next_step, step_states
from napari_jnet.plugin.workbench import STEPS, step_named

LOADED = WorkflowState(image=True)
LAYER = WorkflowState(image=True, annotation=True)
PAINTED = WorkflowState(image=True, annotation=True, frames=2, cells=5, background=True)
TRAINED = dataclasses.replace(PAINTED, model=True, outcome="done")
PREDICTED = dataclasses.replace(TRAINED, predicted=3)

BRANCHES = [
    (WorkflowState(), "stack", "", "Open a stack"),
    (
        dataclasses.replace(LOADED, offer=True),
        "stack",
        "resume_project",
        "worked on this stack before",
    ),
    (LOADED, "annotate", "new_annotation", "layer to paint on"),
    (LAYER, "annotate", "", "Paint every cell of one frame"),
    (
        dataclasses.replace(LAYER, frames=1, cells=1, background=True),
        "annotate",
        "",
        "1 cell in 1 frame so far",
    ),
    (dataclasses.replace(PAINTED, background=False), "annotate", "", "No background is known"),
    (
        dataclasses.replace(PAINTED, sparse=1),
        "annotate",
        "rest_unknown",
        "Few cells in 1 frame",
    ),
    (PAINTED, "train", "train", "2 frames are ready"),
    (dataclasses.replace(PAINTED, outcome="failed"), "train", "", "training failed"),
    (dataclasses.replace(PAINTED, training="running"), "train", "", "go on painting"),
    (dataclasses.replace(PAINTED, training="paused"), "train", "pause", "paused"),
    (dataclasses.replace(PAINTED, training="stopping"), "train", "", "stops"),
    (TRAINED, "predict", "predict", "which cells it finds"),
    (PREDICTED, "predict", "use_as_annotation", "Evaluate"),
    (
        dataclasses.replace(PREDICTED, new_frames=1),
        "train",
        "fine_tune",
        "1 frame is new or corrected",
    ),
    (dataclasses.replace(PREDICTED, score=0.744), "predict", "use_as_annotation", "SEG 0.74"),
    (
        dataclasses.replace(PAINTED, unsaved="Not saved: disk full"),
        "stack",
        "",
        "Not saved: disk full",
    ),
    (
        dataclasses.replace(TRAINED, unfinished=12),
        "train",
        "resume_training",
        "stopped at epoch 12",
    ),
    (
        dataclasses.replace(TRAINED, new_frames=1, fine_tune=False),
        "train",
        "train",
        "2 frames are ready",
    ),
    (dataclasses.replace(PAINTED, training="running", learning=False), "train", "", "other labels"),
    (dataclasses.replace(PAINTED, training="running", epoch=0), "train", "", "first preview"),
    # a model of another day: nothing has to be painted first
    (WorkflowState(image=True, model=True), "predict", "predict", "which cells"),
]


@pytest.mark.parametrize(("state", "step", "command", "said"), BRANCHES)
def test_the_hint_names_the_next_step(state, step, command, said):
    hint = next_step(state)
    assert (hint.step, hint.command) == (step, command)
    assert said in hint.text


@pytest.mark.parametrize(("state", "step", "command", "said"), BRANCHES)
def test_hints_are_short_and_name_a_real_step(state, step, command, said):
    hint = next_step(state)
    assert len(hint.text) <= 120
    assert step_named(hint.step).title


def scribbled(**values):
    return dataclasses.replace(LAYER, kind=LabelKind.SCRIBBLES, **values)


def test_scribbles_need_strokes_on_background_and_on_cells():
    assert "1 on background" in next_step(scribbled()).text
    assert "cells: label 2" in next_step(scribbled(frames=1, background=True)).text
    assert "background: label 1" in next_step(scribbled(frames=1, foreground=True)).text
    assert next_step(scribbled(frames=1, background=True, foreground=True)).step == "train"


def test_classes_need_two_frames():
    classes = dataclasses.replace(LAYER, kind=LabelKind.CLASSES, background=True)
    assert "table of classes" in next_step(classes).text
    assert "second frame" in next_step(dataclasses.replace(classes, frames=1)).text
    assert next_step(dataclasses.replace(classes, frames=2)).step == "train"


def test_a_single_image_has_no_second_frame_to_paint():
    single = dataclasses.replace(LAYER, length=1)
    assert "this image" in next_step(single).text
    single = dataclasses.replace(single, background=True)
    said = next_step(dataclasses.replace(single, frames=1, cells=1)).text
    assert "(1 cell so far)" in said
    assert "frames" not in said
    assert next_step(dataclasses.replace(single, frames=1, cells=2)).step == "train"
    classes = dataclasses.replace(single, kind=LabelKind.CLASSES, frames=1)
    assert next_step(classes).step == "train"


def test_one_cell_in_each_of_two_frames_is_enough_and_two_in_one_frame_are_not():
    assert dataclasses.replace(PAINTED, frames=2, cells=2).enough
    assert not dataclasses.replace(PAINTED, frames=1, cells=9).enough
    assert not dataclasses.replace(PAINTED, background=False).enough


def test_marks_of_the_steps_follow_the_work():
    def marks(facts):
        states = step_states(facts)
        assert set(states) == {step.name for step in STEPS}
        return states

    assert marks(WorkflowState())["stack"] == "next"
    assert marks(LOADED) | {"stack": "done", "annotate": "next"} == marks(LOADED)
    painted = marks(PAINTED)
    assert (painted["annotate"], painted["train"], painted["predict"]) == ("done", "next", "open")
    assert marks(dataclasses.replace(PAINTED, sparse=2))["annotate"] == "next"
    trained = marks(TRAINED)
    assert (trained["train"], trained["predict"]) == ("done", "next")
    assert marks(PREDICTED)["predict"] == "done"
    corrected = marks(dataclasses.replace(PREDICTED, new_frames=1))
    assert (corrected["annotate"], corrected["train"]) == ("done", "next")
    assert marks(dataclasses.replace(PREDICTED, score=0.5))["evaluate"] == "done"


def test_a_step_that_does_not_exist_is_said_with_those_that_do():
    with pytest.raises(ValueError, match=r"no step 'paint'.*annotate"):
        step_named("paint")
