"""What stands in the way of a training, shown before it begins."""

from types import SimpleNamespace

import numpy as np
import pytest

pytest.importorskip("napari")

from napari.components import ViewerModel

from napari_jnet.labels import LabelKind
from napari_jnet.plugin.frames import FrameInfo
from napari_jnet.plugin.guidance import Fix, assign_roles, check, check_frames
from napari_jnet.plugin.open_workspace import open_workspace


def frame(position, objects=10, cells=3000, background=1000, role="", **more):
    values = {"objects": objects, "pixels": (background, cells), "size": 4096, "role": role}
    return FrameInfo(position, position + 1, annotated=True, **(values | more))


def found(*frames, kind=LabelKind.INSTANCES, counting=False):
    table = SimpleNamespace(
        annotated_info=frames,
        kind=kind,
        counting=counting,
        layer=SimpleNamespace(name="truth"),
        frame_name="t{:03d}".format,
    )
    return check_frames(table)


def one(*frames, **more):
    problems = found(*frames, **more)
    assert len(problems) == 1, problems
    return problems[0]


def test_nothing_is_said_where_all_is_well():
    assert found(frame(0), frame(1), frame(2)) == []
    assert found(frame(0, role="training"), frame(1, role="validation")) == []


@pytest.mark.parametrize(
    ("frames", "words", "fix"),
    [
        ((), "empty", Fix.PAINT),
        ((frame(0, role="validation"),) * 2, "for training", Fix.ASSIGN_ROLES),
        ((frame(0, role="unused"),), "for training", Fix.ASSIGN_ROLES),
    ],
)
def test_what_keeps_a_training_from_working_is_blocking_and_can_be_fixed(frames, words, fix):
    problem = one(*frames)
    assert problem.blocking
    assert words in problem.text
    assert problem.fix is fix


def test_layers_that_are_missing_or_do_not_fit_are_said_with_their_fix(qapp):
    viewer = ViewerModel()
    workspace = open_workspace(viewer)

    def fix():
        (problem,) = check(workspace)
        assert problem.blocking
        return problem.fix

    assert fix() is Fix.OPEN_STACK
    viewer.add_image(np.zeros((4, 64, 64)), name="movie")
    assert fix() is Fix.NEW_ANNOTATION
    viewer.add_labels(np.zeros((4, 32, 32), int), name="small")
    assert fix() is Fix.NEW_ANNOTATION
    assert "4 × 64 × 64" in check(workspace)[0].text and "4 × 32 × 32" in check(workspace)[0].text


def test_frames_that_are_still_counted_are_not_called_empty():
    assert found(counting=True) == []


def test_frames_with_few_cells_may_not_be_painted_to_the_end():
    few = frame(1, objects=2, cells=60, background=4036)
    problem = one(frame(0), few, frame(2))
    assert "t002" in problem.text
    assert (problem.fix, problem.positions) == (Fix.MARK_UNKNOWN, (1,))
    half = frame(1, objects=4)  # of the ten in the others
    assert one(frame(0), half, frame(2)).positions == (1,)
    known = frame(1, objects=2, cells=60, background=0)  # the rest is unknown already
    assert found(frame(0), known, frame(2)) == []


def test_unused_frames_do_not_count():
    few = frame(1, objects=2, cells=60, background=4036, role="unused")
    assert found(frame(0), few, frame(2)) == []


def test_cells_in_pieces_are_a_warning_that_one_click_fixes():
    broken = frame(1, in_pieces=((2, 3), (5, 2)))
    problem = one(frame(0), broken)
    assert "in pieces in t002, such as cell 2 in 3 pieces" in problem.text
    assert not problem.blocking
    assert (problem.fix, problem.positions) == (Fix.NUMBER_APART, (1,))


@pytest.mark.parametrize(("count", "held"), [(1, 0), (2, 1), (6, 1), (12, 2), (40, 6)])
def test_new_roles_keep_a_sixth_for_validation(count, held):
    roles = assign_roles(range(count))
    assert len(roles) == count
    assert sum(role == "validation" for role in roles.values()) == held
