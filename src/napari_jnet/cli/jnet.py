"""``napari-jnet jnet``: the command line of the original J-Net's script."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from napari_jnet.cli.console import console, duration, stop_signal

if TYPE_CHECKING:
    from rich.console import Console

    from napari_jnet.legacy.script import OriginalEvent, OriginalScores


def jnet(context: typer.Context) -> None:
    """Run the original J-Net's main.py: the same flags, files and scores.

    --mode train|eval|vis, --dataset_root, --images_idx and so on; --help lists them all.
    """
    from napari_jnet.legacy.flags import help_text, parse_flags

    out = console()
    if "--help" in context.args or "-h" in context.args:
        out.print(help_text())
        return
    flags = parse_flags(context.args)
    from napari_jnet.legacy.script import evaluate, train

    events = train(flags) if flags.mode == "train" else evaluate(flags)
    with stop_signal() as stop:
        for event in events:
            _show(event, out)
            if stop.requested:
                events.close()
                out.print("Stopped; the files written so far are kept.")
                raise typer.Exit(stop.status)


def _show(event: OriginalEvent, out: Console) -> None:
    from napari_jnet.events import Message, TrainingStart
    from napari_jnet.legacy.script import Finished, ImageDone, OriginalEpoch

    match event:
        case Message():
            out.print(event.text)
        case TrainingStart():
            out.print(f"Device: {event.device}")
            kept = ", ".join(event.validation_frames) or "none"
            out.print(f"Training on {', '.join(event.training_frames)}; validation: {kept}")
        case OriginalEpoch():
            line = f"epoch {event.epoch}  train: {_scores(event.training)}"
            if event.validation is not None:
                line += f"  validation: {_scores(event.validation)}"
            out.print(f"{line}  lr {event.learning_rate:g}  {duration(event.elapsed_s)}")
            named = [name for name in event.saved if name.removeprefix("model_").isdecimal()]
            if named:
                out.print(f"saved {', '.join(named)}")
        case ImageDone():
            scores = "" if event.scores is None else f"  {_scores(event.scores)}"
            out.print(f"{event.label}{scores}")
        case Finished():
            if event.average is not None:
                out.print(f"average  {_scores(event.average)}")
            for purpose, command in event.suggestions:
                out.print(f"\nTo {purpose}:\n{command}")


def _scores(scores: OriginalScores) -> str:
    return f"loss {scores.loss:.6f}  l1_seg {scores.l1_seg:.6f}  l1_dist {scores.l1_dist:.6f}"
