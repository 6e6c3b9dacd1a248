"""What stands in the way of a training, said before it begins, with what mends it.

Pure: the window gathers the facts (`preflight_facts`), shows the list and does the fixes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np

from napari_jnet.config.plans import Hardware
from napari_jnet.data.frames import frame_label
from napari_jnet.data.stack import LabelKind
from napari_jnet.plugin.keeping.book import FrameFacts

__all__ = ["Fix", "Problem", "TrainingFacts", "check", "new_roles"]

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
    frames: tuple[FrameFacts, ...] = ()
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
    def used(self) -> tuple[FrameFacts, ...]:
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


def _names(facts: TrainingFacts, frames: Sequence[FrameFacts]) -> str:
    named = [frame_label(facts.frame_letter, frame.number) for frame in frames[:_NAMED]]
    more = len(frames) - len(named)
    return ", ".join(named) + (f" and {more} more" if more else "")


def _size(shape: Sequence[int]) -> str:
    return " × ".join(str(n) for n in shape)
