"""From a configuration and annotated frames to a training that can start."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from napari_jnet.config import Config
from napari_jnet.device import choose_device, use_threads
from napari_jnet.events import NewFrames, Notice
from napari_jnet.io.meaning import MOST_CLASSES
from napari_jnet.io.run_folder import RunFolder
from napari_jnet.io.stack import AnnotatedFrame
from napari_jnet.labels import UNKNOWN, LabelKind, cells_in_pieces
from napari_jnet.model import load_model, model_file, read_checkpoint, read_start
from napari_jnet.training.estimate import adapt, check_fit, class_count, frame_channels, is_sparse
from napari_jnet.training.losses import check_loss
from napari_jnet.training.run import Job, TensorBoardLogger, new_state
from napari_jnet.training.sampler import FrameStore, epoch_pixels, load_frames, smallest_side
from napari_jnet.training.validate import Validation, class_labels, known_classes


def split_frames(
    names: Sequence[str], fraction: float, seed: int
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Split frame names into training and validation.

    Parameters
    ----------
    names
        Unique names of the annotated frames.
    fraction
        Part kept for validation, 0 to below 1.
    seed
        Same names and seed, same split, whatever the order of `names`.

    Returns
    -------
    training, validation : tuple of str
        In the order of `names`.  With two names or more and a fraction above 0 there is at least
        one of each; a single frame is always training.

    Raises
    ------
    ValueError
        If there are no names, two are equal, or the fraction is out of range.
    """
    if not names:
        raise ValueError("There is no annotated frame to train on; annotate at least one frame.")
    if len(set(names)) != len(names):
        twice = next(name for name in names if list(names).count(name) > 1)
        raise ValueError(f"Frame {twice!r} is there twice; each frame must have its own name.")
    if not 0 <= fraction < 1:
        raise ValueError(f"The validation fraction is {fraction}; it is 0 or more, and below 1.")
    if fraction == 0 or len(names) == 1:
        return tuple(names), ()
    count = _kept(len(names), fraction)
    order = np.random.default_rng(seed).permutation(len(names))
    ordered = sorted(names)
    validation = {ordered[i] for i in order[:count]}
    training = tuple(name for name in names if name not in validation)
    return training, tuple(name for name in names if name in validation)


def split_sections(
    sections: Sequence[int], fraction: float, seed: int, avoid: Collection[int] = ()
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Split the sections of one volume: one end of it is kept for validation.

    Parameters
    ----------
    sections
        Numbers of the annotated sections.
    fraction
        Part kept for validation, 0 to below 1.
    seed
        Decides which end.
    avoid
        Sections that should not be for validation: where one end holds some of them and the other end
        does not, it is the other one.

    Returns
    -------
    training, validation : tuple of int
        Ascending.

    Notes
    -----
    Sections beside each other look alike.  Drawn one by one, those for validation would lie between
    sections that are learned from, and a score on them would say little of another volume.
    """
    ordered = sorted(sections)
    if fraction == 0 or len(ordered) < 2:
        return tuple(ordered), ()
    count = _kept(len(ordered), fraction)
    ends = [ordered[:count], ordered[-count:]]
    if np.random.default_rng(seed).integers(2):
        ends.reverse()
    chosen = min(ends, key=lambda end: any(section in avoid for section in end))
    return tuple(section for section in ordered if section not in chosen), tuple(chosen)


def _kept(count: int, fraction: float) -> int:
    """How many of two or more are for validation: one at least, and one is left."""
    return min(max(1, round(fraction * count)), count - 1)


_BUDGET = ("training.minutes", "training.epochs")


_SESSION = {
    "training.patience",
    "training.device",
    "training.threads",
    "training.precision",
    "training.tensorboard",
    "prediction.tile",
}


"""What may differ between two sessions of a training: when it stops, and what is about the computer."""


_DECIDED = {"network.in_channels", "network.distance_scale"}


"""What the frames and the loss decide, whatever is given."""


_AUTOMATIC = {
    "network.resolution_levels",
    "targets.dt_bound",
    "targets.legend",
    "instances.min_size",
}


"""What the frames decide where it has its default."""


_TRAINING_GIVEN_NAMED = 4  # settings named in a sentence


def resumed_config(
    config: Config, checkpoint: Mapping[str, Any], frames: Sequence[AnnotatedFrame], name: str
) -> Config:
    """Return the configuration of a run that goes on: its own, with another budget or computer.

    Parameters
    ----------
    config
        As asked for; what was given counts, defaults do not.
    checkpoint
        Of the run.
    frames
        To learn from.
    name
        Of the run, for errors.

    Raises
    ------
    ValueError
        If a setting was given that the run does not have and cannot take any more, or a budget that
        the run has used already.
    """
    saved = Config.from_saved(checkpoint["config"])
    given = config.given_settings()
    _refuse(
        {key: value for key, value in given.items() if key not in {*_BUDGET, *_SESSION}},
        saved,
        frames,
        f"The run {name} was trained with",
        "a run that goes on keeps what it began with. Leave {them} out, or start a new training "
        "from its model.",
    )
    changes = {key: value for key, value in given.items() if key in _SESSION}
    if any(given.get(key) is not None for key in _BUDGET):
        changes |= {key: given.get(key) for key in _BUDGET}
    resumed = saved.replace(changes)
    _refuse_used_budget(resumed, saved, checkpoint.get("training", {}), name)
    return resumed


def started_config(
    config: Config, saved: Config, frames: Sequence[AnnotatedFrame], name: str
) -> Config:
    """Return a configuration with the network and targets of a start model.

    Raises
    ------
    ValueError
        If another network or other targets were given.
    """
    given = {
        key: value
        for key, value in config.given_settings().items()
        if key.startswith(("network.", "targets."))
    }
    _refuse(
        given,
        saved,
        frames,
        f"{name} was trained with",
        "a training that starts from it keeps its network and targets. Leave {them} out, or start "
        "without a model.",
    )
    return config.changed(network=saved.network, targets=saved.targets)


def _value(config: Config, key: str) -> Any:
    section, _, name = key.partition(".")
    return getattr(getattr(config, section), name)


def _refuse(
    given: Mapping[str, Any],
    saved: Config,
    frames: Sequence[AnnotatedFrame],
    had: str,
    rule: str,
) -> None:
    """Refuse what was given and is not what was saved, unless the frames had decided."""
    default, others = Config(), []
    for key, value in given.items():
        kept = _value(saved, key)
        automatic = (
            key in _DECIDED
            or (key in _AUTOMATIC and value == _value(default, key))
            or (key == "targets.legend" and any(frame.legend for frame in frames))
            or (key == "network.classes" and value <= kept)
            or (key == "network.distance" and value and all(map(is_sparse, frames)))
        )
        if value != kept and not automatic:
            others.append(key)
    if not others:
        return
    more = (
        f" and {len(others) - _TRAINING_GIVEN_NAMED} more"
        if len(others) > _TRAINING_GIVEN_NAMED
        else ""
    )
    kept = ", ".join(_setting(key, _value(saved, key)) for key in others[:_TRAINING_GIVEN_NAMED])
    asked = ", ".join(_setting(key, given[key]) for key in others[:_TRAINING_GIVEN_NAMED])
    rule = rule.format(them="this" if len(others) == 1 else "these")
    raise ValueError(f"{had} {kept}{more}, not {asked}; {rule}")


def _setting(key: str, value: Any) -> str:
    """Write a setting as ``--set`` takes it."""
    return f"{key}={value if isinstance(value, str) else json.dumps(value)}"


def _refuse_used_budget(config: Config, saved: Config, state: Mapping[str, Any], name: str) -> None:
    """Refuse another budget that the run has used already: it would end where it begins."""
    training, before = config.training, saved.training
    if (training.minutes, training.epochs) == (before.minutes, before.epochs):
        return
    minutes = state.get("elapsed_s", 0.0) / 60
    epochs = state.get("epoch", 0) + state.get("batch", 0) / training.batches_per_epoch
    for key, asked, used in (
        ("minutes", training.minutes, minutes),
        ("epochs", training.epochs, epochs),
    ):
        if asked is not None and asked <= used:
            raise ValueError(
                f"training.{key} is {asked:g}, but the run {name} has trained for {used:.4g} {key} "
                f"already; {key} count from its beginning. Give more than that, or leave it out."
            )


DEFAULT_MINUTES = 15.0


_NAMED = 4  # frames named in a sentence


def usable_frames(
    frames: Sequence[AnnotatedFrame],
) -> tuple[list[AnnotatedFrame], list[str]]:
    """Leave out frames that nothing can be learned from, so that one does not stop the training.

    Returns
    -------
    frames, messages
        The frames that are left, and for each reason which frames are skipped.

    Raises
    ------
    ValueError
        If no frame is left, labels are of several kinds, or as many frames have one number of channels
        as another.
    """
    if not frames:
        raise ValueError("There is no annotated frame; training needs at least one. Annotate one.")
    kinds = {frame.kind: frame.name for frame in frames}
    if len(kinds) > 1:
        said = ", ".join(f"those of {name} are {kind.value}" for kind, name in kinds.items())
        raise ValueError(
            f"The labels mean different things: {said}. A network learns one kind; train on frames of "
            "one kind."
        )
    skipped: dict[str, list[AnnotatedFrame]] = {}
    for frame in frames:
        image = frame.image
        if image.size and image.dtype.kind in "biuf" and image.min() == image.max():
            why = f"the value {float(image.min()):g} in every pixel; there is nothing to learn from it"
        elif not (frame.labels != UNKNOWN).any():
            why = "no known pixel"
        else:
            continue
        skipped.setdefault(why, []).append(frame)
    left = [frame for frame in frames if not any(frame in part for part in skipped.values())]
    by_channels = Counter(map(frame_channels, left))
    for channels, count in by_channels.most_common()[1:]:
        (most, frequency), *_ = by_channels.most_common()
        odd = [frame for frame in left if frame_channels(frame) == channels]
        if count == frequency:
            other = next(frame for frame in left if frame_channels(frame) == most)
            raise ValueError(
                f"{count} frame(s) have {channels} channel(s), such as {odd[0].name}, and as many have "
                f"{most}, such as {other.name}; a network takes one number of channels. Train on frames "
                "of one kind of image, or convert the others."
            )
        skipped[f"{channels} channel(s), the others have {most}"] = odd
        left = [frame for frame in left if frame not in odd]
    messages = [
        f"{len(part)} frame{'s are' if len(part) > 1 else ' is'} skipped: {_names(part)} "
        f"{'have' if len(part) > 1 else 'has'} {why}."
        for why, part in skipped.items()
    ]
    if not left:
        raise ValueError(
            f"No annotated frame can be learned from. {' '.join(messages)} Annotate frames that show "
            "something."
        )
    return left, messages


def _names(frames: Sequence[AnnotatedFrame]) -> str:
    named = ", ".join(frame.name for frame in frames[:_NAMED])
    return f"{named}, ..." if len(frames) > _NAMED else named


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
        they have a role now; new ones without a role are for training, but for sections of a volume,
        which are for the same as the nearest one that has a side.

    Notes
    -----
    Without roles, volumes are drawn whole, and of a single volume one end is kept.  A frame with objects
    is always left to learn from.
    """
    if not frames:
        raise ValueError("There is no annotated frame; training needs at least one. Annotate one.")
    chosen = {frame.name for frame in frames if frame.role == "validation"}
    without_role = [frame for frame in frames if not frame.role]
    if split is not None:
        chosen |= _as_before(without_role, frames, split)
    elif without_role and not chosen:
        chosen = _drawn(without_role, config.training.validation_fraction, config.training.seed)
    training = [frame for frame in frames if frame.name not in chosen]
    validation = [frame for frame in frames if frame.name in chosen]
    if not training:
        raise ValueError(
            f"All {len(frames)} annotated frame(s) are kept for validation, so there is none to learn "
            "from. Give one of them the role training."
        )
    if not any(_has_object(frame) for frame in training):
        what = f"{len(training)} training frames ({_names(training)})"
        raise ValueError(
            f"The labels of {training[0].name if len(training) == 1 else what} hold no object; there is "
            "nothing to learn. Paint some cells."
        )
    return training, validation


def _has_object(frame: AnnotatedFrame) -> bool:
    return bool(frame.labels.max(initial=0) > 0)


def _as_before(
    frames: Sequence[AnnotatedFrame],
    known: Sequence[AnnotatedFrame],
    split: Mapping[str, Sequence[str]],
) -> set[str]:
    """Return which frames without a role are for validation, by an earlier split."""
    before = {name: side for side, names in split.items() for name in names}
    chosen = {frame.name for frame in frames if before.get(frame.name) == "validation"}
    for frame in frames:
        if frame.name in before or not frame.volume:
            continue
        beside = [f for f in known if f.volume == frame.volume and f.name in before]
        nearest = min(beside, key=lambda f: abs(f.section - frame.section), default=None)
        if nearest is not None and before[nearest.name] == "validation":
            chosen.add(frame.name)
    return chosen


def _drawn(frames: Sequence[AnnotatedFrame], fraction: float, seed: int) -> set[str]:
    """Draw frames for validation by the seed; volumes whole, of a single volume one end."""
    split_frames([frame.name for frame in frames], fraction, seed)  # refuses equal names
    groups: dict[str, list[AnnotatedFrame]] = {}
    for frame in frames:
        groups.setdefault(frame.volume or frame.name, []).append(frame)
    # Scores of partial frames say little, so complete ones are kept for validation.
    partial = {frame.name for frame in frames if frame.labels.min(initial=0) < 0}
    if len(groups) == 1 and frames[0].volume:
        useless = [f.section for f in frames if f.name in partial or not _has_object(f)]
        kept = split_sections([f.section for f in frames], fraction, seed, useless)[1]
        return {frame.name for frame in frames if frame.section in kept}
    complete = [n for n, part in groups.items() if not any(f.name in partial for f in part)]
    names = complete if len(complete) > 1 else list(groups)
    drawn = set(split_frames(names, fraction, seed)[1])
    telling = [name for name, part in groups.items() if any(map(_has_object, part))]
    if telling and drawn.issuperset(telling):
        drawn.remove(telling[0])
        drawn = drawn or set([name for name in names if name not in telling][:1])
    return {frame.name for name in drawn for frame in groups[name]}


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
        check_fit(saved.network, [*training, *validation], str(start_from))
        config = started_config(config, saved, training, str(start_from))
    frames = [*training, *validation]
    if start_from is None:
        _check_contrast(training)
    classes = class_count(config, frames)
    if classes > MOST_CLASSES and classes > config.network.classes:
        most = max(frames, key=lambda frame: int(frame.labels.max(initial=0)))
        raise ValueError(
            f"The labels of {most.name} go up to {classes - 1}, which makes {classes} classes of pixels; "
            f"at most {MOST_CLASSES} can be learned. If each number is one cell, the labels are "
            "instances; else number the classes from 0 without gaps."
        )
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


def cautions(
    training: Sequence[AnnotatedFrame],
    validation: Sequence[AnnotatedFrame],
    config: Config,
    levels: Sequence[int] = (0,),
) -> Iterator[str]:
    """Say what these annotations cannot give, a sentence or two each.

    Parameters
    ----------
    training, validation
        The frames.
    config
        Settled.
    levels
        That the network takes, lowest first.
    """
    if not validation:
        yield (
            "There is one annotated frame only, so none is kept for validation: the scores cannot say "
            "how well other frames will do; a second annotated frame would tell."
            if len(training) == 1
            else "No annotated frame is kept for validation: the scores cannot say how well other frames "
            "will do. Give one the role validation."
        )
    yield from _volumes(training, validation)
    side = smallest_side(levels)
    small = [frame for frame in (*training, *validation) if min(frame.labels.shape) < side]
    if small:
        yield (
            f"{_names(small)} {'have' if len(small) > 1 else 'has'} fewer than the {side} pixels a side "
            f"that the network's lowest level ({levels[0]}) needs, so "
            f"{'they are' if len(small) > 1 else 'it is'} mirrored to that size. Prediction leaves "
            "such frames out."
        )
    if not any((frame.labels == 0).any() for frame in training) and config.network.classes <= 2:
        yield (
            "No pixel of the training frames is known to be background, so the network may come to "
            "answer cell everywhere. Mark some background too."
        )
    if (
        config.network.classes <= 2
        and not config.network.distance
        and not config.training.border_weight
        and (training[0].kind is LabelKind.INSTANCES)
    ):
        yield (
            "The network predicts no distance, so it finds cells but does not separate those that "
            "touch. Train from scratch, with network.distance on, to learn that too."
        )
    if not config.network.distance and all(is_sparse(frame) for frame in training):
        yield (
            "Scribbles say nothing about boundaries, so this network finds cells but does not separate "
            "those that touch. Paint some frames cell by cell to learn that too."
        )
    yield from _unseen_classes(training, config)
    yield from _in_pieces([*training, *validation])


def _unseen_classes(training: Sequence[AnnotatedFrame], config: Config) -> Iterator[str]:
    """Name the classes that no training frame shows, as where one pixel has a wrong number."""
    classes = config.network.classes
    if classes <= 2 or training[0].kind is LabelKind.INSTANCES:
        return
    seen = set().union(*(known_classes(frame, classes) for frame in training))
    unseen = [str(number) for number in range(1, classes) if number not in seen]
    if unseen:
        more = f" and {len(unseen) - _NAMED} more" if len(unseen) > _NAMED else ""
        yield (
            f"No training frame has a pixel of class {', '.join(unseen[:_NAMED])}{more}, of the "
            f"{classes} classes from 0 to {classes - 1}, so the network cannot learn "
            f"{'it' if len(unseen) == 1 else 'them'}. Label some, or look for a wrong number in the labels."
        )


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


def _volumes(
    training: Sequence[AnnotatedFrame], validation: Sequence[AnnotatedFrame]
) -> Iterator[str]:
    """Say that volumes are planes here, and what that means for the scores."""
    volumes = [{frame.volume for frame in part} - {""} for part in (training, validation)]
    if not any(volumes):
        return
    said = "Volumes are segmented plane by plane: the network sees one section at a time."
    shared = sorted(volumes[0] & volumes[1])
    if shared:
        kept = [frame for frame in validation if frame.volume in shared]
        yield (
            f"{said} Sections of {shared[0]} are for training and for validation ({_names(kept)}); "
            "sections beside each other look alike, so the scores are optimistic for another volume."
        )
    elif volumes[1]:
        yield f"{said} All sections of {', '.join(sorted(volumes[1])[:_NAMED])} are for validation."
    else:
        yield said


def _check_contrast(training: Sequence[AnnotatedFrame]) -> None:
    """Refuse labels that any network would fit by giving one answer everywhere."""
    objects = training[0].kind is LabelKind.INSTANCES
    values = 2 if objects else 3  # of objects all are class 1
    known = set().union(*(known_classes(frame, values) for frame in training))
    # where every pixel of a frame is of some cell, there are still boundaries to learn
    if objects and (0 in known or any((f.labels != UNKNOWN).all() for f in training)):
        return
    if not objects and len(known) > 1:
        return
    what = "cell" if objects else f"class {min(known)}"
    raise ValueError(
        f"Every known pixel of the training frames ({_names(training)}) is {what}, and no background is "
        f"known, so the network would answer {what} everywhere. Mark some background too, or, where the "
        "cells are annotated completely, save unlabelled pixels as 0."
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


def update_frames(job: Job, frames: Sequence[AnnotatedFrame]) -> Iterator[NewFrames | Notice]:
    """Let a training learn from other frames; its network, bound and schedule stay.

    Parameters
    ----------
    job
        The training, between two epochs.
    frames
        All that is annotated now.

    Yields
    ------
    NewFrames or Notice
        A notice says which frames are skipped, or why it goes on with the frames it had: nobody's
        painting may end a training.
    """
    try:
        frames, skipped = usable_frames(frames)
        added = _replace_frames(job, frames)
    except ValueError as error:
        yield Notice(f"The training goes on with the annotations it had. {error}")
        return
    yield NewFrames(tuple(job.split["training"]), tuple(job.split["validation"]), added)
    yield from map(Notice, skipped)


def _replace_frames(job: Job, frames: Sequence[AnnotatedFrame]) -> tuple[str, ...]:
    training, validation = split_annotated(frames, job.config, job.split)
    check_fit(job.config.network, frames, "the network in training")
    store = load_frames(training, job.state.network.levels, job.device, job.config)
    known = {*job.split["training"], *job.split["validation"]}
    job.store = store
    job.split = {
        "training": [frame.name for frame in training],
        "validation": [frame.name for frame in validation],
    }
    job.folder.write_start(job.config, job.split)
    rescore_best(job, validation)
    return tuple(frame.name for frame in frames if frame.name not in known)


def new_validation(
    frames: Sequence[AnnotatedFrame], config: Config, store: FrameStore
) -> Validation:
    """Make the validation of a training, which takes a tenth of its work at most."""
    trained = epoch_pixels(store, config)
    return Validation(frames, config, store.sizes.device, store.class_weights, trained=trained)


def rescore_best(job: Job, validation: Sequence[AnnotatedFrame]) -> None:
    """Score the best model so far on other validation frames: only then later ones compare with it."""
    job.validation = new_validation(validation, job.config, job.store)
    job.state.scored = job.validation.names
    if not job.state.best_epoch:
        return
    scores = job.validation.run(load_model(job.folder.model, device=job.device.type))
    best = scores.by(job.validation.best_by)
    job.state.best_score = float("-inf") if best is None else best


def prepare(
    folder: RunFolder,
    frames: Sequence[AnnotatedFrame],
    budget: Config,
    resume: bool,
    start_from: Path | str | None,
) -> tuple[Job, list[str]]:
    """Load data and network, and write what the run is of; the folder stays empty until all is well.

    Parameters
    ----------
    folder
        Of the run.
    frames, resume, start_from
        See `train`.
    budget
        The configuration as asked for.

    Returns
    -------
    job, notices
        The training, and what its user should know of the data.

    Raises
    ------
    ValueError, FileNotFoundError, OSError
        If frames, configuration, model or folder cannot be used.
    """
    checkpoint = read_checkpoint(folder.last) if resume else None
    before = None if checkpoint is None else checkpoint["split"]
    if before is not None:
        check_resumed(frames, before)
    frames, skipped = usable_frames(frames)
    training, validation = split_annotated(frames, budget, before)
    if checkpoint is None:
        settings = settle_config(budget, training, validation, start_from)
    else:
        network = Config.from_saved(checkpoint["config"]).network
        check_fit(network, [*training, *validation], f"the run {folder.path}")
        settings = resumed_config(budget, checkpoint, training, str(folder.path))
    use_threads(settings.training.threads)
    device = choose_device(settings.training.device)
    state = new_state(settings, device)
    store = load_frames(training, state.network.levels, device, settings)
    if checkpoint is not None:
        state.restore(checkpoint, folder.last)
    elif start_from is not None:
        state.start_from(model_file(Path(start_from)))
    elif settings.training.pretrained:
        state.start_pretrained(Path(settings.training.pretrained))
    split = {"training": [f.name for f in training], "validation": [f.name for f in validation]}
    checked = new_validation(validation, settings, store)
    board = TensorBoardLogger(folder.path) if settings.training.tensorboard else None
    kept = folder.keep_leftover([start_from, settings.training.pretrained])
    folder.write_start(settings, split)
    job = Job(folder, settings, device, state, store, checked, split, board)
    if checkpoint is not None:
        job.complete_files()
    if checkpoint is not None and checkpoint["training"].get("scored") != checked.names:
        rescore_best(job, validation)
    state.scored = checked.names
    origins = dict.fromkeys(f"Labels: {frame.origin}" for frame in frames if frame.origin)
    levels = state.network.levels
    notices = [*([kept] if kept else []), *origins, *skipped]
    notices += [*cautions(training, validation, settings, levels), *checked.notes()]
    if job.progress() >= 1:
        notices.append(_used_up(settings))
    return job, notices


def _used_up(config: Config) -> str:
    parts = {"minutes": config.training.minutes, "epochs": config.training.epochs}
    budget = " or ".join(f"{value:g} {name}" for name, value in parts.items() if value is not None)
    return (
        f"The training has used its {budget}, so nothing is left to do. Give it more epochs or minutes "
        "to go on."
    )
