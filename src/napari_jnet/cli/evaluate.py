"""``napari-jnet evaluate``."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from napari_jnet import __version__
from napari_jnet.cli.common import (
    AxesOption,
    KindOption,
    SequenceOption,
    SeriesOption,
    TruthOption,
    UnlabelledOption,
    choose_frames,
    find_project,
    open_with_notes,
)
from napari_jnet.cli.console import console, progress_bar, score
from napari_jnet.evaluation import BORDER_HELP, SCORES

if TYPE_CHECKING:
    from rich.table import Table

    from napari_jnet.events import Scores


def evaluate(
    result: Annotated[Path, typer.Argument(help="What predict wrote, or any CTC result folder.")],
    stack: Annotated[Path, typer.Argument(help="Annotated stack or project.")],
    sequence: SequenceOption = None,
    axes: AxesOption = None,
    series: SeriesOption = None,
    truth: TruthOption = None,
    kind: KindOption = None,
    unlabelled: UnlabelledOption = None,
    frames: Annotated[
        str | None, typer.Option(help="Frames to score, such as 21-23, or validation.")
    ] = None,
    border: Annotated[int, typer.Option(min=0, help=BORDER_HELP)] = 0,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="Folder or .json file; default the result's folder."),
    ] = None,
) -> None:
    """Score a result against the annotation of its stack; writes metrics.json."""
    numbers = choose_frames(frames, stack)

    from napari_jnet.evaluation.evaluate import evaluate as evaluating
    from napari_jnet.events import FrameScore, Message, Scores

    file = output or (result if result.is_dir() else result.parent)
    file = file if output is not None and output.suffix == ".json" else file / "metrics.json"
    _refuse_foreign(file)
    out = console()
    opened = open_with_notes(
        stack,
        sequence=sequence,
        axes=axes,
        series=series,
        kind=kind,
        truth=truth,
        unlabelled=unlabelled,
    )
    out.print(f"Labels: {opened.annotation().summary()}")
    with progress_bar(out) as bar:
        task = bar.add_task("Scoring", total=len(opened))
        for event in evaluating(result, opened, frames=numbers, border=border):
            match event:
                case FrameScore():
                    bar.advance(task)
                case Message(text):
                    out.print(f"Note: {text}")
                case Scores():
                    scores = event
    _write(file, scores)
    out.print(_table(scores))
    if scores.objects:
        out.print(
            f"{scores.objects - scores.missed} of {scores.objects} reference objects are matched, as SEG "
            "matches: a result object covers more than half of it, whatever else it covers"
        )
    project = find_project(stack)
    learned = set(project.numbers("training")) if project is not None else set()
    among = [str(frame.number) for frame in scores.frames if frame.number in learned]
    if among:
        out.print(
            f"Note: training learns from {', '.join(among)}, so scores on these frames are optimistic. "
            "Score those kept apart with --frames validation."
        )
    out.print(f"Written: {file}")


def _refuse_foreign(path: Path) -> None:
    """Refuse to write over a file that does not hold scores of napari-jnet."""
    from napari_jnet.files import OutputError

    content = path.read_text(encoding="utf-8", errors="replace") if path.exists() else None
    if content is not None and '"pixel_accuracy"' not in content:
        raise OutputError(
            f"{path} is there already and does not hold scores of napari-jnet; it would be overwritten. "
            "Choose another file with --output."
        )


def _write(path: Path, scores: Scores) -> None:
    from napari_jnet.files import atomic_write, make_folder

    make_folder(path.parent)
    content = {**dataclasses.asdict(scores), "napari_jnet": __version__}
    with atomic_write(path) as partial:
        partial.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def _table(scores: Scores) -> Table:
    """Return frames in rows, and all of them together in the last; without scores that do not apply."""
    from rich.table import Table

    shown = [name for name in SCORES if getattr(scores, name) is not None]
    field = f", without objects in the border of {scores.border} px" if scores.border else ""
    table = Table(title=scores.truth + field)
    for title in ("frame", *(SCORES[name][0] for name in shown)):
        table.add_column(title, justify="right")
    for frame in scores.frames:
        table.add_row(str(frame.number), *(score(getattr(frame, name)) for name in shown))
    table.add_section()
    table.add_row("all", *(score(getattr(scores, name)) for name in shown))
    return table
