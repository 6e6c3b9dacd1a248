"""Scores and errors as rows of tables, and what they mean in words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from napari_jnet.data.stack import LabelKind
from napari_jnet.events import FrameScore, Scores
from napari_jnet.metrics.errors import CellError, ErrorKind
from napari_jnet.plugin.evaluate.error_layer import NAMES
from napari_jnet.plugin.evaluate.jobs import Comparison, Outcome
from napari_jnet.plugin.tables import Column

__all__ = ["ERRORS", "SCORES", "error_row", "score_row", "summary"]

SCORES = (
    Column("frame", "The number of the frame; a click goes there."),
    Column(
        "SEG", "How well each true cell is covered, 0 to 1: its overlap with the predicted cell."
    ),
    Column(
        "DET",
        "How well cells are found and counted, 0 to 1; only frames whose truth is complete have it.",
    ),
    Column("AP50", "Found / (found + false + missed) cells, overlap (IoU) above 0.5.", 2),
    Column("AP75", "As AP50, with an overlap above 0.75.", 2),
    Column("IoU", "Overlap of all cell pixels, whichever cell they belong to, 0 to 1."),
    Column("pixel accuracy", "Part of the known pixels that is right."),
    Column(
        "border", "Cells wholly within so many pixels of a side do not count.", csv="border (px)"
    ),
    Column("role", "What the frame was used for; training frames flatter the network."),
)
ERRORS = (
    Column("error", "What is wrong; a click goes there."),
    Column("frame", "The number of the frame."),
    Column("true", "Numbers of the true cells.", csv="true cells"),
    Column("result", "Numbers of the cells in the result.", csv="result cells"),
    Column("pixels", "Size."),
    Column("y", "Row of its middle.", 0, csv="y (px)"),
    Column("x", "Column of its middle.", 0, csv="x (px)"),
)


def score_row(score: FrameScore | Scores, role: str, border: int = 0) -> tuple[Any, ...]:
    """Return a frame, or all together, as a row of `SCORES`."""
    name = score.number if isinstance(score, FrameScore) else "all"
    values = (score.seg, score.det, score.ap50, score.ap75, score.iou, score.pixel_accuracy)
    return (name, *values, border or None, role)


def error_row(number: int, error: CellError, csv: bool = False) -> tuple[Any, ...]:
    """Return an error as a row of `ERRORS`; all labels where it goes to a file."""
    reference, result = (
        " ".join(map(str, labels if csv else labels[:4]))
        + ("" if csv or len(labels) <= 4 else " …")
        for labels in (error.reference, error.result)
    )
    y, x = error.centroid[-2:]
    return (NAMES[error.kind], number, reference, result, error.pixels, y, x)


def summary(
    outcome: Outcome, comparison: Comparison, roles: Mapping[int, str]
) -> tuple[str, str, bool]:
    """Say what came out: the message, further scores, and whether nothing could be scored."""
    scores, result, truth = outcome.scores, comparison.result.name, comparison.truth_name
    if scores is None:
        return _nothing(outcome, result, truth), "", True
    lines = [_scored(scores, comparison, outcome)]
    learned = [n for n, role in roles.items() if role == "training"]
    perhaps = [n for n, role in roles.items() if role == "annotated"]
    if learned:
        lines.append(
            f"{_frames(learned)} for training: a network that learned from them is flattered. "
            "Choose other frames for an honest score."
        )
    elif perhaps:
        lines.append(
            f"{_frames(perhaps)} annotated: if the network learned from them, it is flattered."
        )
    if outcome.without_result:
        lines.append(
            f"Not scored, because {result!r} has nothing there (or a part only): "
            f"{_list(outcome.without_result)}."
        )
    return "\n".join(lines), _more(scores), False


def _scored(scores: Scores, comparison: Comparison, outcome: Outcome) -> str:
    count = len(scores.frames)
    where = f"{count} frame{'s' if count > 1 else ''}"
    names = f"{comparison.result.name} against {comparison.truth_name}"
    if comparison.kind is not LabelKind.INSTANCES:
        return (
            f"IoU {_value(scores.iou)}, pixel accuracy {_value(scores.pixel_accuracy)} on {where} "
            f"({names}). Classes are compared pixel by pixel."
        )
    wrong = [f"{count} {NAMES[kind]}" for kind in ErrorKind if (count := outcome.errors[kind])]
    left = (
        f" Cells wholly within {scores.border} px of a side do not count." if scores.border else ""
    )
    return (
        f"SEG {_value(scores.seg)} on {where} ({names}). "
        f"{scores.objects} true cells; {', '.join(wrong) or 'none is wrong'}.{left}"
    )


def _more(scores: Scores) -> str:
    further = {
        "AP (mean of 0.5 to 0.95)": scores.ap,
        "mean IoU": scores.mean_iou,
        "V_rand": scores.v_rand,
        "V_info": scores.v_info,
    }
    known = [f"{name} {value:.3f}" for name, value in further.items() if value is not None]
    return f"All together: {', '.join(known)}" if known else ""


def _nothing(outcome: Outcome, result: str, truth: str) -> str:
    if outcome.without_result:
        return (
            f"{result!r} has nothing in the frames that {truth!r} has: "
            f"{_list(outcome.without_result)}. Predict these frames, then evaluate again."
        )
    return (
        f"{truth!r} has nothing in the chosen frames ({_list(outcome.without_truth)}); choose all "
        "frames, or paint the cells of one."
    )


def _frames(numbers: list[int]) -> str:
    return f"Frame {numbers[0]} is" if len(numbers) == 1 else f"Frames {_list(numbers)} are"


def _list(numbers: list[int], most: int = 6) -> str:
    more = f" and {len(numbers) - most} more" if len(numbers) > most else ""
    return ", ".join(str(n) for n in numbers[:most]) + more


def _value(score: float | None) -> str:
    return "–" if score is None else f"{score:.3f}"
