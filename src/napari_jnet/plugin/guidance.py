"""What to do next, and what must be fixed before training."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from enum import Enum
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np

from napari_jnet.config import Config
from napari_jnet.files import read_json
from napari_jnet.io.run_folder import packaged_name
from napari_jnet.io.stack import mismatch
from napari_jnet.labels import LabelKind
from napari_jnet.plugin.frames import FrameInfo, FrameTotals
from napari_jnet.plugin.layers.read import check_same_size, is_stack, pixels, spatial_shape
from napari_jnet.plugin.layers.watch import FrameTable
from napari_jnet.plugin.workspace import TrainingStatus, Workspace

_NAMED = 4  # frames named in a sentence


class Fix(Enum):
    """What the button beside a problem does; the value is its title."""

    OPEN_STACK = "Open a stack"
    NEW_ANNOTATION = "New annotation"
    PAINT = "Go and paint"
    ASSIGN_ROLES = "Reassign training and validation"
    MARK_UNKNOWN = "Mark unpainted as unknown"
    NUMBER_APART = "Number them apart"


@dataclass(frozen=True)
class Problem:
    """One thing to know before training."""

    text: str  # what is the case and what to do
    fix: Fix | None = None  # what its button does; None where only the user can fix it
    positions: tuple[int, ...] = ()  # of the frames to fix
    blocking: bool = True  # training cannot work


def check(workspace: Workspace) -> list[Problem]:
    """List what stands in the way of a training; what is told by the images it checks itself."""
    image, labels, frames = workspace.image, workspace.annotation, workspace.frames
    if image is None:
        return [Problem("There is no image in the viewer; open one first.", Fix.OPEN_STACK)]
    if labels is None:
        text = "There are no labels in the viewer; add a labels layer and paint some cells."
        return [Problem(text, Fix.NEW_ANNOTATION)]
    try:
        check_same_size(labels, image)
    except ValueError as error:
        return [Problem(str(error), Fix.NEW_ANNOTATION)]
    found = check_frames(frames)
    if workspace.model is not None and (why := fine_tune_problem(workspace)):
        found.append(Problem(f"Fine-tune is not offered. {why}", blocking=False))
    return found


def check_frames(frames: FrameTable) -> list[Problem]:
    """List what stands in the way of learning from these frames."""
    annotated = frames.annotated_info
    if not annotated:
        text = f"The labels {frames.layer.name!r} are empty; paint at least one cell in one frame."
        return [] if frames.counting else [Problem(text, Fix.PAINT)]
    if not any(frame.role in ("training", "") for frame in annotated):
        text = "No annotated frame is for training; at least one must be."
        return [Problem(text, Fix.ASSIGN_ROLES, tuple(frame.position for frame in annotated))]
    return list(_check_painting(frames, [f for f in annotated if f.role != "unused"]))


def _check_painting(frames: FrameTable, used: Sequence[FrameInfo]) -> Iterator[Problem]:
    """Look for cells that may not be painted yet, and for cells in pieces."""

    def names(some: Sequence[FrameInfo]) -> str:
        more = f" and {len(some) - _NAMED} more" if len(some) > _NAMED else ""
        return ", ".join(frames.frame_name(f.number) for f in some[:_NAMED]) + more

    whole = [frame for frame in used if len(frame.pixels) > 1 and frame.pixels[0]]
    whole = [frame for frame in whole if not frame.empty and frames.kind is LabelKind.INSTANCES]
    median = np.median([frame.objects for frame in whole]) if whole else 0
    sparse = [frame for frame in whole if frame.sparse or 2 * frame.objects < median]
    if sparse:
        yield Problem(
            f"Few cells are painted in {names(sparse)}. All that is unpainted is treated as background: if "
            "there are more cells, paint them, or mark unpainted pixels as unknown.",
            Fix.MARK_UNKNOWN,
            tuple(frame.position for frame in sparse),
            blocking=False,
        )
    broken = [frame for frame in used if frame.in_pieces]
    if broken:
        # often several cells that were painted with one number
        cell, count = broken[0].in_pieces[0]
        yield Problem(
            f"There are cells in pieces in {names(broken)}, such as cell {cell} in {count} pieces. "
            "Cells that share a number are learned as one where they touch: number them apart, unless "
            "it is one cell that something else cuts in two.",
            Fix.NUMBER_APART,
            tuple(frame.position for frame in broken),
            blocking=False,
        )


def assign_roles(positions: Sequence[int]) -> dict[int, str]:
    """Return new roles: one frame of six for validation, at least one of two or more, spread out."""
    ordered = sorted(positions)
    count = max(1, len(ordered) // 6) if len(ordered) > 1 else 0
    held = {ordered[(2 * i + 1) * len(ordered) // (2 * count)] for i in range(count)}
    return {p: "validation" if p in held else "training" for p in ordered}


def fine_tune_problem(workspace: Workspace) -> str:
    """Return why the model cannot go on learning from the annotation, and what to do; "" if it can.

    Of a single model file this is not known here: the training reads it first, and refuses it.
    """
    path, image, frames = workspace.model, workspace.image, workspace.frames
    if path is None:
        return "There is no model to fine-tune yet; press Train first."
    file = (path.parent if path.name == "model.pt" else path) / "config.json"
    if image is None or frames.layer is None or not file.is_file():
        return ""
    config = _read_config(file, file.stat().st_mtime_ns)
    if config is None:
        return ""
    cells, name = frames.kind is LabelKind.INSTANCES, file.parent.name
    channels = pixels(image).shape[len(spatial_shape(image)) :]
    return mismatch(
        config.network,
        f"run {name}" if name.isdigit() else name,
        kind=LabelKind.INSTANCES if cells else LabelKind.CLASSES,
        largest=len(frames.totals.pixels) - 1,
        channels=channels[0] if channels else 1,
    )


@lru_cache(maxsize=8)
def _read_config(file: Path, _when: int) -> Config | None:
    try:
        return Config.from_saved(read_json(file))
    except (OSError, ValueError, TypeError, AttributeError):  # said where it is trained with
        return None


_ENOUGH_CELLS = 2
_ENOUGH_FRAMES = 2


@dataclass(frozen=True)
class WorkflowState:
    """How the work on one stack stands."""

    image: bool = False
    unfit: bool = False  # the image is not a stack, or does not say what its dimensions are
    annotation: bool = False
    model: bool = False
    starter: bool = False  # whether it is one of the package, which nobody trained here
    fine_tune: bool = True  # whether the model can go on learning from these labels
    offer: bool = False  # earlier work on this stack can be resumed
    kind: LabelKind = LabelKind.INSTANCES
    length: int = 0  # frames of the stack; a single image cannot have a second one painted
    totals: FrameTotals = field(default_factory=FrameTotals)  # of the annotation
    training: TrainingStatus = field(default_factory=TrainingStatus)
    learning: bool = True  # whether the training learns from these labels, and not from others
    new_frames: int = 0  # painted or corrected since the network last learned from them
    predicted: int = 0  # frames of the last prediction
    measured: int = 0  # cells in the table of measures
    unfinished: int = 0  # epochs of the last training, where it was stopped before its end
    unsaved: str = ""  # why the annotations cannot be saved

    @property
    def background(self) -> bool:
        """Whether there is background, or another class, beside what is painted."""
        totals = self.totals
        if self.kind is LabelKind.CLASSES:
            return sum(pixels > 0 for pixels in totals.pixels) > 1
        if self.kind is LabelKind.INSTANCES and totals.whole:
            return True  # where every pixel is of some cell there are boundaries to learn
        return bool(totals.pixels) and totals.pixels[0] > 0

    @property
    def enough(self) -> bool:
        """Whether there is enough to learn from."""
        if self.kind is LabelKind.SCRIBBLES:
            return self.background and any(self.totals.pixels[1:])
        needed = 1 if self.length == 1 else _ENOUGH_FRAMES
        cells = self.kind is LabelKind.CLASSES or self.totals.objects >= _ENOUGH_CELLS
        return self.background and self.totals.frames >= needed and cells


def workflow_state(workspace: Workspace, new_frames: int = 0, unfinished: int = 0) -> WorkflowState:
    """Read the state from a workspace; what it does not know is given: see `WorkflowState`."""
    training, saving, prediction = workspace.training, workspace.saving, workspace.prediction
    return WorkflowState(
        image=workspace.image is not None,
        unfit=workspace.image is not None and not is_stack(workspace.image),
        annotation=workspace.annotation is not None,
        model=workspace.model is not None,
        starter=bool(packaged_name(workspace.model)),
        fine_tune=not fine_tune_problem(workspace),
        offer=workspace.offer is not None,
        kind=workspace.frames.kind,
        length=len(workspace.frames),
        totals=workspace.frames.totals,
        training=training,
        learning=training.labels() in (None, workspace.annotation),
        new_frames=new_frames,
        predicted=0 if prediction is None else len(prediction.done),
        measured=workspace.measured,
        unfinished=unfinished,
        unsaved=saving.text if saving.failed else "",
    )


class Hint(NamedTuple):
    """What to do next: one or two sentences, the step where it is done, and the command that does it.

    ``command`` is one of `COMMANDS`, or "" where a button alone does it.
    """

    text: str
    step: str
    command: str = ""


def next_step(state: WorkflowState) -> Hint:
    """Return what to do next; the first thing that stands in the way comes first."""
    if state.unsaved:
        return Hint(state.unsaved[:1].upper() + state.unsaved[1:], "stack")
    if not state.image:
        return Hint("Open a stack: choose its path below, or drop it on this dock.", "stack")
    if state.unfit:
        return Hint("Choose below what the dimensions of the image are, or open another.", "stack")
    if state.training.state != "idle":
        return Hint(_while_training(state), "train")
    if state.offer:
        return Hint("You have worked on this stack before. Resume it?", "stack")
    if state.unfinished and not state.predicted:
        text = f"Training was stopped at epoch {state.unfinished}: resume it, or see it in Predict."
        return Hint(text, "train")
    if not (state.model or state.annotation or state.predicted):
        text = "Press Predict to see which cells the starter finds. Or paint some in Annotate."
        return Hint(text, "predict", "predict")
    if not state.model or (state.new_frames and not state.fine_tune):
        return _before_training(state)
    if state.new_frames:
        frames = _count(state.new_frames, "frame is", "frames are")
        return Hint(f"{frames} new or corrected: press Fine-tune.", "train", "train")
    if not state.predicted:
        found = "what" if state.kind is LabelKind.CLASSES else "which cells"
        return Hint(f"Press Predict to see {found} it finds in this frame.", "predict", "predict")
    text = (
        "Good? Go on to Evaluate and Measure. Next cell shows the least sure ones; in a bad frame, press Use "
        "as annotation."
    )
    if state.totals.score is not None:
        score = f"{state.totals.score_name} {state.totals.score:.2f}"
        again = "Fine-tune" if state.fine_tune else "Train"
        text = (
            f"{score}. To get better, take the worst frame: Use as annotation, correct it, {again}."
        )
    return Hint(text, "predict", "use_as_annotation")


def _while_training(state: WorkflowState) -> str:
    if state.training.state == "paused":
        return "Training is paused. Resume it, or stop it there."
    if state.training.state == "stopping":
        return "Training stops; what it has learned so far is kept."
    if not state.learning:
        return "Training on other labels than these: it does not learn what you paint here."
    return "Training: look at the preview. You can go on painting; it learns new frames too."


def _before_training(state: WorkflowState) -> Hint:
    if not state.annotation:
        return Hint("Make a layer to paint on: New annotation.", "annotate")
    if not state.enough:
        return Hint(_paint_more(state), "annotate")
    if state.training.outcome == "failed":
        return Hint("The training failed; the Train step says why and what to do.", "train")
    if state.totals.sparse:
        text = (
            f"Few cells in {_count(state.totals.sparse, 'frame', 'frames')}: paint all, or press Mark "
            "unpainted as unknown. Are these all? Press Train."
        )
        return Hint(text, "annotate", "rest_unknown")
    return Hint(
        f"Press Train: {_count(state.totals.frames, 'frame is', 'frames are')} ready.",
        "train",
        "train",
    )


def _paint_more(state: WorkflowState) -> str:
    if state.kind is LabelKind.SCRIBBLES:
        return "Draw a few strokes: with 1 on background, with 2 on cells."
    if state.totals.frames and not state.background:
        return "No background is known yet: paint a few strokes of it with the brush Background."
    frames = "the frame" if state.length == 1 else "two frames"
    if state.kind is LabelKind.CLASSES:
        return f"Paint the classes in {frames}; the table of classes says which is which."
    so_far = f"{_count(state.totals.objects, 'cell', 'cells')} so far"
    return f"Paint every cell of {frames}, or some and press Mark unpainted as unknown ({so_far})."


def step_states(state: WorkflowState) -> dict[str, str]:
    """Return for each step whether it is "done", "next" or still "open"."""
    done = {
        "stack": state.image and not state.unfit and not state.offer,
        "annotate": state.annotation and state.enough and not state.totals.sparse,
        "train": state.model
        and not (state.starter or state.new_frames)
        and state.training.state == "idle",
        "predict": state.predicted > 0,
        "evaluate": state.totals.score is not None,
        "measure": state.measured > 0,
    }
    states = {name: "done" if is_done else "open" for name, is_done in done.items()}
    wanted = next_step(state).step
    if states[wanted] != "done":
        states[wanted] = "next"
    return states


def _count(number: int, one: str, many: str) -> str:
    return f"{number} {one if number == 1 else many}"
