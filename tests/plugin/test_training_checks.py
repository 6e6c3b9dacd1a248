"""What stands in the way of a training, shown before it begins."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("napari")

from napari_jnet.budgets import Hardware
from napari_jnet.labels import LabelKind
from napari_jnet.plugin.frames import FrameInfo
from napari_jnet.plugin.guidance import Fix, TrainingFacts, assign_roles, check, training_facts
from napari_jnet.plugin.open_workspace import open_workspace


def frame(position, objects=10, cells=3000, background=1000, role="", **more):
    values = {"objects": objects, "pixels": (background, cells), "size": 4096, "role": role}
    return FrameInfo(position, position + 1, annotated=True, **(values | more))


GOOD = TrainingFacts(
    image="movie",
    labels="truth",
    image_size=(4, 64, 64),
    labels_size=(4, 64, 64),
    frames=(frame(0), frame(1), frame(2)),
    free_bytes=2**40,
    minutes=10.0,
    channels=16,
)


def found(**changes):
    return check(dataclasses.replace(GOOD, **changes))


def one(**changes):
    problems = found(**changes)
    assert len(problems) == 1, problems
    return problems[0]


def test_nothing_is_said_where_all_is_well():
    assert found() == []


@pytest.mark.parametrize(
    ("changes", "words", "fix"),
    [
        ({"image": None}, "no image", Fix.OPEN_STACK),
        ({"labels": None}, "no labels", Fix.NEW_ANNOTATION),
        ({"labels_size": (4, 32, 32)}, "4 × 32 × 32", Fix.NEW_ANNOTATION),
        ({"labels_size": (4, 32, 32), "fitting": "other"}, "4 × 64 × 64", Fix.USE_FITTING_LABELS),
        ({"frames": ()}, "empty", Fix.PAINT),
        ({"run": Path("/runs/a"), "run_taken": True}, "another folder", Fix.OTHER_FOLDER),
        ({"frames": (frame(0, role="validation"),) * 2}, "for validation", Fix.ASSIGN_ROLES),
        ({"frames": (frame(0, role="unused"),)}, "is unused", Fix.ASSIGN_ROLES),
    ],
)
def test_what_keeps_a_training_from_working_is_blocking_and_can_be_fixed(changes, words, fix):
    problem = one(**changes)
    assert problem.blocking
    assert words in problem.text
    assert problem.fix is fix


def test_frames_that_are_still_counted_are_not_called_empty():
    assert found(frames=(), counting=True) == []


def test_one_frame_is_enough_but_said():
    problem = one(frames=(frame(0),))
    assert not problem.blocking
    assert "one annotated frame" in problem.text


def test_no_validation_frame_is_said_where_roles_are_given():
    problem = one(frames=(frame(0, role="training"), frame(1, role="training")))
    assert not problem.blocking
    assert problem.positions == (0, 1)
    assert found(frames=(frame(0, role="training"), frame(1, role="validation"))) == []


def test_frames_with_few_cells_may_not_be_painted_to_the_end():
    few = frame(1, objects=2, cells=60, background=4036)
    problem = one(frames=(frame(0), few, frame(2)))
    assert "t002" in problem.text
    assert (problem.fix, problem.positions) == (Fix.MARK_UNKNOWN, (1,))
    half = frame(1, objects=4)  # of the ten in the others
    assert one(frames=(frame(0), half, frame(2))).positions == (1,)
    known = frame(1, objects=2, cells=60, background=0)  # the rest is unknown already
    assert found(frames=(frame(0), known, frame(2))) == []


def test_a_single_image_is_not_asked_for_a_second_frame():
    problem = one(image_size=(64, 64), labels_size=(64, 64), frames=(frame(0),))
    assert not problem.blocking
    assert "econd frame" not in problem.text


def test_unused_frames_do_not_count():
    few = frame(1, objects=2, cells=60, background=4036, role="unused")
    assert found(frames=(frame(0), few, frame(2))) == []


def test_scribbles_need_something_to_tell_apart():
    def strokes(*pixels):
        return (frame(0, objects=0, pixels=pixels),) * 2

    scribbles = {"kind": LabelKind.SCRIBBLES}
    assert found(**scribbles, frames=strokes(50, 60)) == []
    cells = one(**scribbles, frames=strokes(0, 60))
    assert cells.blocking
    assert "background (label 1)" in cells.text
    assert "some cells (label 2)" in one(**scribbles, frames=strokes(50)).text


def test_a_class_that_nobody_painted_is_named():
    frames = (frame(0, pixels=(100, 50, 0)), frame(1, pixels=(100, 50, 9), role="validation"))
    problem = one(kind=LabelKind.CLASSES, frames=frames, classes=("", "cell", "nucleus"))
    assert "'nucleus' is painted in no training frame" in problem.text
    assert not problem.blocking


def test_a_frame_full_of_classes_needs_no_background():
    full = frame(0, pixels=(0, 50, 70)), frame(1, pixels=(0, 50, 9), role="validation")
    assert found(kind=LabelKind.CLASSES, frames=full, classes=("background", "a", "b")) == []


@pytest.mark.parametrize(("free", "blocking"), [(50 * 2**20, True), (2**30, False)])
def test_a_disk_that_is_almost_full_is_said(free, blocking):
    problem = one(free_bytes=free)
    assert problem.blocking is blocking
    assert f"{free / 2**20:.0f} MB" in problem.text


def test_a_wide_network_on_a_processor_is_said():
    assert one(channels=64).fix is Fix.FEWER_CHANNELS
    assert found(channels=64, hardware=Hardware("cuda", 8, 20.0)) == []
    assert found(channels=64, minutes=480.0) == []


def test_what_is_blocking_comes_first():
    problems = found(frames=(frame(0),), run=Path("/a"), run_taken=True)
    assert [problem.blocking for problem in problems] == [True, False]


@pytest.mark.parametrize(("count", "held"), [(1, 0), (2, 1), (6, 1), (12, 2), (40, 6)])
def test_new_roles_keep_a_sixth_for_validation(count, held):
    roles = assign_roles(range(count))
    assert len(roles) == count
    assert sum(role == "validation" for role in roles.values()) == held


def test_scribbled_classes_are_called_by_their_own_names(viewer_model):
    state = open_workspace(viewer_model)
    state.choose("image", viewer_model.add_image(np.zeros((2, 64, 64)), name="movie"))
    layer = state.new_annotation(kind=LabelKind.SCRIBBLES)
    rows = np.arange(20)
    for label, column in ((1, 10), (2, 40)):
        layer.data_setitem((np.zeros(20, int), rows, np.full(20, column)), label)
    facts = training_facts(state, None, Hardware())
    assert facts.classes == ("background", "cell")
    assert not [problem for problem in check(facts) if "no training frame" in problem.text]


def test_cells_in_pieces_are_a_warning_that_one_click_fixes():
    broken = frame(1, in_pieces=((2, 3), (5, 2)))
    problem = next(p for p in found(frames=(frame(0), broken)) if "pieces" in p.text)
    assert "Cell 2 of t002 is in 3 pieces, as is 1 more in t002." in problem.text
    assert not problem.blocking
    assert (problem.fix, problem.positions) == (Fix.NUMBER_APART, (1,))
    assert not [p for p in found(frames=(frame(0),)) if "pieces" in p.text]


@pytest.mark.parametrize("kind", [LabelKind.INSTANCES, LabelKind.CLASSES])
def test_cells_without_any_known_background_cannot_be_told_from_anything(kind):
    bare = frame(0, background=0, unknown=1000, objects=5 if kind is LabelKind.INSTANCES else 0)
    checked = frame(1, role="validation")
    (problem,) = (p for p in found(kind=kind, frames=(bare, checked)) if p.blocking)
    assert "background" in problem.text
    assert not [p for p in found(kind=kind, frames=(bare, frame(1))) if p.blocking]


def test_a_frame_full_of_cells_has_boundaries_to_learn():
    full = frame(0, background=0, unknown=0)
    assert not [p for p in found(frames=(full,)) if p.blocking]


@pytest.mark.parametrize(
    "changes",
    [
        {"frame_letter": "z"},
        {"image_size": (4, 5, 64, 64), "labels_size": (4, 5, 64, 64)},
    ],
)
def test_volumes_are_said_to_be_planes(changes):
    (problem,) = found(**changes)
    assert "plane by plane" in problem.text and not problem.blocking
    assert not found()
