"""What to do next: every branch, from plain facts."""

import dataclasses

import pytest

from napari_jnet.labels import LabelKind
from napari_jnet.plugin.command import COMMANDS
from napari_jnet.plugin.frames import FrameTotals
from napari_jnet.plugin.guidance import WorkflowState, next_step, step_states
from napari_jnet.plugin.workbench import STEPS
from napari_jnet.plugin.workspace import TrainingStatus

LOADED = WorkflowState(image=True)
LAYER = WorkflowState(image=True, annotation=True)
TOTALS = FrameTotals(frames=2, objects=5, pixels=(9, 9))
PAINTED = WorkflowState(image=True, annotation=True, totals=TOTALS)
SPARSE = dataclasses.replace(PAINTED, totals=dataclasses.replace(TOTALS, sparse=2))
TRAINED = dataclasses.replace(PAINTED, model=True, training=TrainingStatus(outcome="done"))
SCORED = dataclasses.replace(TOTALS, score=0.744, score_name="SEG")


def training(state, epoch=1, **more):
    return dataclasses.replace(PAINTED, training=TrainingStatus(state, epoch=epoch), **more)


PREDICTED = dataclasses.replace(TRAINED, predicted=3)

BRANCHES = [
    (WorkflowState(), "stack", "", "Open a stack"),
    (
        dataclasses.replace(LOADED, offer=True),
        "stack",
        "",
        "worked on this stack before",
    ),
    (LOADED, "predict", "predict", "which cells the starter finds"),
    (dataclasses.replace(LOADED, predicted=1), "annotate", "", "layer to paint on"),
    (LAYER, "annotate", "", "Paint every cell of two frames"),
    (
        dataclasses.replace(LAYER, totals=FrameTotals(1, 1, (9, 9))),
        "annotate",
        "",
        "(1 cell so far)",
    ),
    (
        dataclasses.replace(PAINTED, totals=FrameTotals(2, 5, (0, 9))),
        "annotate",
        "",
        "No background is known",
    ),
    (SPARSE, "annotate", "rest_unknown", "Few cells in 2 frames"),
    (PAINTED, "train", "train", "2 frames are ready"),
    (
        dataclasses.replace(PAINTED, training=TrainingStatus(outcome="failed")),
        "train",
        "",
        "training failed",
    ),
    (
        training("running"),
        "train",
        "",
        "go on painting",
    ),
    (
        training("paused"),
        "train",
        "",
        "paused",
    ),
    (
        training("stopping"),
        "train",
        "",
        "stops",
    ),
    (TRAINED, "predict", "predict", "which cells it finds"),
    (PREDICTED, "predict", "use_as_annotation", "Evaluate"),
    (
        dataclasses.replace(PREDICTED, new_frames=1),
        "train",
        "train",
        "1 frame is new or corrected",
    ),
    (dataclasses.replace(PREDICTED, totals=SCORED), "predict", "use_as_annotation", "SEG 0.74"),
    (
        dataclasses.replace(PAINTED, unsaved="Not saved: disk full"),
        "stack",
        "",
        "Not saved: disk full",
    ),
    (
        dataclasses.replace(TRAINED, unfinished=12),
        "train",
        "",
        "stopped at epoch 12",
    ),
    (
        dataclasses.replace(TRAINED, new_frames=1, fine_tune=False),
        "train",
        "train",
        "2 frames are ready",
    ),
    (
        training("running", learning=False),
        "train",
        "",
        "other labels",
    ),
    # a model of another day: nothing has to be painted first
    (WorkflowState(image=True, model=True), "predict", "predict", "which cells"),
]


@pytest.mark.parametrize(("state", "step", "command", "said"), BRANCHES)
def test_the_hint_names_the_next_step(state, step, command, said):
    hint = next_step(state)
    assert (hint.step, hint.command) == (step, command)
    assert said in hint.text


@pytest.mark.parametrize(("state", "step", "command", "said"), BRANCHES)
def test_hints_are_short_and_name_a_real_step_and_command(state, step, command, said):
    hint = next_step(state)
    assert len(hint.text) <= 120
    assert STEPS[hint.step].title
    assert hint.command in ("", *COMMANDS)


def painted(frames, cells, *pixels, **values):
    return dataclasses.replace(LAYER, totals=FrameTotals(frames, cells, pixels), **values)


def test_scribbles_need_strokes_on_background_and_on_cells():
    def said(*args):
        return next_step(painted(*args, kind=LabelKind.SCRIBBLES))

    for pixels in ((), (9,), (0, 9)):
        hint = said(1, 0, *pixels)
        assert hint.step == "annotate" and "1 on background" in hint.text
    assert said(1, 0, 9, 9).step == "train"


def test_classes_need_two_frames():
    def said(*args):
        return next_step(painted(*args, kind=LabelKind.CLASSES))

    assert "table of classes" in said(0, 0).text
    assert "two frames" in said(1, 0, 9, 9).text
    assert said(2, 0, 9, 9).step == "train"


def test_a_single_image_has_no_second_frame_to_paint():
    said = next_step(painted(1, 1, 9, 9, length=1)).text
    assert "(1 cell so far)" in said
    assert "frames" not in said
    assert next_step(painted(1, 2, 9, 9, length=1)).step == "train"
    assert next_step(painted(1, 0, 9, 9, length=1, kind=LabelKind.CLASSES)).step == "train"


def test_one_cell_in_each_of_two_frames_is_enough_and_two_in_one_frame_are_not():
    assert painted(2, 2, 9, 9).enough
    assert not painted(1, 9, 9, 9).enough
    assert not painted(2, 5, 0, 9).enough
    assert dataclasses.replace(LAYER, totals=FrameTotals(2, 5, (0, 9), whole=1)).enough


def test_marks_of_the_steps_follow_the_work():
    def marks(facts):
        states = step_states(facts)
        assert set(states) == set(STEPS)
        return states

    assert marks(WorkflowState())["stack"] == "next"
    assert marks(LOADED) | {"stack": "done", "predict": "next"} == marks(LOADED)
    painted = marks(PAINTED)
    assert (painted["annotate"], painted["train"], painted["predict"]) == ("done", "next", "open")
    assert (
        marks(dataclasses.replace(PAINTED, totals=dataclasses.replace(TOTALS, sparse=2)))[
            "annotate"
        ]
        == "next"
    )
    trained = marks(TRAINED)
    assert (trained["train"], trained["predict"]) == ("done", "next")
    assert marks(PREDICTED)["predict"] == "done"
    assert marks(dataclasses.replace(PREDICTED, starter=True))["train"] == "open"
    corrected = marks(dataclasses.replace(PREDICTED, new_frames=1))
    assert (corrected["annotate"], corrected["train"]) == ("done", "next")
    assert marks(dataclasses.replace(PREDICTED, totals=SCORED))["evaluate"] == "done"
