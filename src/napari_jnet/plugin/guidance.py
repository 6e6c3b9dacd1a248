"""What to do next, and what must be fixed before training."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from napari_jnet.budgets import Hardware
from napari_jnet.config import Config
from napari_jnet.io.stack import AnnotatedFrame, frame_label
from napari_jnet.labels import UNKNOWN, LabelKind, known_labels
from napari_jnet.plugin.frames import FrameInfo
from napari_jnet.plugin.layers.read import TrainingInput, is_stack

_SIZES = ("full", "half", "quarter", "an eighth of the", "a sixteenth of the")


@dataclass(frozen=True)
class Advice:
    """What the data decide, where nobody says otherwise.

    Attributes
    ----------
    diameter
        Of the typical object, in pixels of the full frame; the length of a stroke.
    objects
        How many it was measured on.
    levels
        Resolution levels, lowest first.
    bound
        Distance bound in pixels.
    min_size
        Smallest object in pixels.
    choices
        Top level -> resolution levels: what may be chosen instead.
    sparse
        Whether labels are strokes, which say neither distances nor how small an object may be.
    """

    diameter: float
    objects: int
    levels: tuple[int, ...]
    bound: float
    min_size: int
    choices: dict[int, tuple[int, ...]] = field(default_factory=dict)
    sparse: bool = False


def advice_advise(data: TrainingInput, config: Config) -> Advice | None:
    """Measure the annotated objects; called in a worker thread, since it imports torch.

    Parameters
    ----------
    data
        What will be learned from; only labels are read.
    config
        The preset; sizes that it gives are kept.

    Returns
    -------
    Advice or None
        None without any object.
    """
    from napari_jnet.training.estimate import (
        adapt,
        is_sparse,
        object_areas,
        resolution_levels,
        typical_diameter,
    )

    frames = list(_labels_only(data))
    areas = object_areas(frames) if frames else np.zeros(0)
    if not areas.size:
        return None
    adapted = adapt(config, frames)
    choices = {}
    for top in range(0, -len(_SIZES), -1):
        levels = resolution_levels(config.network, frames, top)
        if levels[-1] == top:
            choices[top] = levels
    return Advice(
        diameter=typical_diameter(frames) or 0.0,
        objects=int(areas.size),
        levels=adapted.network.resolution_levels,
        bound=float(adapted.targets.dt_bound or 0),
        min_size=adapted.instances.min_size,
        choices=choices,
        sparse=all(is_sparse(frame) for frame in frames),
    )


def _labels_only(data: TrainingInput) -> Iterator[AnnotatedFrame]:
    """Give the frames to learn from with blank images: reading those would take long."""
    kind = LabelKind.CLASSES if data.kind is LabelKind.SCRIBBLES else data.kind
    channels = data.image.shape[data.labels.ndim :]
    for index in np.ndindex(tuple(data.labels.shape[:-2])):
        number = data.frame_numbers[index[0] if index else 0]
        if data.roles.get(number, "") in ("unused", "validation"):
            continue
        labels = np.asarray(data.labels[index])
        if not labels.any() or not (labels != UNKNOWN).any():
            continue
        known = known_labels(labels, data.kind, partial=bool(index) and number in data.partial)
        blank: Any = np.broadcast_to(np.float32(0), labels.shape + channels)
        yield AnnotatedFrame("", blank, known, kind)


def size_title(top: int) -> str:
    """Say a resolution level: "half size"."""
    return f"{_SIZES[-top] if -top < len(_SIZES) else f'1/{2**-top} of the'} size"


def advice_words(
    advice: Advice,
    kind: LabelKind,
    *,
    top: int | None = None,
    bound: float | None = None,
    min_size: int = 0,
    distance: bool = True,
) -> str:
    """Say what is learned at which size; values that somebody chose instead are said as chosen."""
    what = "Cells" if kind is LabelKind.INSTANCES else "Painted areas"
    across = f"{what} are about {advice.diameter:.0f} px across"
    if advice.sparse:
        across = f"Strokes are about {advice.diameter:.0f} px long"
    parts = [f"learnt at {size_title(advice.levels[-1] if top is None else top)}"]
    if distance and not advice.sparse:
        parts.append(f"distance bound {advice.bound if bound is None else bound:g} px")
    smallest = min_size or advice.min_size
    if smallest:
        parts.append(f"objects of less than {smallest} pixels left out")
    return f"{across}: {', '.join(parts)}."


_DISK_NEEDED, _DISK_GOOD = 300 * 2**20, 2 * 2**30  # bytes: two checkpoints and their temporaries


_WIDE = 32  # channels of a U-Net that are slow on a processor


_NAMED = 4  # frames named in a sentence


@dataclass(frozen=True)
class Fix:
    """What a button does: the name of an action, and the frames it is for."""

    action: str
    positions: tuple[int, ...] = ()


@dataclass(frozen=True)
class Problem:
    """One thing to know before training.

    Attributes
    ----------
    text
        What is the case and what to do.
    blocking
        Whether training cannot work.
    fix_title, fix
        Of the button that mends it; None where only the user can.
    """

    text: str
    blocking: bool = True
    fix_title: str = ""
    fix: Fix | None = None


@dataclass(frozen=True)
class TrainingFacts:
    """What is known, cheaply, of a training that somebody may ask for.

    Attributes
    ----------
    image, labels
        Names of the layers; None where there is none.
    image_size, labels_size
        Their shapes without colours.
    integers
        Whether the labels are whole numbers.
    fitting
        Name of another labels layer that has the size of the image; "" where there is none.
    frames
        Facts of the annotated frames.
    frame_letter
        "t" or "z".
    counting
        Whether frames are still being counted.
    classes
        Names of the classes from 0, where there are names.
    run
        Where the run will go; None where the project decides.
    run_taken
        Whether it holds a trained model already, and nobody wants to go on with it.
    free_bytes
        On the disk of the run.
    hardware
        Where it will compute.
    channels, minutes
        Of the network (0 where it is no U-Net), of the budget (None where epochs count).
    misfit
        Why the model of the session cannot be fine-tuned with these labels; "" where it can.
    """

    image: str | None = None
    labels: str | None = None
    image_size: tuple[int, ...] = ()
    labels_size: tuple[int, ...] = ()
    integers: bool = True
    fitting: str = ""
    kind: LabelKind = LabelKind.INSTANCES
    frames: tuple[FrameInfo, ...] = ()
    frame_letter: str = "t"
    counting: bool = False
    classes: tuple[str, ...] = ()
    run: Path | None = None
    run_taken: bool = False
    free_bytes: int | None = None
    hardware: Hardware = field(default_factory=Hardware)
    channels: int = 0
    minutes: float | None = None
    misfit: str = ""

    @cached_property
    def used(self) -> tuple[FrameInfo, ...]:
        """The annotated frames that are not left out."""
        return tuple(frame for frame in self.frames if frame.role != "unused")


def check(facts: TrainingFacts) -> list[Problem]:
    """List what stands in the way, blocking problems first."""
    found = list(_layers(facts))
    if not found:
        found = [
            *_labels(facts),
            *_frames(facts),
            *_classes(facts),
            *_sparse(facts),
            *_pieces(facts),
            *_volumes(facts),
        ]
        if facts.misfit:
            found.append(Problem(f"Fine-tune is not offered. {facts.misfit}", blocking=False))
    found += [*_disk(facts), *_speed(facts)]
    return sorted(found, key=lambda problem: not problem.blocking)


def _volumes(facts: TrainingFacts) -> Iterator[Problem]:
    if len(facts.image_size) < 4 and facts.frame_letter != "z":
        return
    yield Problem(
        "Volumes are segmented plane by plane: the network sees one section at a time. Sections beside "
        "each other look alike, so keep whole volumes, or one end of a volume, for validation.",
        blocking=False,
    )


def _layers(facts: TrainingFacts) -> Iterator[Problem]:
    if facts.image is None:
        yield Problem(
            "There is no image in the viewer; open one first.",
            fix_title="Open a stack",
            fix=Fix("open"),
        )
        return
    if facts.labels is None:
        yield Problem(
            "There are no labels in the viewer; add a labels layer and paint some cells.",
            fix_title="New annotation",
            fix=Fix("annotate"),
        )
        return
    if facts.labels_size != facts.image_size:
        yield Problem(
            f"The image {facts.image!r} has {_size(facts.image_size)} pixels, the labels "
            f"{facts.labels!r} {_size(facts.labels_size)}; both must cover the same pixels.",
            fix_title=f"Use {facts.fitting!r}" if facts.fitting else "New annotation",
            fix=Fix("choose fitting") if facts.fitting else Fix("annotate"),
        )
    elif not facts.integers:
        yield Problem(
            f"The labels {facts.labels!r} are no whole numbers; right-click the layer and convert "
            "it to labels."
        )


def _labels(facts: TrainingFacts) -> Iterator[Problem]:
    if facts.frames or facts.counting:
        return
    what = {
        LabelKind.INSTANCES: "paint at least one cell in one frame",
        LabelKind.CLASSES: "paint at least one area in one frame",
        LabelKind.SCRIBBLES: "draw a stroke on a cell and one on the background",
    }[facts.kind]
    yield Problem(
        f"The labels {facts.labels!r} are empty; {what}.",
        fix_title="Go and paint",
        fix=Fix("paint"),
    )


def _frames(facts: TrainingFacts) -> Iterator[Problem]:
    if not facts.frames:
        return
    anew = Fix("roles", tuple(frame.position for frame in facts.frames))
    if not any(frame.role in ("training", "") for frame in facts.frames):
        roles = {frame.role for frame in facts.frames}
        said = " or ".join({"validation": "for validation", "unused": "unused"}[r] for r in roles)
        many = len(facts.frames) > 1
        yield Problem(
            f"{f'All {len(facts.frames)} annotated frames are' if many else 'The annotated frame is'} "
            f"{said}; at least one must be for training.",
            fix_title="Give the roles anew",
            fix=anew,
        )
        return
    if len(facts.image_size) == 2:
        yield Problem(
            "A single image leaves none to check the network on, so judge it by eye, or on another "
            "image.",
            blocking=False,
        )
    elif len(facts.used) == 1:
        yield Problem(
            "There is one annotated frame only, so none is kept to check the network on. Annotate a "
            "second frame to get honest scores.",
            blocking=False,
        )
    elif not any(frame.role in ("validation", "") for frame in facts.used):
        yield Problem(
            "No annotated frame is for validation, so the scores cannot say how well other frames "
            "will do.",
            blocking=False,
            fix_title="Give the roles anew",
            fix=anew,
        )


def _classes(facts: TrainingFacts) -> Iterator[Problem]:
    """Look for classes that nobody painted where they are learned from."""
    learned = [frame for frame in facts.used if frame.role != "validation"]
    if not learned:
        return
    if facts.kind is LabelKind.INSTANCES:
        if not any(frame.objects for frame in learned):
            yield Problem(
                "No training frame shows a cell, so there is nothing to learn; paint at least one cell.",
                fix_title="Go and paint",
                fix=Fix("paint"),
            )
        elif not any(frame.pixels[:1] != (0,) or frame.unknown == 0 for frame in learned):
            yield Problem(
                "No pixel of the training frames is known to be background, so there is nothing to tell "
                "cells from; paint a few strokes with the brush Background.",
                fix_title="Go and paint",
                fix=Fix("paint"),
            )
        return
    count = max([len(facts.classes), *(len(frame.pixels) for frame in learned)])
    painted = [sum(f.pixels[c] for f in learned if c < len(f.pixels)) for c in range(count)]
    if sum(pixels > 0 for pixels in painted) < 2:
        only = next((c for c, pixels in enumerate(painted) if pixels), 0)
        scribbles = facts.kind is LabelKind.SCRIBBLES
        background = "background (label 1)" if scribbles else "some of another class, or background"
        missing = background if only else f"some cells (label {1 + scribbles})"
        yield Problem(
            f"Only {_class_name(facts, only)} is painted, so there is nothing to tell it from; paint "
            f"{missing} too.",
            fix_title="Go and paint",
            fix=Fix("paint"),
        )
        return
    # where every pixel has a class of its own, there is no background to learn
    first = 1 if facts.kind is LabelKind.CLASSES else 0
    bare = [_class_name(facts, c) for c, pixels in enumerate(painted) if not pixels and c >= first]
    if bare:
        yield Problem(
            f"{' and '.join(bare)} {'is' if len(bare) == 1 else 'are'} painted in no training frame, so "
            f"the network cannot learn {'it' if len(bare) == 1 else 'them'}.",
            blocking=False,
            fix_title="Go and paint",
            fix=Fix("paint"),
        )


def _class_name(facts: TrainingFacts, number: int) -> str:
    if number < len(facts.classes) and facts.classes[number]:
        return repr(facts.classes[number])
    return "background" if number == 0 else f"class {number}"


def _sparse(facts: TrainingFacts) -> Iterator[Problem]:
    """Look for frames where cells may not be painted yet: they would be learnt as background."""
    if facts.kind is not LabelKind.INSTANCES:
        return
    said = [frame for frame in facts.used if not frame.empty]
    whole = [frame for frame in said if len(frame.pixels) > 1 and frame.pixels[0]]
    counts = [frame.objects for frame in whole]
    sparse = [frame for frame in whole if frame.sparse or 2 * frame.objects < np.median(counts)]
    if sparse:
        where = _names(facts, sparse)
        rest = "them" if len(sparse) > 1 else "it"
        yield Problem(
            f"Few cells are painted in {where}. All that is unpainted is learnt as background: if "
            f"there are more cells in {rest}, paint them, or say that the rest is unknown.",
            blocking=False,
            fix_title=f"The rest of {where} is unknown",
            fix=Fix("rest unknown", tuple(frame.position for frame in sparse)),
        )


def _pieces(facts: TrainingFacts) -> Iterator[Problem]:
    """Look for cells in separate pieces: often several cells that were painted with one number."""
    broken = [frame for frame in facts.used if frame.in_pieces]
    if not broken:
        return
    (cell, count), *more = [piece for frame in broken for piece in frame.in_pieces]
    others = f", as {'is' if len(more) == 1 else 'are'} {len(more)} more in {_names(facts, broken)}"
    yield Problem(
        f"Cell {cell} of {_names(facts, broken[:1])} is in {count} pieces{others if more else ''}. Cells "
        "that share a number are learned as one where they touch: number them apart, unless it is one "
        "cell that something else cuts in two.",
        blocking=False,
        fix_title="Number them apart",
        fix=Fix("number apart", tuple(frame.position for frame in broken)),
    )


def _disk(facts: TrainingFacts) -> Iterator[Problem]:
    if facts.run is not None and facts.run_taken:
        yield Problem(
            f"{facts.run} holds a trained model already; a new training would overwrite it. "
            "Choose another folder.",
            fix_title="Another folder",
            fix=Fix("folder"),
        )
    free = facts.free_bytes
    if free is not None and free < _DISK_GOOD:
        yield Problem(
            f"Only {free / 2**20:.0f} MB are free on the disk of {facts.run}. Free some space"
            f"{', or choose another folder under More options' if free < _DISK_NEEDED else ''}.",
            blocking=free < _DISK_NEEDED,
        )


def _speed(facts: TrainingFacts) -> Iterator[Problem]:
    short = facts.minutes is not None and facts.minutes < 45
    if facts.hardware.device == "cpu" and facts.channels >= _WIDE and short:
        yield Problem(
            f"A U-Net of {facts.channels} channels learns slowly without a GPU: {facts.minutes:g} "
            "minutes are few for it.",
            blocking=False,
            fix_title="Use 16 channels",
            fix=Fix("default width"),
        )


def new_roles(positions: Sequence[int]) -> dict[int, str]:
    """Give roles anew: one frame of six for validation, at least one of two or more, spread out."""
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


def workflow_state(workspace: Any, new_frames: int = 0, unfinished: int = 0) -> WorkflowState:
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


def _has_background(kind: LabelKind, totals: Any) -> bool:
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
