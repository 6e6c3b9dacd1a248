"""From a configuration and annotated frames to a training that can start."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_jnet.budgets import DEFAULT_MINUTES
from napari_jnet.config import Config, InstanceConfig
from napari_jnet.device import use_threads
from napari_jnet.events import Message, NewFrames
from napari_jnet.io.meaning import MOST_CLASSES
from napari_jnet.io.run_folder import RunFolder, model_file
from napari_jnet.io.stack import AnnotatedFrame
from napari_jnet.labels import UNKNOWN, LabelKind, cells_in_pieces
from napari_jnet.model import read_model_config, read_training
from napari_jnet.training.distributed import is_first, processes
from napari_jnet.training.estimate import (
    adapt,
    check_fit,
    class_count,
    frame_channels,
    is_sparse,
    typical_diameter,
)
from napari_jnet.training.losses import check_loss, initial_logits
from napari_jnet.training.run import TensorBoardLogger, TrainingSession
from napari_jnet.training.sampler import reached, smallest_side
from napari_jnet.training.validate import known_classes

_RELATIVE = (
    "Distances are relative to the depth of each object, so that small and large ones separate alike "
    "(targets.relative)."
)
_NAMED = 4  # frames or settings named in a sentence
_BUDGET = ("training.minutes", "training.epochs")
# Settings that may differ between two sessions of a training: when it stops, and the computer.
_SESSION = {
    "training.patience",
    "training.device",
    "training.threads",
    "training.precision",
    "training.tensorboard",
    "prediction.tile",
}
# Settings that always follow from the frames and the loss ...
_DECIDED = {"network.in_channels", "network.distance_scale"}
# ... and those that follow from the frames where they have their default.
_AUTOMATIC = {
    "network.diameter",
    "network.resolution_levels",
    "targets.dt_bound",
    "targets.relative",
    "targets.classes",
    "instances.min_size",
}


def prepare(
    folder: RunFolder,
    frames: Sequence[AnnotatedFrame],
    config: Config,
    resume: bool,
    start_from: Path | str | None,
) -> TrainingSession:
    """Load data and network, then write configuration and split; parameters and errors as in `train`.

    Nothing is written until everything is checked.
    """
    checkpoint = read_training(folder.last) if resume else None
    before = None if checkpoint is None else checkpoint["split"]
    if before is not None:
        _require_frames(frames, [*before["training"], *before["validation"]])
    frames, skipped = usable_frames(frames)
    training, validation = split_annotated(frames, config, before)
    if checkpoint is None:
        config = settle_config(config, training, validation, start_from)
    else:
        network = Config.from_saved(checkpoint["config"]).network
        check_fit(network, [*training, *validation], f"the run {folder.path}")
        config = resumed_config(config, checkpoint, training, str(folder.path))
    if config.training.batch_size < processes():
        raise ValueError(
            f"training.batch_size is {config.training.batch_size}, and {processes()} processes train: each "
            f"needs an image of every batch. Choose at least {processes()}, or start fewer processes."
        )
    use_threads(config.training.threads)
    session = TrainingSession(folder, config)
    training, unreached = reached_frames(
        training, session.state.network.levels, config.network.scale
    )
    session.use_frames(training, validation)
    state, scoring = session.state, session.validation
    if checkpoint is not None:
        state.restore(checkpoint, folder.last)
    elif start_from is not None:
        state.start_from(model_file(Path(start_from)))
    else:
        state.start(initial_logits(training, config))
    measured, config = session.choose_precision(), session.config
    state.distribute()
    session.start_clock()
    if config.training.tensorboard and is_first():
        session.logger = TensorBoardLogger(folder.path)
    folder.write_start(config, session.split)
    if checkpoint is not None:
        session.complete_files()
        if state.scored != scoring.names:
            session.rescore_best()
    state.scored = scoring.names
    texts = [
        *dict.fromkeys(f"Labels: {frame.origin}" for frame in frames if frame.origin),
        *skipped,
        *unreached,
        *annotation_warnings(training, validation, config, state.network.levels),
        *scoring.messages(),
        *([_RELATIVE] if config.targets.relative and config.network.distance else []),
        *([measured] if measured else []),
        *([f"{processes()} processes share each batch."] if processes() > 1 else []),
    ]
    if session.progress() >= 1:
        texts.append(
            f"The training has used its budget after {state.epoch} epochs and "
            f"{state.elapsed_s / 60:.1f} minutes. To continue, give it more."
        )
    session.messages = [Message(text) for text in texts]
    return session


def _require_frames(frames: Sequence[AnnotatedFrame], known: Sequence[str]) -> None:
    """Raise `ValueError` if a frame that the run was trained on is missing, perhaps by mistake."""
    missing = sorted(set(known) - {frame.name for frame in frames})
    if missing:
        raise ValueError(
            f"The run was trained on {', '.join(sorted(known))}; missing now: "
            f"{', '.join(missing)}. Resume with these frames too, or start a new training from this model."
        )


def update_frames(
    session: TrainingSession, frames: Sequence[AnnotatedFrame]
) -> Iterator[NewFrames | Message]:
    """Continue on new annotations: all annotated frames; network, dt_bound and schedule stay.

    A message names the frames that are skipped, or the reason why the previous frames stay: an annotation
    never stops a training.
    """
    config, known = session.config, {*session.split["training"], *session.split["validation"]}
    try:
        frames, skipped = usable_frames(frames)
        training, validation = split_annotated(frames, config, session.split)
        check_fit(config.network, frames, "the network in training")
        levels, scale = session.state.network.levels, config.network.scale
        training, unreached = reached_frames(training, levels, scale)
        session.use_frames(training, validation)
        with session.surviving_full_disk():
            session.folder.write_start(config, session.split)
        session.rescore_best()
    except ValueError as error:
        yield Message(f"Training continues with the previous annotations. {error}")
        return
    used = session.split
    added = tuple(name for name in [*used["training"], *used["validation"]] if name not in known)
    yield NewFrames(tuple(used["training"]), tuple(used["validation"]), added)
    yield from map(Message, [*skipped, *unreached])


def usable_frames(
    frames: Sequence[AnnotatedFrame],
) -> tuple[list[AnnotatedFrame], list[str]]:
    """Skip frames that cannot be trained on: constant ones, and those without known pixels.

    Return the usable frames, and a message for each reason to skip frames.  Raise `ValueError` if no
    frame is usable, or they differ in the kind of their labels or in their channels.
    """
    if not frames:
        raise ValueError(
            "There is no annotated frame; training needs at least one. Annotate a frame."
        )
    (name, count), *_ = Counter(frame.name for frame in frames).most_common(1)
    if count > 1:
        raise ValueError(
            f"Two frames are called {name!r}; each frame needs a name of its own. Rename one."
        )
    usable: list[AnnotatedFrame] = []
    skipped: dict[str, list[AnnotatedFrame]] = {}
    for frame in frames:
        image = frame.image
        if image.size and image.dtype.kind in "biuf" and _is_constant(image):
            why = f"the value {float(image.flat[0]):g} in every pixel; there is nothing to learn from it"
            skipped.setdefault(why, []).append(frame)
        elif not (frame.labels != UNKNOWN).any():
            skipped.setdefault("no known pixel", []).append(frame)
        else:
            usable.append(frame)
    messages = [f"Skipped: {_names(part)} ({why})." for why, part in skipped.items()]
    if not usable:
        raise ValueError(
            f"No annotated frame can be learned from. {' '.join(messages)} Annotate frames that show "
            "something."
        )
    _require_one({frame.kind.value: frame.name for frame in frames}, "kind of labels")
    _require_one(
        {f"{frame_channels(frame)} channel(s)": frame.name for frame in usable},
        "number of channels",
    )
    return usable, messages


def reached_frames(
    training: Sequence[AnnotatedFrame], levels: Sequence[int], scale: float
) -> tuple[list[AnnotatedFrame], list[str]]:
    """Skip training frames of whose known pixels a network with these levels reaches none.

    Return the others, and a message if frames are skipped.  Raise `ValueError` if all are, or if no object
    is reached.
    """
    seen = {frame.name: reached(frame.labels, levels, scale) for frame in training}
    kept = [frame for frame in training if (seen[frame.name] != UNKNOWN).any()]
    skipped = [frame for frame in training if frame not in kept]
    message = (
        f"Skipped: {_names(skipped)} (all known pixels lie in the last rows or columns, which are less than "
        f"one pixel at the network's top level, {levels[-1]}). Annotate pixels further inside."
    )
    if not kept:
        raise ValueError(f"No training frame can be learned from. {message}")
    if not any((labels > 0).any() for labels in seen.values()):
        raise ValueError(
            f"All objects of the training frames ({_names(training)}) lie in the last rows or columns, which "
            f"are less than one pixel at the network's top level, {levels[-1]}. Paint some further inside."
        )
    return kept, [message] if skipped else []


def _is_constant(image: NDArray[Any]) -> bool:
    """Whether each channel of (H, W) or (H, W, C) has one value everywhere."""
    return bool((image == image[:1, :1]).all())


def _require_one(examples: Mapping[str, str], what: str) -> None:
    """Raise `ValueError` if frames differ; ``examples`` has the name of a frame for each value."""
    if len(examples) > 1:
        named = ", ".join(f"{name} has {value}" for value, name in examples.items())
        raise ValueError(
            f"A network learns one {what}, but {named}. Train on frames of one kind, or convert the "
            "others."
        )


def _listed(names: Iterable[str]) -> str:
    """Return the first names of a list that may be long."""
    named = [*names]
    return ", ".join([*named[:_NAMED], "..."] if len(named) > _NAMED else named)


def _names(frames: Sequence[AnnotatedFrame]) -> str:
    return _listed(frame.name for frame in frames)


def split_annotated(
    frames: Sequence[AnnotatedFrame], config: Config, split: Mapping[str, Sequence[str]] | None
) -> tuple[list[AnnotatedFrame], list[AnnotatedFrame]]:
    """Divide frames by their roles, by an earlier split of the same run, or by the seed.

    Frames of the earlier ``split``, names for "training" and "validation", keep their subset, unless they
    have a role now.  New ones without a role are for training; new sections of a volume join the subset of
    the nearest section that has one.

    Without roles and split, volumes are drawn whole, and of a single volume one end is kept for
    validation.  At least one frame with objects is always for training.
    """
    chosen = {frame.name for frame in frames if frame.role == "validation"}
    without_role = [frame for frame in frames if not frame.role]
    if split is not None:
        before = {name: subset for subset, names in split.items() for name in names}
        chosen |= {
            f.name for f in without_role if _earlier_subset(f, frames, before) == "validation"
        }
    elif without_role and not chosen:
        chosen = _draw_validation(
            without_role, config.training.validation_fraction, config.training.seed
        )
    training = [frame for frame in frames if frame.name not in chosen]
    validation = [frame for frame in frames if frame.name in chosen]
    if not training:
        raise ValueError(
            f"All {len(frames)} annotated frame(s) are kept for validation, so there is none to train "
            "on. Give one of them the role training."
        )
    if not any(map(_has_object, training)):
        raise ValueError(
            f"The labels of the training frames ({_names(training)}) hold no object; there is nothing to "
            "learn. Paint some cells."
        )
    return training, validation


def _has_object(frame: AnnotatedFrame) -> bool:
    return bool(frame.labels.max(initial=0) > 0)


def _earlier_subset(
    frame: AnnotatedFrame, frames: Sequence[AnnotatedFrame], before: Mapping[str, str]
) -> str | None:
    """Return the earlier subset of a frame, or of the nearest section of its volume."""
    if frame.name in before or not frame.volume:
        return before.get(frame.name)
    beside = [other for other in frames if other.volume == frame.volume and other.name in before]
    nearest = min(beside, key=lambda other: abs(other.section - frame.section), default=None)
    return None if nearest is None else before[nearest.name]


def _draw_validation(frames: Sequence[AnnotatedFrame], fraction: float, seed: int) -> set[str]:
    """Draw frames for validation by the seed; volumes whole, of a single volume one end."""
    groups: dict[str, list[AnnotatedFrame]] = {}
    for frame in frames:
        groups.setdefault(frame.volume or frame.name, []).append(frame)
    # Scores of partial frames are less informative, so complete ones are kept for validation.
    partial = {frame.name for frame in frames if frame.labels.min(initial=0) < 0}
    if len(groups) == 1 and frames[0].volume:
        useless = [f.section for f in frames if f.name in partial or not _has_object(f)]
        kept = _end_of_volume([frame.section for frame in frames], fraction, seed, useless)
        return {frame.name for frame in frames if frame.section in kept}
    complete = [n for n, part in groups.items() if not any(f.name in partial for f in part)]
    names = complete if len(complete) > 1 else list(groups)
    drawn = draw_names(names, fraction, seed)
    informative = [name for name, part in groups.items() if any(map(_has_object, part))]
    if informative and drawn.issuperset(informative):
        drawn.remove(informative[0])
        drawn = drawn or set([name for name in names if name not in informative][:1])
    return {frame.name for name in drawn for frame in groups[name]}


def draw_names(names: Collection[str], fraction: float, seed: int) -> set[str]:
    """Draw names for validation by the seed, whatever their order."""
    order = np.random.default_rng(seed).permutation(len(names))
    return {sorted(names)[index] for index in order[: _validation_count(names, fraction)]}


def _end_of_volume(
    sections: Sequence[int], fraction: float, seed: int, avoid: Collection[int]
) -> list[int]:
    """Choose one end of a volume for validation, if possible the one without sections to avoid.

    Adjacent sections are similar.  Drawn one by one, those for validation would lie between sections of
    the training, and their scores would be optimistic for another volume.
    """
    ordered, count = sorted(sections), _validation_count(sections, fraction)
    if not count:
        return []
    ends = [ordered[:count], ordered[-count:]]
    if np.random.default_rng(seed).integers(2):
        ends.reverse()
    return min(ends, key=lambda end: any(section in avoid for section in end))


def _validation_count(items: Collection[object], fraction: float) -> int:
    """Return how many of these are for validation: at least one of two or more, but not all."""
    return min(max(1, round(fraction * len(items))), len(items) - 1) if fraction else 0


def resumed_config(
    config: Config, checkpoint: Mapping[str, Any], frames: Sequence[AnnotatedFrame], name: str
) -> Config:
    """Return the configuration of a resumed run: its own, with another budget or computer.

    Only settings that were given in ``config`` count, not its defaults; ``name`` is that of the run, for
    errors.  Raise `ValueError` for a setting that differs from the run's and cannot change any more, and
    for a budget that is used already.
    """
    saved = Config.from_saved(checkpoint["config"])
    given = config.given_settings()
    _refuse_others(
        {key: value for key, value in given.items() if key not in {*_BUDGET, *_SESSION}},
        saved,
        frames,
        f"The run {name}",
    )
    changes = {key: value for key, value in given.items() if key in _SESSION}
    if any(given.get(key) is not None for key in _BUDGET):
        changes |= {key: given.get(key) for key in _BUDGET}
    resumed = saved.replace(changes)
    training, before, state = resumed.training, saved.training, checkpoint["training"]
    used = {
        "minutes": state.get("elapsed_s", 0.0) / 60,
        "epochs": state.get("epoch", 0) + state.get("batch", 0) / training.batches_per_epoch,
    }
    for key, done in used.items():
        requested: float | None = getattr(training, key)
        if requested is not None and requested != getattr(before, key) and requested <= done:
            raise ValueError(
                f"training.{key} is {requested:g}, but the run {name} has trained for {done:.4g} {key} "
                f"already; {key} count from its beginning. Give more than that, or leave it out."
            )
    return resumed


def _value(config: Config, key: str) -> Any:
    section, _, name = key.partition(".")
    return getattr(getattr(config, section), name)


def _refuse_others(
    given: Mapping[str, Any],
    saved: Config,
    frames: Sequence[AnnotatedFrame],
    name: str,
) -> None:
    """Raise `ValueError` for given settings that differ from the saved ones, unless the frames decide."""
    default, others = Config(), []
    for key, value in given.items():
        kept = _value(saved, key)
        automatic = (
            key in _DECIDED
            or (key in _AUTOMATIC and value == _value(default, key))
            or (key == "targets.classes" and any(frame.classes for frame in frames))
            or (key == "network.classes" and value <= kept)
            or (key == "network.distance" and value and all(map(is_sparse, frames)))
        )
        if value != kept and not automatic:
            others.append(key)
    if others:
        trained = _listed(f"{key}={_as_set(_value(saved, key))}" for key in others)
        wanted = _listed(f"{key}={_as_set(given[key])}" for key in others)
        raise ValueError(
            f"{name} was trained with {trained}, not {wanted}; a training that continues from it keeps "
            "these settings. Leave them out, or start a new training."
        )


def _as_set(value: Any) -> str:
    """Return a value as ``--set`` takes it."""
    return value if isinstance(value, str) else json.dumps(value)


def settle_config(
    config: Config,
    training: Sequence[AnnotatedFrame],
    validation: Sequence[AnnotatedFrame],
    start_from: Path | str | None,
) -> Config:
    """Return the complete configuration of a new training, from a start model and from the data.

    Raise `ValueError` for settings that contradict each other or do not fit these frames.
    """
    frames = [*training, *validation]
    budget: dict[str, Any] = {}
    if config.training.minutes is None and config.training.epochs is None:
        budget = {"training.minutes": DEFAULT_MINUTES}
    saved = None
    if start_from is None:
        _check_contrast(training)
    else:
        if config.training.pretrained:
            raise ValueError(
                f"The training would start from {start_from} and from training.pretrained "
                f"({config.training.pretrained}); it can start from one of them. Leave one out."
            )
        saved = read_model_config(Path(start_from))
        check_fit(saved.network, frames, str(start_from))
        diameter = config.network.diameter
        if saved.prediction.diameter == 0:  # for cells of any size
            diameter = diameter or typical_diameter(training)
        if diameter is not None:
            saved = saved.at_diameter(diameter)
        given = config.given_settings().items()
        _refuse_others(
            {key: value for key, value in given if key.startswith(("network.", "targets."))},
            saved,
            training,
            str(start_from),
        )
        separation = saved.instances.changed(min_size=0).given() | config.instances.given()
        config = config.changed(
            network=saved.network,
            targets=saved.targets.changed(relative=bool(saved.targets.relative)),
            instances=InstanceConfig(**separation),
        )
    classes = class_count(config, frames)
    if classes > MOST_CLASSES and classes > config.network.classes:
        most = max(frames, key=lambda frame: int(frame.labels.max(initial=0)))
        raise ValueError(
            f"The labels of {most.name} go up to {classes - 1}, which makes {classes} classes of pixels; "
            f"at most {MOST_CLASSES} can be learned. If each number is one cell, the labels are "
            "instances; else number the classes from 0 without gaps."
        )
    names = next((frame.classes for frame in frames if frame.classes), config.targets.classes)
    config = config.replace({**budget, "network.classes": classes, "targets.classes": names})
    config = adapt(config, training)
    if saved is not None:  # its weights are those of this head
        kept = {"distance": saved.network.distance, "distance_scale": saved.network.distance_scale}
        config = config.replace({f"network.{name}": value for name, value in kept.items()})
    check_loss(config)
    if frames[0].kind is LabelKind.INSTANCES and classes > 2:
        raise ValueError(
            f"network.classes is {classes}, but the labels are objects: they are background and cell. "
            "Choose 1 or 2 classes, or label classes."
        )
    if config.targets.relative and saved is None and frames[0].kind is not LabelKind.INSTANCES:
        raise ValueError(
            "targets.relative is true, but the labels are classes, which do not say where an object ends. "
            "Leave it out, or label objects."
        )
    return config


def _check_contrast(training: Sequence[AnnotatedFrame]) -> None:
    """Raise `ValueError` for labels that one value everywhere would fit."""
    objects = training[0].kind is LabelKind.INSTANCES
    known = set().union(*(known_classes(frame, MOST_CLASSES) for frame in training))
    # where cells cover a whole frame, there are still boundaries to learn
    covered = objects and any((frame.labels != UNKNOWN).all() for frame in training)
    if len(known) > 1 or covered:
        return
    what = "cell" if objects else f"class {min(known)}"
    raise ValueError(
        f"Every known pixel of the training frames ({_names(training)}) is {what}, and no background is "
        f"known, so the network would predict {what} everywhere. Mark some background too, or, where the "
        "cells are annotated completely, save unlabelled pixels as 0."
    )


def annotation_warnings(
    training: Sequence[AnnotatedFrame],
    validation: Sequence[AnnotatedFrame],
    config: Config,
    levels: Sequence[int] = (0,),
) -> Iterator[str]:
    """Yield warnings about what a network with these levels cannot learn from these annotations."""
    frames, network = [*training, *validation], config.network
    instances = training[0].kind is LabelKind.INSTANCES
    if not validation:
        yield (
            "No annotated frame is kept for validation, so there are no scores on other frames. Annotate "
            "another frame, or give one the role validation."
        )
    yield from _volume_warning(training, validation)
    side = smallest_side(levels, network.scale)
    small = [frame for frame in frames if min(frame.labels.shape) < side]
    if small:
        yield (
            f"The network's lowest level ({levels[0]}) needs {side} pixels a side; smaller frames "
            f"({_names(small)}) are mirrored to that size. Prediction skips such frames."
        )
    if not any((frame.labels == 0).any() for frame in training) and network.classes <= 2:
        yield (
            "No pixel of the training frames is known to be background, so the network may come to "
            "predict cell everywhere. Mark some background too."
        )
    sparse = all(is_sparse(frame) for frame in training)
    objects = instances and network.classes <= 2 and not config.training.border_weight
    if not network.distance and (objects or sparse):
        remedy = (
            "Scribbles do not show boundaries: paint some frames cell by cell to learn that too."
            if sparse
            else "Train from scratch, with network.distance on, to learn that too."
        )
        yield (
            "The network predicts no distance, so it finds cells but does not separate those that "
            f"touch. {remedy}"
        )
    if network.classes > 2 and not instances:
        seen = set().union(*(known_classes(frame, network.classes) for frame in training))
        unseen = [str(number) for number in range(1, network.classes) if number not in seen]
        if unseen:
            yield (
                f"No training frame has a pixel of class {_listed(unseen)}, of the {network.classes} "
                f"classes from 0 to {network.classes - 1}, so the network cannot learn that. Label some, or "
                "look for a wrong number in the labels."
            )
    pieces = {f.name: cells_in_pieces(f.labels) for f in frames if f.kind is LabelKind.INSTANCES}
    in_pieces = [f"cell {next(iter(cells))} of {name}" for name, cells in pieces.items() if cells]
    if in_pieces:
        yield (
            f"One number is on separate pieces, such as {_listed(in_pieces)}. If these are several cells, "
            "give each its own number: cells that touch are learned as one where they share a number."
        )


def _volume_warning(
    training: Sequence[AnnotatedFrame], validation: Sequence[AnnotatedFrame]
) -> Iterator[str]:
    """Yield a warning that volumes are segmented as planes, and what that means for the scores."""
    volumes = {frame.volume for frame in training} - {""}
    if any(frame.volume for frame in [*training, *validation]):
        yield "Volumes are segmented plane by plane: the network sees one section at a time."
    shared = [frame for frame in validation if frame.volume in volumes]
    if shared:
        yield (
            f"Sections of {shared[0].volume} are for training and for validation ({_names(shared)}); "
            "adjacent sections are similar, so the scores are optimistic for another volume."
        )
