"""What to do next, and what must be fixed before training."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from napari_jnet.budgets import Hardware
from napari_jnet.config import Config
from napari_jnet.io.stack import frame_label
from napari_jnet.labels import LabelKind
from napari_jnet.plugin.frames import FrameInfo, FrameTotals
from napari_jnet.plugin.layers.read import is_stack, pixels, spatial_shape
from napari_jnet.plugin.workspace import Workspace

_DISK_NEEDED, _DISK_GOOD = 300 * 2**20, 2 * 2**30  # bytes: two checkpoints and their temporaries
_WIDE = 32  # channels of a U-Net that are slow on a processor
_NAMED = 4  # frames named in a sentence


class Fix(Enum):
    """What the button beside a problem does; the value is its usual title."""

    OPEN_STACK = "Open a stack"
    NEW_ANNOTATION = "New annotation"
    USE_FITTING_LABELS = "Use other labels"
    PAINT = "Go and paint"
    ASSIGN_ROLES = "Reassign training and validation"
    MARK_UNKNOWN = "Mark unpainted as unknown"
    NUMBER_APART = "Number them apart"
    OTHER_FOLDER = "Another folder"
    FEWER_CHANNELS = "Use 16 channels"


@dataclass(frozen=True)
class Problem:
    """One thing to know before training.

    Attributes
    ----------
    text
        What is the case and what to do.
    fix, positions
        What its button does, in which frames; None where only the user can fix it.
    title
        Of the button, where it is not the usual one.
    blocking
        Whether training cannot work.
    """

    text: str
    fix: Fix | None = None
    positions: tuple[int, ...] = ()
    title: str = ""
    blocking: bool = True


@dataclass(frozen=True)
class TrainingFacts:
    """What is known, cheaply, of a training that the user may ask for."""

    image: str | None = None  # name of the layer; None where there is none
    labels: str | None = None
    image_size: tuple[int, ...] = ()  # without channels
    labels_size: tuple[int, ...] = ()
    fitting: str = ""  # name of another labels layer that has the size of the image
    kind: LabelKind = LabelKind.INSTANCES
    frames: tuple[FrameInfo, ...] = ()  # the annotated ones
    frame_letter: str = "t"  # or "z"
    counting: bool = False  # whether frames are still being counted
    classes: tuple[str, ...] = ()  # names from background, where there are names
    run: Path | None = None  # None where the project decides
    run_taken: bool = False  # whether it holds a model already that is not to be resumed
    free_bytes: int | None = None  # on the disk of the run
    hardware: Hardware = field(default_factory=Hardware)
    channels: int = 0  # of a U-Net
    minutes: float | None = None  # None where epochs count
    mismatch: str = ""  # why the model cannot be fine-tuned with these labels

    @property
    def used(self) -> tuple[FrameInfo, ...]:
        """The annotated frames that are not left out."""
        return tuple(frame for frame in self.frames if frame.role != "unused")


def training_facts(
    workspace: Workspace,
    config: Config | None,
    hardware: Hardware,
    run: Path | None = None,
    *,
    resume: bool = False,
) -> TrainingFacts:
    """Return the facts of a training with this configuration into this folder.

    Parameters
    ----------
    config
        None where it cannot be made; its error is shown when training is asked for.
    run
        A run folder that the user has chosen; None for one in the project.
    resume
        Whether the run in it is to be resumed.
    """
    image, labels, frames = workspace.image, workspace.annotation, workspace.frames
    other = None if image is None else fitting_labels(workspace)
    names = tuple(name for name, _ in frames.classes)
    network = None if config is None else config.network
    return TrainingFacts(
        image=None if image is None else image.name,
        labels=None if labels is None else labels.name,
        image_size=() if image is None else spatial_shape(image),
        labels_size=() if labels is None else tuple(pixels(labels).shape),
        fitting="" if other is None else other.name,
        kind=frames.kind,
        frames=frames.annotated_info,
        frame_letter=frames.frame_name(0)[0],
        counting=frames.counting,
        classes=names[1:] if frames.kind is LabelKind.SCRIBBLES else names,  # those are by label
        run=run,
        run_taken=run is not None
        and not resume
        and any((run / name).exists() for name in ("last.pt", "model.pt")),
        free_bytes=_free(run or (workspace.project.path if workspace.project else Path.home())),
        hardware=hardware,
        channels=network.channels if network is not None and network.name == "unet" else 0,
        minutes=None if config is None else config.training.minutes,
        mismatch=workspace.fine_tuning.mismatch,
    )


def fitting_labels(workspace: Workspace) -> Any | None:
    """Return the last labels layer of the image's size that is not the annotation, or None."""
    size = spatial_shape(workspace.image)
    fitting = [layer for layer in workspace.labels() if tuple(pixels(layer).shape) == size]
    others = [layer for layer in fitting if layer is not workspace.annotation]
    return others[-1] if others else None


def _free(path: Path) -> int | None:
    """Return the free bytes where a folder is or will be; None where they are not known."""
    for folder in (path, *path.parents):
        if folder.is_dir():
            try:
                return shutil.disk_usage(folder).free
            except OSError:
                return None
    return None


def check(facts: TrainingFacts) -> list[Problem]:
    """List what stands in the way, blocking problems first."""
    found = list(_check_layers(facts))
    if not found:
        for checks in (_check_roles, _check_classes, _check_painting):
            found += checks(facts)
        if facts.mismatch:
            found.append(Problem(f"Fine-tune is not offered. {facts.mismatch}", blocking=False))
    found += _check_computer(facts)
    return sorted(found, key=lambda problem: not problem.blocking)


def _check_layers(facts: TrainingFacts) -> Iterator[Problem]:
    if facts.image is None:
        yield Problem("There is no image in the viewer; open one first.", Fix.OPEN_STACK)
    elif facts.labels is None:
        yield Problem(
            "There are no labels in the viewer; add a labels layer and paint some cells.",
            Fix.NEW_ANNOTATION,
        )
    elif facts.labels_size != facts.image_size:
        yield Problem(
            f"The image {facts.image!r} has {_size(facts.image_size)} pixels, the labels "
            f"{facts.labels!r} {_size(facts.labels_size)}; both must cover the same pixels.",
            Fix.USE_FITTING_LABELS if facts.fitting else Fix.NEW_ANNOTATION,
            title=f"Use {facts.fitting!r}" if facts.fitting else "",
        )


def _check_roles(facts: TrainingFacts) -> Iterator[Problem]:
    positions = tuple(frame.position for frame in facts.frames)
    if not facts.frames:
        if not facts.counting:
            what = {
                LabelKind.INSTANCES: "paint at least one cell in one frame",
                LabelKind.CLASSES: "paint at least one area in one frame",
                LabelKind.SCRIBBLES: "draw a stroke on a cell and one on the background",
            }[facts.kind]
            yield Problem(f"The labels {facts.labels!r} are empty; {what}.", Fix.PAINT)
    elif not any(frame.role in ("training", "") for frame in facts.frames):
        named = {"validation": "for validation", "unused": "unused"}
        roles = " or ".join(named[role] for role in {frame.role for frame in facts.frames})
        count = len(facts.frames)
        which = f"All {count} annotated frames are" if count > 1 else "The annotated frame is"
        yield Problem(
            f"{which} {roles}; at least one must be for training.", Fix.ASSIGN_ROLES, positions
        )
    elif len(facts.image_size) == 2:
        yield Problem(
            "A single image leaves none to check the network on, so judge it by eye, or on another "
            "image.",
            blocking=False,
        )
    elif len(facts.used) == 1:
        yield Problem(
            "There is one annotated frame only, so none is kept to check the network on. Annotate a "
            "second frame to get unbiased scores.",
            blocking=False,
        )
    elif not any(frame.role in ("validation", "") for frame in facts.used):
        yield Problem(
            "No annotated frame is for validation, so the scores do not tell how well other frames "
            "will do.",
            Fix.ASSIGN_ROLES,
            positions,
            blocking=False,
        )


def _check_classes(facts: TrainingFacts) -> Iterator[Problem]:
    """Look for classes that are painted in no training frame."""
    frames = [frame for frame in facts.used if frame.role != "validation"]
    if not frames:
        return
    if facts.kind is LabelKind.INSTANCES:
        if not any(frame.objects for frame in frames):
            yield Problem(
                "No training frame shows a cell, so there is nothing to learn; paint at least one cell.",
                Fix.PAINT,
            )
        elif not any(frame.pixels[:1] != (0,) or frame.unknown == 0 for frame in frames):
            yield Problem(
                "No pixel of the training frames is known to be background, so there is nothing to tell "
                "cells from; paint a few strokes with the brush Background.",
                Fix.PAINT,
            )
        return
    count = max([len(facts.classes), *(len(frame.pixels) for frame in frames)])
    painted = [sum(f.pixels[c] for f in frames if c < len(f.pixels)) for c in range(count)]
    scribbles = facts.kind is LabelKind.SCRIBBLES
    if sum(pixels > 0 for pixels in painted) < 2:
        only = next((c for c, pixels in enumerate(painted) if pixels), 0)
        background = "background (label 1)" if scribbles else "some of another class, or background"
        missing = background if only else f"some cells (label {1 + scribbles})"
        yield Problem(
            f"Only {_class_name(facts, only)} is painted, so there is nothing to tell it from; paint "
            f"{missing} too.",
            Fix.PAINT,
        )
        return
    # where every pixel has a class of its own, there is no background to learn
    first = 0 if scribbles else 1
    bare = [_class_name(facts, c) for c, pixels in enumerate(painted) if not pixels and c >= first]
    if bare:
        is_, them = ("is", "it") if len(bare) == 1 else ("are", "them")
        yield Problem(
            f"{' and '.join(bare)} {is_} painted in no training frame, so the network cannot learn "
            f"{them}.",
            Fix.PAINT,
            blocking=False,
        )


def _class_name(facts: TrainingFacts, number: int) -> str:
    if number < len(facts.classes) and facts.classes[number]:
        return repr(facts.classes[number])
    return "background" if number == 0 else f"class {number}"


def _check_painting(facts: TrainingFacts) -> Iterator[Problem]:
    """Look for cells that may not be painted yet, cells in pieces, and volumes."""
    whole = [frame for frame in facts.used if len(frame.pixels) > 1 and frame.pixels[0]]
    whole = [frame for frame in whole if not frame.empty and facts.kind is LabelKind.INSTANCES]
    median = np.median([frame.objects for frame in whole]) if whole else 0
    sparse = [frame for frame in whole if frame.sparse or 2 * frame.objects < median]
    if sparse:
        where = _names(facts, sparse)
        yield Problem(
            f"Few cells are painted in {where}. All that is unpainted is treated as background: if "
            f"there are more cells in {'them' if len(sparse) > 1 else 'it'}, paint them, or mark "
            "unpainted pixels as unknown.",
            Fix.MARK_UNKNOWN,
            tuple(frame.position for frame in sparse),
            f"Mark unpainted in {where} as unknown",
            blocking=False,
        )
    broken = [frame for frame in facts.used if frame.in_pieces]
    if broken:
        # often several cells that were painted with one number
        (cell, count), *more = [piece for frame in broken for piece in frame.in_pieces]
        others = (
            f", as {'is' if len(more) == 1 else 'are'} {len(more)} more in {_names(facts, broken)}"
        )
        yield Problem(
            f"Cell {cell} of {_names(facts, broken[:1])} is in {count} pieces{others if more else ''}. "
            "Cells that share a number are learned as one where they touch: number them apart, unless "
            "it is one cell that something else cuts in two.",
            Fix.NUMBER_APART,
            tuple(frame.position for frame in broken),
            blocking=False,
        )
    if len(facts.image_size) > 3 or facts.frame_letter == "z":
        yield Problem(
            "Volumes are segmented plane by plane: the network sees one section at a time. Sections "
            "beside each other look alike, so keep whole volumes, or one end of a volume, for "
            "validation.",
            blocking=False,
        )


def _check_computer(facts: TrainingFacts) -> Iterator[Problem]:
    if facts.run is not None and facts.run_taken:
        yield Problem(
            f"{facts.run} holds a trained model already; a new training would overwrite it. "
            "Choose another folder.",
            Fix.OTHER_FOLDER,
        )
    free = facts.free_bytes
    if free is not None and free < _DISK_GOOD:
        full = free < _DISK_NEEDED
        yield Problem(
            f"Only {free / 2**20:.0f} MB are free on the disk of {facts.run or 'the project'}. Free "
            f"some space{', or choose another folder under More options' if full else ''}.",
            blocking=full,
        )
    short = facts.minutes is not None and facts.minutes < 45
    if facts.hardware.device == "cpu" and facts.channels >= _WIDE and short:
        yield Problem(
            f"A U-Net of {facts.channels} channels learns slowly without a GPU: {facts.minutes:g} "
            "minutes are few for it.",
            Fix.FEWER_CHANNELS,
            blocking=False,
        )


def assign_roles(positions: Sequence[int]) -> dict[int, str]:
    """Return new roles: one frame of six for validation, at least one of two or more, spread out."""
    ordered = sorted(positions)
    count = max(1, len(ordered) // 6) if len(ordered) > 1 else 0
    held = {ordered[(2 * i + 1) * len(ordered) // (2 * count)] for i in range(count)}
    return {p: "validation" if p in held else "training" for p in ordered}


def _names(facts: TrainingFacts, frames: Sequence[FrameInfo]) -> str:
    named = [frame_label(facts.frame_letter, frame.number) for frame in frames[:_NAMED]]
    more = len(frames) - len(named)
    return ", ".join(named) + (f" and {more} more" if more else "")


def _size(shape: Sequence[int]) -> str:
    return " × ".join(str(n) for n in shape)


_ENOUGH_CELLS = 2
_ENOUGH_FRAMES = 2


@dataclass(frozen=True)
class WorkflowState:
    """How the work on one stack stands; painted frames and pixels are those of the annotation."""

    image: bool = False
    unfit: bool = False  # the image is not a stack, or does not say what its dimensions are
    annotation: bool = False
    model: bool = False
    fine_tune: bool = True  # whether the model can go on learning from these labels
    offer: bool = False  # earlier work on this stack can be resumed
    kind: LabelKind = LabelKind.INSTANCES
    length: int = 0  # frames of the stack; a single image cannot have a second one painted
    frames: int = 0
    cells: int = 0  # objects (instances) or painted pixels of classes
    background: bool = False
    foreground: bool = False  # of classes, any two count as both
    sparse: int = 0  # frames where few cells are painted, and the rest counts as background
    training: str = "idle"  # as in `TrainingStatus`, like progress and outcome
    epoch: int = 1
    learning: bool = True  # whether the training learns from these labels, and not from others
    progress: float = 0.0
    outcome: str = ""
    new_frames: int = 0  # painted or corrected since the network last learned from them
    predicted: int = 0  # frames of the last prediction
    score: float | None = None  # mean of the evaluated frames
    score_name: str = "SEG"
    measured: int = 0  # cells in the table of measures
    unfinished: int = 0  # epochs of the last training, where it was stopped before its end
    unsaved: str = ""  # why the annotations cannot be saved

    @property
    def enough(self) -> bool:
        """Whether there is enough to learn from."""
        if self.kind is LabelKind.SCRIBBLES:
            return self.frames > 0 and self.background and self.foreground
        needed = 1 if self.length == 1 else _ENOUGH_FRAMES
        cells = self.kind is LabelKind.CLASSES or self.cells >= _ENOUGH_CELLS
        return self.background and self.frames >= needed and cells


def workflow_state(workspace: Workspace, new_frames: int = 0, unfinished: int = 0) -> WorkflowState:
    """Read the state from a workspace; what it does not know is given: see `WorkflowState`."""
    training, saving, frames = workspace.training, workspace.saving, workspace.frames
    totals, prediction = frames.totals, workspace.prediction
    return WorkflowState(
        image=workspace.image is not None,
        unfit=workspace.image is not None and not is_stack(workspace.image),
        annotation=workspace.annotation is not None,
        model=workspace.model is not None,
        fine_tune=workspace.fine_tuning.possible,
        offer=workspace.offer is not None,
        kind=frames.kind,
        length=len(frames),
        frames=totals.frames,
        cells=totals.objects,
        background=_has_background(frames.kind, totals),
        foreground=any(totals.pixels[1:]),
        sparse=totals.sparse,
        training=training.state,
        epoch=training.epoch,
        learning=training.labels() in (None, workspace.annotation),
        progress=training.progress,
        outcome=training.outcome,
        new_frames=new_frames,
        predicted=0 if prediction is None else len(prediction.done),
        score=totals.score,
        score_name=totals.score_name or "SEG",
        measured=workspace.measured,
        unfinished=unfinished,
        unsaved=saving.text if saving.failed else "",
    )


def _has_background(kind: LabelKind, totals: FrameTotals) -> bool:
    """Whether there is background, or another class, beside what is painted."""
    if kind is LabelKind.CLASSES:
        return sum(pixels > 0 for pixels in totals.pixels) > 1
    if kind is LabelKind.INSTANCES and totals.whole:
        return True  # where every pixel is of some cell there are boundaries to learn
    return bool(totals.pixels) and totals.pixels[0] > 0


class Hint(NamedTuple):
    """What to do next: one or two sentences, the step where it is done, and the command that does it."""

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
    if state.training != "idle":
        return Hint(_while_training(state), "train", "pause" if state.training == "paused" else "")
    if state.offer:
        return Hint("You have worked on this stack before. Resume it?", "stack", "resume_project")
    if state.unfinished and not state.predicted:
        text = f"Training was stopped at epoch {state.unfinished}: resume it, or see it in Predict."
        return Hint(text, "train", "resume_training")
    if not state.model or (state.new_frames and not state.fine_tune):
        return _before_training(state)
    if state.new_frames:
        frames = _count(state.new_frames, "frame is", "frames are")
        return Hint(f"{frames} new or corrected: press Fine-tune.", "train", "fine_tune")
    if not state.predicted:
        found = "what" if state.kind is LabelKind.CLASSES else "which cells"
        return Hint(f"Press Predict to see {found} it finds in this frame.", "predict", "predict")
    text = "Good? Go on to Evaluate and Measure. Not yet? In a bad frame, press Use as annotation."
    if state.score is not None:
        text = (
            f"{state.score_name} {state.score:.2f}. To get better, take the worst frame: Use as "
            f"annotation, correct it, {'Fine-tune' if state.fine_tune else 'Train'}."
        )
    return Hint(text, "predict", "use_as_annotation")


def _while_training(state: WorkflowState) -> str:
    if state.training == "paused":
        return "Training is paused. Resume it, or stop it there."
    if state.training == "stopping":
        return "Training stops; what it has learned so far is kept."
    if not state.learning:
        return "Training on other labels than these: it does not learn what you paint here."
    if not state.epoch:
        return "Training: the first preview comes within half a minute. You can go on painting meanwhile."
    return "Training: look at the preview. You can go on painting; it learns new frames too."


def _before_training(state: WorkflowState) -> Hint:
    if not state.annotation:
        return Hint("Make a layer to paint on: New annotation.", "annotate", "new_annotation")
    if not state.enough:
        return Hint(_paint_more(state), "annotate")
    if state.outcome == "failed":
        return Hint("The training failed; the Train step says why and what to do.", "train")
    if state.sparse:
        text = (
            f"Few cells in {_count(state.sparse, 'frame', 'frames')}: paint all, or press Mark "
            "unpainted as unknown. Are these all? Press Train."
        )
        return Hint(text, "annotate", "rest_unknown")
    return Hint(
        f"Press Train: {_count(state.frames, 'frame is', 'frames are')} ready.", "train", "train"
    )


def _paint_more(state: WorkflowState) -> str:
    which = "this image" if state.length == 1 else "one frame"
    if state.kind is LabelKind.SCRIBBLES:
        if not state.background and not state.foreground:
            return "Draw a few strokes: with 1 on background, with 2 on cells."
        missing = "background: label 1" if state.foreground else "cells: label 2"
        return f"Now a few strokes on {missing}."
    if state.frames and not state.background:
        return "No background is known yet: paint a few strokes of it with the brush Background."
    if state.kind is LabelKind.CLASSES and not state.frames:
        return f"Paint the classes in {which}; the table of classes says which is which."
    if state.kind is LabelKind.CLASSES:
        return "Paint a second frame too; a third one will check what is learned."
    if not state.frames:
        return f"Paint every cell of {which}. Each outline is another cell; with the brush, M takes the next."
    so_far = _count(state.cells, "cell", "cells")
    if state.length == 1:
        return f"Paint every cell, or some and press Mark unpainted as unknown ({so_far} so far)."
    so_far = f"{so_far} in {_count(state.frames, 'frame', 'frames')} so far"
    return (
        f"Paint every cell of two frames, or some and press Mark unpainted as unknown ({so_far})."
    )


def step_states(state: WorkflowState) -> dict[str, str]:
    """Return for each step whether it is "done", "next" or still "open"."""
    done = {
        "stack": state.image and not state.unfit and not state.offer,
        "annotate": state.annotation and state.enough and not state.sparse,
        "train": state.model and not state.new_frames and state.training == "idle",
        "predict": state.predicted > 0,
        "evaluate": state.score is not None,
        "measure": state.measured > 0,
    }
    states = {name: "done" if is_done else "open" for name, is_done in done.items()}
    wanted = next_step(state).step
    if states[wanted] != "done":
        states[wanted] = "next"
    return states


def _count(number: int, one: str, many: str) -> str:
    return f"{number} {one if number == 1 else many}"
