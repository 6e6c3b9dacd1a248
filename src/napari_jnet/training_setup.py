"""Before a training begins: which frames are for what, and what the configuration settles on."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from napari_jnet.adaptation import adapt, class_count, is_sparse
from napari_jnet.checkpoint import read_start
from napari_jnet.config import Config
from napari_jnet.data.fitting import misfit
from napari_jnet.data.pieces import cells_in_pieces
from napari_jnet.data.split import split_frames
from napari_jnet.data.stack import AnnotatedFrame, LabelKind
from napari_jnet.losses import check_loss
from napari_jnet.training_given import started_config
from napari_jnet.validation import class_labels

__all__ = ["cautions", "check_resumed", "settle_config", "split_annotated"]

DEFAULT_MINUTES = 15.0
_NAMED = 4  # frames named in a sentence


def split_annotated(
    frames: Sequence[AnnotatedFrame], config: Config, split: Mapping[str, Sequence[str]] | None
) -> tuple[list[AnnotatedFrame], list[AnnotatedFrame]]:
    """Divide frames by their roles, by an earlier split of the same run, or by the seed.

    Parameters
    ----------
    frames
        All that is annotated.
    config
        Validation fraction and seed.
    split
        Names for "training" and "validation" of the run so far.  Its frames keep their side, unless
        they have a role now; new ones without a role are for training.
    """
    if not frames:
        raise ValueError("There is no annotated frame; training needs at least one. Annotate one.")
    chosen = {frame.name for frame in frames if frame.role == "validation"}
    without_role = [frame for frame in frames if not frame.role]
    if split is not None:
        chosen |= {frame.name for frame in without_role} & set(split["validation"])
    elif without_role and not chosen:
        fraction = config.training.validation_fraction
        # Scores of partial frames say little, so complete ones are kept for validation.
        complete = [f.name for f in without_role if f.labels.min(initial=0) >= 0]
        names = complete if len(complete) > 1 else [frame.name for frame in without_role]
        chosen = set(split_frames(names, fraction, config.training.seed)[1])
    training = [frame for frame in frames if frame.name not in chosen]
    validation = [frame for frame in frames if frame.name in chosen]
    if not training:
        raise ValueError(
            f"All {len(frames)} annotated frame(s) are kept for validation, so there is none to learn "
            "from. Give one of them the role training."
        )
    only = training[0]
    if len(training) == 1 and only.labels.max(initial=0) <= 0:
        raise ValueError(
            f"The labels of {only.name} hold no object; there is nothing to learn. Paint some cells."
        )
    return training, validation


def check_resumed(frames: Sequence[AnnotatedFrame], split: Mapping[str, Sequence[str]]) -> None:
    """Refuse to go on without a frame that the run has learned from: it may have been a mistake."""
    names = {frame.name for frame in frames}
    known = [*split["training"], *split["validation"]]
    missing = sorted(set(known) - names)
    if missing:
        raise ValueError(
            f"The run was trained on {', '.join(sorted(known))}; the frames given lack "
            f"{', '.join(missing)}. Resume with these frames too, or start a new training from this model."
        )


def settle_config(
    config: Config,
    training: Sequence[AnnotatedFrame],
    validation: Sequence[AnnotatedFrame],
    start_from: Path | str | None,
) -> Config:
    """Settle the configuration of a new training: of a start model, and of the data.

    Raises
    ------
    ValueError
        If choices make no sense together, or not for these frames.
    """
    budget = {
        "training.minutes": config.training.minutes,
        "training.epochs": config.training.epochs,
    }
    if config.training.minutes is None and config.training.epochs is None:
        budget = {"training.minutes": DEFAULT_MINUTES}
    if start_from is not None:
        if config.training.pretrained:
            raise ValueError(
                f"The training shall begin with {start_from} and with the weights in training.pretrained "
                f"({config.training.pretrained}); it can begin with one of them. Leave one out."
            )
        saved = read_start(Path(start_from))
        _check_start(saved, str(start_from), [*training, *validation])
        config = started_config(config, saved, training, str(start_from))
    frames = [*training, *validation]
    classes = class_count(config, frames)
    config = config.replace(
        {**budget, "network.classes": classes, "targets.legend": _legend(config, frames)}
    )
    settled = adapt(config, training)
    if start_from is not None:  # its weights are those of this head
        kept = {"distance": saved.network.distance, "distance_scale": saved.network.distance_scale}
        settled = settled.replace({f"network.{name}": value for name, value in kept.items()})
    check_loss(settled)
    _check_best_by(settled, validation)
    if frames[0].kind is LabelKind.INSTANCES and classes > 2:
        raise ValueError(
            f"network.classes is {classes}, but the labels are objects: they are background and cell. "
            "Choose 1 or 2 classes, or label classes."
        )
    return settled


def _check_start(saved: Config, name: str, frames: Sequence[AnnotatedFrame]) -> None:
    """Refuse a start model that cannot learn from one of the frames."""
    for frame in frames:
        channels = 1 if frame.image.ndim == 2 else frame.image.shape[-1]
        largest = int(frame.labels.max(initial=0))
        why = misfit(saved.network, name, kind=frame.kind, largest=largest, channels=channels)
        if why:
            raise ValueError(why)


def cautions(
    training: Sequence[AnnotatedFrame], validation: Sequence[AnnotatedFrame], config: Config
) -> Iterator[str]:
    """Say what these annotations cannot give, a sentence or two each."""
    if not validation:
        yield (
            "There is one annotated frame only, so none is kept for validation: the scores cannot say "
            "how well other frames will do; a second annotated frame would tell."
            if len(training) == 1
            else "No annotated frame is kept for validation: the scores cannot say how well other frames "
            "will do. Give one the role validation."
        )
    if not config.network.distance and all(is_sparse(frame) for frame in training):
        yield (
            "Scribbles say nothing about boundaries, so this network finds cells but does not separate "
            "those that touch. Paint some frames cell by cell to learn that too."
        )
    yield from _in_pieces([*training, *validation])


def _in_pieces(frames: Sequence[AnnotatedFrame]) -> Iterator[str]:
    """Name the cells that are in separate pieces: often two cells that were given one number."""
    named = []
    for frame in frames:
        found = cells_in_pieces(frame.labels) if frame.kind is LabelKind.INSTANCES else {}
        if found:
            cell, count = next(iter(found.items()))
            more = f" and {len(found) - 1} more" if len(found) > 1 else ""
            named.append(f"{frame.name} (cell {cell} is in {count} pieces{more})")
    if named:
        more = f" and {len(named) - _NAMED} more frames" if len(named) > _NAMED else ""
        yield (
            f"One number is on separate pieces in {', '.join(named[:_NAMED])}{more}. If these are several "
            "cells, give each its own number: cells that touch are learned as one where they share a number."
        )


def _legend(config: Config, frames: Sequence[AnnotatedFrame]) -> tuple[tuple[str, str], ...]:
    """Take the names of classes from the first frame that has them, else from a start model."""
    return next((frame.legend for frame in frames if frame.legend), config.targets.legend)


def _check_best_by(config: Config, validation: Sequence[AnnotatedFrame]) -> None:
    """Refuse a score that the validation frames cannot have; without them the loss decides."""
    by = config.training.best_by
    if not validation:
        return
    if by == "seg" and not any(
        frame.kind is LabelKind.INSTANCES and frame.labels.max(initial=0) > 0
        for frame in validation
    ):
        raise ValueError(
            "training.best_by is seg, but the validation frames have no objects with numbers of their "
            "own. Use mean_iou or loss."
        )
    if by.startswith("class:"):
        classes = max(config.network.classes, 2)
        number = int(by.removeprefix("class:"))
        if not any((class_labels(frame, classes) == number).any() for frame in validation):
            raise ValueError(
                f"training.best_by is {by}, but no validation frame has a pixel of class {number}; "
                f"the classes are 0 to {classes - 1}. Choose another class, or mean_iou."
            )
