"""``napari-jnet info``."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from napari_jnet.cli.common import (
    Axes,
    KindOption,
    Series,
    TruthOption,
    UnlabelledOption,
    find_project,
)
from napari_jnet.cli.console import console, duration, score, words_of

if TYPE_CHECKING:
    from napari_jnet.io.stack import Annotation, Stack
    from napari_jnet.project.project import Project
    from napari_jnet.project.runs import RunSummary


_ROLES = {
    "training": "for training",
    "validation": "for validation",
    "unused": "not used",
    "": "without a role",
}


_AXES = {
    "T": "time",
    "Z": "sections",
    "Y": "rows",
    "X": "columns",
    "C": "channels",
}


def info(
    path: Annotated[Path, typer.Argument(help="Stack, project, run folder or model file.")],
    sequence: Annotated[str | None, typer.Option(help="Sequence of a CTC dataset.")] = None,
    axes: Axes = None,
    series: Series = None,
    truth: TruthOption = None,
    kind: KindOption = None,
    unlabelled: UnlabelledOption = None,
) -> None:
    """Say in words what a stack, a project or a model file is."""
    from rich.table import Table

    table = Table(show_header=False, box=None, pad_edge=False)
    table.add_column(style="bold")
    table.add_column(overflow="fold")
    said = {"axes": axes, "series": series, "truth": truth, "kind": kind, "unlabelled": unlabelled}
    for name, words in describe(path, sequence, **said).items():
        table.add_row(name, words)
    console().print(table)


def describe(path: Path, sequence: str | None = None, **said: Any) -> dict[str, str]:
    """Return what a path is, in words; `said` is what `open_stack` is told besides.

    Raises
    ------
    FileNotFoundError, ValueError
        If the path does not exist, or is neither stack nor model.
    """
    if not path.exists():
        raise FileNotFoundError(f"{path} does not exist; check the path.")
    project = find_project(path)
    if project is not None:
        return _describe_project(project)
    image = path.suffix.lower() in (".tif", ".tiff", ".png", ".jpg", ".jpeg")
    is_run = path.is_dir() and ((path / "model.pt").is_file() or (path / "last.pt").is_file())
    if is_run or (path.is_file() and not image):
        from napari_jnet.model import describe_model

        return describe_model(path)
    from napari_jnet.project.open import open_stack

    stack = open_stack(path, sequence=sequence, **said)
    return _describe_stack(path, stack) | _describe_projects(stack)


def _describe_projects(stack: Stack) -> dict[str, str]:
    """List the window's projects of these images, the newest first."""
    from napari_jnet.project.places import list_projects

    words = {}
    for number, one in enumerate(list_projects(stack), start=1):
        words[f"project {number}"] = f"{one.path}: {one.problem or one.words or 'nothing painted'}"
    return words


def _describe_project(project: Project) -> dict[str, str]:
    from napari_jnet.project.source import STACK_FILE

    words = {"project": f"{project.name} ({project.path})"}
    try:
        words |= _describe_stack(project.path, project.open_stack())
    except (OSError, ValueError) as error:
        words["stack"] = words_of(error)
    images = project.path / STACK_FILE if project.stack.stored else project.stack.path
    words["images"] = str(images or "in no file")
    for role, title in _ROLES.items():
        numbers = project.numbers(role)
        if numbers:
            words[title] = _numbers(numbers)
    if project.last_saved is not None:
        words["last saved"] = f"{project.last_saved:%Y-%m-%d %H:%M}"
    model = project.model
    words["model"] = "none yet" if model is None else _within(model, project.path)
    for run in project.runs():
        words[f"run {run.name}"] = _describe_run(run)
    return words


def _within(path: Path, folder: Path) -> str:
    return str(path.relative_to(folder) if path.is_relative_to(folder) else path)


def _describe_run(run: RunSummary) -> str:
    state = "finished" if run.finished else "stopped, can go on" if run.resumable else "stopped"
    if run.trained_by:
        state = f"being trained ({run.trained_by})"
    parts = [f"{run.epochs} epoch{'s' * (run.epochs != 1)} in {duration(run.elapsed_s)}, {state}"]
    frames = len(run.training_frames)
    parts.append(f"{frames} frame{'s' * (frames != 1)} learned from")
    best = {"SEG": run.seg, "IoU": run.iou}
    scores = [f"{name} {score(value)}" for name, value in best.items() if value is not None]
    if scores:
        parts.append(f"best {' and '.join(scores)} on validation (epoch {run.best_epoch})")
    if run.when is not None:
        parts.append(f"{run.when:%Y-%m-%d %H:%M}")
    return "; ".join(parts)


def _describe_stack(path: Path, stack: Stack) -> dict[str, str]:
    from napari_jnet.io.ctc import markers
    from napari_jnet.project.open import sequences

    words = {
        "stack": stack.name,
        "format": stack.format,
        "axes": ", ".join(_AXES.get(axis, axis) for axis in stack.axes),
        "frames": _numbers(stack.frame_numbers),
        "size of a frame": f"{_sizes(stack)}, {stack.dtype}",
    }
    if any(value != 1 for value in stack.scale):
        steps = zip(stack.scale, stack.units, strict=False)
        words["scale"] = ", ".join(f"{value:g} {unit}" for value, unit in steps)
    for number, note in enumerate(stack.notes):
        words[f"note {number + 1}" if len(stack.notes) > 1 else "note"] = note
    others = sequences(path)
    if others:
        words["sequences"] = ", ".join(others)
    for name, annotation in stack.annotations.items():
        words[f"annotation {name}"] = _annotation(annotation)
    if stack.candidates and len(stack.annotations) > 1:
        words["annotation"] = f"one of these; say which: --truth {next(iter(stack.annotations))}"
    if not stack.annotations:
        words["annotation"] = "none; the stack can be segmented, but not trained on"
    tracked = markers(stack)
    if tracked is not None:
        words["markers"] = _numbers(tracked.frame_numbers)
    return words


def _sizes(stack: Stack) -> str:
    """Say the size of a frame: "512 × 600 × 3"; or, of the images of a folder, that they differ."""
    from napari_jnet.io.folder import frame_shapes

    shapes = set(frame_shapes(stack)) if stack.format == "folder" else {stack.shape}
    if len(shapes) == 1:
        return _size(stack.shape)
    ordered = sorted(shapes, key=math.prod)
    channels = f", {stack.shape[-1]} channels" if stack.axes.endswith("C") else ""
    return (
        f"frames differ in size: {len(shapes)} sizes, from {_size(ordered[0])} to "
        f"{_size(ordered[-1])}{channels}"
    )


def _size(shape: Sequence[int]) -> str:
    return " × ".join(map(str, shape))


def _annotation(annotation: Annotation) -> str:
    try:
        return annotation.summary()
    except (ValueError, OSError) as error:  # the images can be segmented all the same
        return f"cannot be used: {words_of(error)}"


def _numbers(numbers: Sequence[int]) -> str:
    """Write frame numbers as "9 (2, 5, 21, ...)" or "84 (0 to 83)"."""
    if list(numbers) == list(range(numbers[0], numbers[0] + len(numbers))) and len(numbers) > 2:
        return f"{len(numbers)} ({numbers[0]} to {numbers[-1]})"
    shown = ", ".join(map(str, numbers[:24]))
    return f"{len(numbers)} ({shown}{', ...' if len(numbers) > 24 else ''})"
