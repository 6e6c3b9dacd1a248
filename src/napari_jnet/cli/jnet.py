"""``napari-jnet jnet``: the command line of the original J-Net's script."""

from __future__ import annotations

from collections.abc import Generator
from typing import TYPE_CHECKING

import typer

from napari_jnet.cli.console import console, duration, stop_signal

if TYPE_CHECKING:
    from rich.console import Console

    from napari_jnet.legacy.training import Finished, OriginalEvent, OriginalScores


def jnet(context: typer.Context) -> None:
    """Do what the original J-Net's main.py does, with its flags, word for word.

    --mode train|eval|vis, --dataset_root, --images_idx and so on; --help lists them all.
    """
    words = context.args
    if "--help" in words or "-h" in words:
        _help()
        return
    from napari_jnet.legacy.flags import parse_flags

    flags = parse_flags(words)
    if flags.mode == "train":
        from napari_jnet.legacy.training import train as job
    else:
        from napari_jnet.legacy.evaluation import evaluate as job
    _follow(job(flags))


def _help() -> None:
    from rich.table import Table

    from napari_jnet.config import options
    from napari_jnet.legacy.flags import Flags, default_text

    out = console()
    out.print("Usage: napari-jnet jnet --mode train|eval|vis FLAGS\n")
    table = Table(show_header=False, box=None, pad_edge=False)
    for name, flag in options(Flags).items():
        table.add_row(f"--{name}", default_text(flag.default), flag.help)
    out.print(table)
    out.print("\nMore: docs/original-jnet.md")


def _follow(events: Generator[OriginalEvent, None, None]) -> None:
    """Show a job until it ends or the user stops it."""
    out = console()
    with stop_signal() as stop:
        for event in events:
            _show(event, out)
            if stop.asked:
                events.close()
                out.print("Stopped; what was written stays.")
                raise typer.Exit(stop.status)


def _show(event: OriginalEvent, out: Console) -> None:
    from napari_jnet.legacy.training import Finished, ImageDone, JobStart, OriginalEpoch

    match event:
        case JobStart():
            out.print(f"Device: {event.device}")
            if event.training:
                kept = ", ".join(event.validation) or "none"
                out.print(f"Training on {', '.join(event.training)}; validation: {kept}")
        case OriginalEpoch():
            line = f"epoch {event.epoch}  train: {_words(event.training)}"
            if event.validation is not None:
                line += f"  validation: {_words(event.validation)}"
            out.print(f"{line}  lr {event.learning_rate:g}  {duration(event.elapsed_s)}")
            named = [name for name in event.saved if name.removeprefix("model_").isdecimal()]
            if named:
                out.print(f"saved {', '.join(named)}")
        case ImageDone():
            scores = "" if event.scores is None else f"  {_words(event.scores)}"
            out.print(f"{event.label}{scores}")
        case Finished():
            _finish(event, out)


def _finish(event: Finished, out: Console) -> None:
    if event.note:
        out.print(event.note)
    if event.average is not None:
        out.print(f"average  {_words(event.average)}")
    for purpose, command in event.suggestions:
        out.print(f"\nTo {purpose}:\n{command}")


def _words(scores: OriginalScores) -> str:
    return f"loss {scores.loss:.6f}  l1_seg {scores.l1_seg:.6f}  l1_dist {scores.l1_dist:.6f}"
