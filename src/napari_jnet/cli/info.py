"""``napari-jnet info``."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from napari_jnet.cli.common import (
    AxesOption,
    KindOption,
    SequenceOption,
    SeriesOption,
    TruthOption,
    UnlabelledOption,
    find_project,
)
from napari_jnet.cli.console import console, duration, message_of, score

if TYPE_CHECKING:
    from napari_jnet.io.stack import Annotation, Stack
    from napari_jnet.project.project import Project
    from napari_jnet.project.runs import RunSummary

_IMAGES = (".tif", ".tiff", ".png", ".jpg", ".jpeg")


def info(
    path: Annotated[Path, typer.Argument(help="Stack, project, run folder or model file.")],
    sequence: SequenceOption = None,
    axes: AxesOption = None,
    series: SeriesOption = None,
    truth: TruthOption = None,
    kind: KindOption = None,
    unlabelled: UnlabelledOption = None,
) -> None:
    """Describe a stack, a project or a model file."""
    from rich.table import Table

    table = Table(show_header=False, box=None, pad_edge=False)
    table.add_column(style="bold")
    table.add_column(overflow="fold")
    choices = {"axes": axes, "series": series, "truth": truth, "kind": kind}
    for row in describe(path, sequence=sequence, unlabelled=unlabelled, **choices).items():
        table.add_row(*row)
    console().print(table)


def describe(path: Path, **choices: Any) -> dict[str, str]:
    """Return title and text of each line that describes a path; `choices` are those of `open_stack`.

    Raises
    ------
    FileNotFoundError, ValueError
        If the path does not exist, or is neither stack nor model.
    """
    from napari_jnet.io.run_folder import PACKAGED

    packaged = str(path) in PACKAGED
    project = None if packaged else find_project(path)
    if project is not None:
        return _describe_project(project)
    is_run = any((path / name).is_file() for name in ("model.pt", "last.pt"))
    if packaged or is_run or (path.is_file() and path.suffix.lower() not in _IMAGES):
        from napari_jnet.model import describe_model

        return describe_model(path)
    from napari_jnet.project.open import open_stack
    from napari_jnet.project.places import list_projects

    stack = open_stack(path, **choices)
    lines = describe_stack(path, stack)
    for number, one in enumerate(list_projects(stack), start=1):  # of these images, newest first
        lines[f"project {number}"] = f"{one.path}: {one.problem or one.summary or 'no annotation'}"
    return lines


def _describe_project(project: Project) -> dict[str, str]:
    from napari_jnet.io.stack import format_numbers
    from napari_jnet.project.manifest import ROLES
    from napari_jnet.project.source import STACK_FILE

    lines = {"project": f"{project.name} ({project.path})"}
    try:
        lines |= describe_stack(project.path, project.open_stack())
    except (OSError, ValueError) as error:
        lines["stack"] = message_of(error)
    images = project.path / STACK_FILE if project.stack.stored else project.stack.path
    lines["images"] = str(images or "in no file")
    for role in (*ROLES, ""):
        if numbers := project.numbers(role):
            lines[f"{role or 'other'} frames"] = format_numbers(numbers)
    if project.last_saved is not None:
        lines["last saved"] = f"{project.last_saved:%Y-%m-%d %H:%M}"
    lines["model"] = str(project.model or "none yet")
    for run in project.runs():
        lines[f"run {run.name}"] = describe_run(run)
    return lines


def describe_run(run: RunSummary) -> str:
    """Return how a run stands, on one line."""
    state = "finished" if run.finished else "stopped"
    if run.resumable:
        state = "stopped, can be resumed"
    if run.trained_by:
        state = f"being trained ({run.trained_by})"
    parts = [
        f"epochs: {run.epochs} in {duration(run.elapsed_s)}, {state}",
        f"training frames: {len(run.training_frames)}",
    ]
    best = {"SEG": run.seg, "IoU": run.iou}
    scores = [f"{name} {score(value)}" for name, value in best.items() if value is not None]
    if scores:
        kept = "which" if run.scored_epoch == run.best_epoch else f"{run.best_epoch}"
        parts.append(
            f"{' and '.join(scores)} on validation (epoch {run.scored_epoch}, {kept} is kept)"
        )
    if run.when is not None:
        parts.append(f"{run.when:%Y-%m-%d %H:%M}")
    return "; ".join(parts)


def describe_stack(path: Path, stack: Stack, *, brief: bool = False) -> dict[str, str]:
    """Return title and text of each line about a stack; `brief` reads no labels that it need not."""
    from napari_jnet.io.axes import axes_text
    from napari_jnet.io.ctc import markers
    from napari_jnet.io.stack import format_numbers
    from napari_jnet.project.open import sequences

    lines = {
        "stack": stack.name,
        "format": stack.format,
        "axes": axes_text(stack.axes),
        "frames": format_numbers(stack.frame_numbers),
        "size of a frame": f"{_describe_sizes(stack)}, {stack.dtype}",
    }
    if any(value != 1 for value in stack.scale):
        steps = zip(stack.scale, stack.units, strict=False)
        lines["scale"] = ", ".join(f"{value:g} {unit}" for value, unit in steps)
    if stack.notes:
        lines["notes"] = "\n".join(stack.notes)
    if others := sequences(path):
        lines["sequences"] = ", ".join(others)
    for name, annotation in stack.annotations.items():
        lines[f"annotation {name}"] = _describe_annotation(annotation, brief)
    if stack.candidates and len(stack.annotations) > 1 and not brief:
        lines["annotation"] = f"one of these; choose with --truth {next(iter(stack.annotations))}"
    if not stack.annotations:
        lines["annotation"] = "none; the stack can be segmented, but not trained on"
    if (tracked := markers(stack)) is not None:
        lines["markers"] = format_numbers(tracked.frame_numbers)
    return lines


def _describe_sizes(stack: Stack) -> str:
    """Return the size of a frame, "512 × 600 × 3"; of images that differ, the smallest and largest."""
    from napari_jnet.io.axes import size_text
    from napari_jnet.io.folder import frame_shapes

    shapes = set(frame_shapes(stack)) if stack.format == "folder" else {stack.shape}
    if len(shapes) == 1:
        return size_text(stack.shape)
    ordered = sorted(shapes, key=math.prod)
    return f"{size_text(ordered[0])} to {size_text(ordered[-1])}"


def _describe_annotation(annotation: Annotation, brief: bool) -> str:
    try:
        return annotation.summary(annotation.frame_numbers if brief else None)
    except (ValueError, OSError) as error:  # the images can be segmented all the same
        fact = getattr(error, "fact", "") if brief else ""  # the window asks for the choice itself
        return f"cannot be used: {fact or message_of(error)}"
