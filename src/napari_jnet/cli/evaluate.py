"""``napari-jnet evaluate``."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from napari_jnet import __version__
from napari_jnet.cli.common import (
    Axes,
    KindOption,
    Series,
    TruthOption,
    UnlabelledOption,
    choose_frames,
    find_project,
    open_and_tell,
)
from napari_jnet.cli.console import console, score

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from napari_jnet.events import FrameScore, Scores


_NAMES = {
    "seg": "SEG",
    "det": "DET",
    "ap50": "AP50",
    "ap75": "AP75",
    "ap": "AP",
    "iou": "IoU",
    "mean_iou": "mean IoU",
    "pixel_accuracy": "pixel accuracy",
    "v_rand": "V_rand",
    "v_info": "V_info",
}


def evaluate(
    result: Annotated[Path, typer.Argument(help="What predict wrote, or any CTC result folder.")],
    stack: Annotated[Path, typer.Argument(help="Annotated stack or project.")],
    sequence: Annotated[str | None, typer.Option(help="Sequence of a CTC dataset.")] = None,
    axes: Axes = None,
    series: Series = None,
    truth: TruthOption = None,
    kind: KindOption = None,
    unlabelled: UnlabelledOption = None,
    frames: Annotated[
        str | None, typer.Option(help="Frames to score, such as 21-23, or validation.")
    ] = None,
    border: Annotated[
        int,
        typer.Option(
            min=0,
            help="Leave out objects wholly within so many pixels of the sides, as the Cell Tracking "
            "Challenge does: 50 for DIC-C2DH-HeLa, PhC-C2DH-U373, Fluo-N2DH-GOWT1; 25 for PhC-C2DL-PSC and "
            "Fluo-N2DL-HeLa, 0 for Fluo-N2DH-SIM+.",
        ),
    ] = 0,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="Folder or .json file; default the result's folder."),
    ] = None,
) -> None:
    """Score a result against the annotation of its stack; writes metrics.json."""
    numbers = choose_frames(frames, stack)

    from rich.progress import Progress

    from napari_jnet.evaluation.evaluate import evaluate as evaluating
    from napari_jnet.events import FrameScore, Notice, Scores

    _refuse_foreign(_metrics_file(result, output))
    out = console()
    opened = open_and_tell(
        stack,
        sequence=sequence,
        axes=axes,
        series=series,
        kind=kind,
        truth=truth,
        unlabelled=unlabelled,
    )
    out.print(f"Labels: {opened.annotation().summary()}")
    with Progress(console=out, transient=True, disable=not out.is_terminal) as bar:
        task = bar.add_task("Scoring", total=len(opened))
        scores: Scores | None = None
        for event in evaluating(result, opened, frames=numbers, border=border):
            match event:
                case FrameScore():
                    bar.advance(task)
                case Notice(text):
                    out.print(f"Note: {text}")
                case Scores():
                    scores = event
    assert scores is not None
    _write(_metrics_file(result, output), scores)
    out.print(_table(scores))
    whole = {name: getattr(scores, name) for name in ("mean_iou", "v_rand", "v_info")}
    words = [f"{_NAMES[name]} {score(value)}" for name, value in whole.items() if value is not None]
    if words:
        out.print(f"All together: {', '.join(words)}")
    if scores.objects:
        found = scores.objects - scores.missed
        out.print(
            f"{found} of {scores.objects} reference objects are matched, as SEG matches: a result object "
            "covers more than half of it, whatever else it covers"
        )
    _warn_of_training_frames(out, stack, scores)
    out.print(f"Written: {_metrics_file(result, output)}")


def _warn_of_training_frames(out: Console, stack: Path, scores: Scores) -> None:
    """Say of a project which of the scored frames a model may have learned from."""
    project = find_project(stack)
    learned = set(project.numbers("training")) if project is not None else set()
    among = [str(frame.number) for frame in scores.frames if frame.number in learned]
    if among:
        out.print(
            f"Note: training learns from {', '.join(among)}, so their scores say little about other "
            "frames. Score those kept apart with --frames validation.",
        )


def _metrics_file(result: Path, output: Path | None) -> Path:
    if output is not None and output.suffix == ".json":
        return output
    return (output or (result if result.is_dir() else result.parent)) / "metrics.json"


def _refuse_foreign(path: Path) -> None:
    """Refuse to write over a file that holds no scores of ours."""
    from napari_jnet.files import OutputError

    if not path.exists():
        return
    try:
        words = json.loads(path.read_text(encoding="utf-8"))
        ours = isinstance(words, dict) and words.keys() >= {"frames", "napari_jnet"}
    except (OSError, ValueError, RecursionError):
        ours = False
    if not ours:
        raise OutputError(
            f"{path} is there already and holds no scores of napari-jnet; it would be overwritten. Choose "
            "another file with --output."
        )


def _write(path: Path, scores: Scores) -> None:
    from napari_jnet.files import atomic_write, make_folder

    make_folder(path.parent)
    words = {**dataclasses.asdict(scores), "napari_jnet": __version__}
    with atomic_write(path) as partial:
        partial.write_text(json.dumps(words, indent=2) + "\n", encoding="utf-8")


def _table(scores: Scores) -> Table:
    """Frames in rows, and all of them together in the last."""
    from rich.table import Table

    names = ("seg", "det", "ap50", "ap75", "ap", "iou", "pixel_accuracy")
    shown = [name for name in names if getattr(scores, name) is not None]
    field = f", without objects in the border of {scores.border} px" if scores.border else ""
    table = Table(title=scores.truth + field)
    table.add_column("frame", justify="right")
    for name in shown:
        table.add_column(_NAMES[name], justify="right")
    for frame in scores.frames:
        table.add_row(str(frame.number), *(_cell(frame, name) for name in shown))
    table.add_section()
    table.add_row("all", *(score(getattr(scores, name)) for name in shown))
    return table


def _cell(frame: FrameScore, name: str) -> str:
    return score(getattr(frame, name))
