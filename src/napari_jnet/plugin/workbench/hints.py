"""What to do next: one sentence, from the plain facts of how the work stands."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from napari_jnet.data.stack import LabelKind
from napari_jnet.plugin.layers import is_stack
from napari_jnet.plugin.session import unwrap

__all__ = ["Facts", "Hint", "advise", "facts_of", "step_states"]

_ENOUGH_CELLS = 2
_ENOUGH_FRAMES = 2


@dataclass(frozen=True)
class Facts:
    """How the work on one stack stands.

    Attributes
    ----------
    image, annotation, model
        Whether there is one.
    unfit
        Whether the image is no stack, or does not say what its dimensions are.
    fine_tune
        Whether the model can go on learning from the labels.
    offer
        Whether earlier work on this stack can be gone on with, and nobody has answered yet.
    kind
        What the labels mean.
    length
        Frames of the stack; 1 is a single image, which cannot have a second one painted.
    frames, cells
        Annotated frames, and objects (instances) or painted pixels of classes in them.
    background, foreground
        Whether both are painted; of classes, any two do.
    sparse
        Frames where few cells are painted, and the rest counts as background.
    training, progress, outcome
        As in `TrainingStatus`.
    epoch
        Finished epochs of the training under way.
    learning
        Whether the training learns from these labels, and not from others.
    new_frames
        Frames painted or corrected since the network last learned from them.
    predicted
        Frames that the last prediction has.
    score
        The mean score of the frames that were evaluated, None where none was.
    score_name
        What that score is.
    measured
        Cells that the table of measures has.
    unfinished
        Epochs of the last training, where it was stopped before its end; 0 where it was not.
    unsaved
        Why the annotations cannot be saved, "" where they can.
    """

    image: bool = False
    unfit: bool = False
    annotation: bool = False
    model: bool = False
    fine_tune: bool = True
    offer: bool = False
    kind: LabelKind = LabelKind.INSTANCES
    length: int = 0
    frames: int = 0
    cells: int = 0
    background: bool = False
    foreground: bool = False
    sparse: int = 0
    training: str = "idle"
    epoch: int = 1
    learning: bool = True
    progress: float = 0.0
    outcome: str = ""
    new_frames: int = 0
    predicted: int = 0
    score: float | None = None
    score_name: str = "SEG"
    measured: int = 0
    unfinished: int = 0
    unsaved: str = ""

    @property
    def enough(self) -> bool:
        """Whether there is enough to learn from."""
        if self.kind is LabelKind.SCRIBBLES:
            return self.frames > 0 and self.background and self.foreground
        if not self.background:
            return False
        if self.kind is LabelKind.CLASSES:
            return self.frames >= self.needed
        return self.frames >= self.needed and self.cells >= _ENOUGH_CELLS

    @property
    def needed(self) -> int:
        """How many frames are to be painted before a training."""
        return 1 if self.length == 1 else _ENOUGH_FRAMES


@dataclass(frozen=True)
class Hint:
    """What to do next.

    Attributes
    ----------
    text
        One or two short sentences.
    step
        The step where it is done.
    action
        The button that does it, by the words on it; "" where it is not a button.
    """

    text: str
    step: str
    action: str = ""


def advise(facts: Facts) -> Hint:
    """Say what to do next; the first thing that stands in the way comes first."""
    if facts.unsaved:
        return Hint(
            f"Your strokes are not saved: {facts.unsaved.removeprefix('not saved: ')}", "stack"
        )
    if not facts.image:
        return Hint("Open a stack: choose its path below, or drop it on this dock.", "stack")
    if facts.unfit:
        return Hint("Say below what the dimensions of the image are, or choose another.", "stack")
    if facts.training != "idle":
        return _while_training(facts)
    if facts.offer:
        return Hint("You have worked on this stack before. Go on with it?", "stack", "Go on")
    if facts.unfinished and not facts.predicted:
        return Hint(
            f"Training was stopped at epoch {facts.unfinished}: go on with it, or see it in Predict.",
            "train",
            "Go on with the training",
        )
    if not facts.model or (facts.new_frames and not facts.fine_tune):
        return _before_training(facts)
    if facts.new_frames:
        frames = _count(facts.new_frames, "frame is", "frames are")
        return Hint(f"{frames} new or corrected: press Fine-tune.", "train", "Fine-tune")
    if not facts.predicted:
        found = "what" if facts.kind is LabelKind.CLASSES else "which cells"
        return Hint(f"Press Predict to see {found} it finds in this frame.", "predict", "Predict")
    return _after_prediction(facts)


def _while_training(facts: Facts) -> Hint:
    if facts.training == "paused":
        return Hint("Training is paused. Go on, or stop it there.", "train", "Go on")
    if facts.training == "stopping":
        return Hint("Training stops; what it has learned so far is kept.", "train")
    if not facts.learning:
        return Hint(
            "Training on other labels than these: it does not learn what you paint here.", "train"
        )
    if not facts.epoch:
        return Hint(
            "Training: the first preview comes within half a minute. You can go on painting meanwhile.",
            "train",
        )
    return Hint(
        "Training: look at the preview. You can go on painting; it learns new frames too.", "train"
    )


def _before_training(facts: Facts) -> Hint:
    if not facts.annotation:
        return Hint("Make a layer to paint on: New annotation.", "annotate", "New annotation")
    if not facts.enough:
        return Hint(_paint_more(facts), "annotate")
    if facts.outcome == "failed":
        return Hint("The training failed; the Train step says why and what to do.", "train")
    if facts.sparse:
        frames = _count(facts.sparse, "frame", "frames")
        return Hint(
            f"Few cells in {frames}: paint all, or press Mark unpainted as unknown. Are these all? "
            "Press Train.",
            "annotate",
            "Mark unpainted as unknown",
        )
    frames = _count(facts.frames, "frame is", "frames are")
    return Hint(f"Press Train: {frames} ready.", "train", "Train")


def _paint_more(facts: Facts) -> str:
    if facts.kind is LabelKind.SCRIBBLES:
        if not facts.background and not facts.foreground:
            return "Draw a few strokes: with 1 on background, with 2 on cells."
        missing = "background: label 1" if facts.foreground else "cells: label 2"
        return f"Now a few strokes on {missing}."
    if facts.frames and not facts.background:
        return "No background is known yet: paint a few strokes of it with the brush Background."
    if facts.kind is LabelKind.CLASSES:
        if not facts.frames:
            which = "this image" if facts.length == 1 else "one frame"
            return f"Paint the classes in {which}; the table of classes says which is which."
        return "Paint a second frame too; a third one will check what is learned."
    if not facts.frames:
        which = "this image" if facts.length == 1 else "one frame"
        return f"Paint every cell of {which}. Each outline is another cell; with the brush, M takes the next."
    so_far = _count(facts.cells, "cell", "cells")
    if facts.length == 1:
        return f"Paint every cell, or some and press Mark unpainted as unknown ({so_far} so far)."
    so_far = f"{so_far} in {_count(facts.frames, 'frame', 'frames')} so far"
    return (
        f"Paint every cell of two frames, or some and press Mark unpainted as unknown ({so_far})."
    )


def _after_prediction(facts: Facts) -> Hint:
    if facts.score is None:
        return Hint(
            "Good? Go on to Evaluate and Measure. Not yet? In a bad frame, press Use as annotation.",
            "predict",
            "Use as annotation",
        )
    then = "Fine-tune" if facts.fine_tune else "Train"
    return Hint(
        f"{facts.score_name} {facts.score:.2f}. To get better, take the worst frame: Use as "
        f"annotation, correct it, {then}.",
        "predict",
        "Use as annotation",
    )


def step_states(facts: Facts) -> dict[str, str]:
    """Say of each step whether it is "done", "next" or still "open"."""
    done = {
        "stack": facts.image and not facts.unfit and not facts.offer,
        "annotate": facts.annotation and facts.enough and not facts.sparse,
        "train": facts.model and not facts.new_frames and facts.training == "idle",
        "predict": facts.predicted > 0,
        "evaluate": facts.score is not None,
        "measure": facts.measured > 0,
    }
    states = {name: "done" if is_done else "open" for name, is_done in done.items()}
    wanted = advise(facts).step
    if states[wanted] != "done":
        states[wanted] = "next"
    return states


def facts_of(session: Any, new_frames: int = 0, unfinished: int = 0) -> Facts:
    """Read the facts of a session.

    Parameters
    ----------
    session
        The `Session` of a viewer.
    new_frames
        Frames painted since they were last learned from; who watches the session knows.
    unfinished
        Epochs of a last training that was stopped.
    """
    training, saving, results = session.training, session.saving, session.results
    return Facts(
        image=session.image is not None,
        unfit=session.image is not None and not is_stack(session.image),
        annotation=session.annotation is not None,
        model=session.model is not None,
        fine_tune=session.fine_tuning.possible,
        offer=session.offer is not None,
        training=training.state,
        epoch=training.epoch,
        learning=training.labels() in (None, unwrap(session.annotation)),
        progress=training.progress,
        outcome=training.outcome,
        new_frames=new_frames,
        unfinished=unfinished,
        predicted=0 if results is None else len(results.done),
        measured=session.measured,
        unsaved=saving.text if saving.failed else "",
        **_painted(session.book),
    )


def _painted(book: Any) -> dict[str, Any]:
    totals = book.totals
    return {
        "kind": book.kind,
        "length": len(book),
        "frames": totals.frames,
        "cells": totals.objects,
        "background": _contrast(book.kind, totals),
        "foreground": any(totals.pixels[1:]),
        "sparse": totals.sparse,
        "score": totals.score,
        "score_name": totals.score_name or "SEG",
    }


def _contrast(kind: LabelKind, totals: Any) -> bool:
    """Whether there is background, or another class, to tell what is painted from."""
    if kind is LabelKind.CLASSES:
        return sum(pixels > 0 for pixels in totals.pixels) > 1
    if kind is LabelKind.INSTANCES and totals.whole:
        return True  # where every pixel is of some cell there are boundaries to learn
    return bool(totals.pixels) and totals.pixels[0] > 0


def _count(number: int, one: str, many: str) -> str:
    return f"{number} {one if number == 1 else many}"
