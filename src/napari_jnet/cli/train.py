"""``napari-jnet train``."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import closing, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from napari_jnet.cli.common import (
    Axes,
    KindOption,
    Series,
    TruthOption,
    UnlabelledOption,
    choose_frames,
    find_model,
    find_project,
    make_config,
    open_and_tell,
    training_run,
)
from napari_jnet.cli.console import console, duration, stop_signal
from napari_jnet.config import PRESETS

if TYPE_CHECKING:
    from rich.console import Console

    from napari_jnet.events import TrainEvent
    from napari_jnet.io.stack import AnnotatedFrame


def train(
    stack: Annotated[
        Path, typer.Argument(help="Annotated stack: project, CTC dataset, TIFF, folder.")
    ],
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            metavar="RUN",
            help="Folder of the run to write; a project has its own.",
        ),
    ] = None,
    sequence: Annotated[
        str | None, typer.Option(help="Sequence of a CTC dataset, or train.")
    ] = None,
    axes: Axes = None,
    series: Series = None,
    truth: TruthOption = None,
    kind: KindOption = None,
    unlabelled: UnlabelledOption = None,
    frames: Annotated[
        str | None, typer.Option(help="Frames to use, such as 2,5,21 or 0-20.")
    ] = None,
    network: Annotated[str | None, typer.Option(help="Network: jnet, unet, fcn8, ...")] = None,
    preset: Annotated[str | None, typer.Option(help=f"Preset: {', '.join(PRESETS)}.")] = None,
    minutes: Annotated[float | None, typer.Option(help="Time for training.")] = None,
    epochs: Annotated[int | None, typer.Option(help="Number of epochs.")] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of every random choice.")] = None,
    device: Annotated[str | None, typer.Option(help="auto, cpu, cuda or mps.")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the run.")] = False,
    model: Annotated[
        Path | None, typer.Option(help="Model whose weights are the start (fine-tuning).")
    ] = None,
    setting: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="SECTION.FIELD=VALUE", help="Any other parameter."),
    ] = None,
    config: Annotated[
        Path | None, typer.Option(metavar="FILE.json", help="Configuration, as in a run folder.")
    ] = None,
) -> None:
    """Train a network on the annotated frames of a stack.

    Writes model.pt (the best), last.pt, history.csv, config.json and split.json into RUN; of a
    project, into its next folder runs/001, 002 ..., and the roles of its frames are kept.
    Ctrl-C (or SIGTERM) stops after the batch and keeps everything; --resume goes on.
    """
    settings = make_config(
        file=config,
        preset_name=preset,
        network=network,
        settings=setting or (),
        minutes=minutes,
        epochs=epochs,
        seed=seed,
        device=device,
    )
    if resume and model is not None:
        raise ValueError("--resume and --model both say where to begin; give one of them.")
    project = find_project(stack)
    numbers = choose_frames(frames, stack)
    choices = {"sequence": sequence, "axes": axes, "series": series}
    if project is None:
        open_and_tell(stack, **choices)
    start = None if model is None else find_model(model)
    run = training_run(project, output, resume=resume)
    try:
        if config is not None and not resume:
            _refuse_overwriting(config, run)
        said = {"annotation": truth, "kind": kind, "unlabelled": unlabelled}
        annotated = _read_frames(stack, choices | said, numbers, run, resume)

        from napari_jnet.training.loop import train as training

        events = training(annotated, run, settings, resume=resume, start_from=start)
        del annotated  # the training keeps what it needs of them
        _follow(events, run)
    finally:  # also after a stop
        if project is not None and output is None:
            with suppress(OSError):  # which is not empty once the training has begun
                run.rmdir()
        if project is not None and project.model in (None, run) and (run / "model.pt").is_file():
            project.set_model(run)


def _refuse_overwriting(config: Path, run: Path) -> None:
    written = run / "config.json"
    if written.exists() and written.samefile(config):
        raise ValueError(
            f"--config {config} would be overwritten: the run writes {written}. Choose another --output."
        )


def _read_frames(
    path: Path,
    choices: dict[str, Any],
    numbers: tuple[int, ...] | None,
    run: Path,
    resume: bool,
) -> list[AnnotatedFrame]:
    """Read the frames to train on; a resumed run takes those it had, unless told otherwise.

    Of a project it takes all: what was painted since is to be learned from too.
    """
    from napari_jnet.project.open import training_frames

    frames = training_frames(path, frames=numbers, **choices)
    last = run / "last.pt"
    if not resume or numbers is not None or not last.exists() or find_project(path) is not None:
        return frames
    from napari_jnet.model import read_split

    had = {name for names in read_split(last).values() for name in names}
    return [frame for frame in frames if frame.name in had]


def _follow(events: Generator[TrainEvent, None, None], output: Path) -> None:
    """Show a training until it ends or the user stops it."""
    from napari_jnet.cli.progress import TrainingProgress, validation_words
    from napari_jnet.events import TrainingEnd

    out = console()
    with stop_signal() as stop:
        # Closed also when the terminal is gone and nothing can be shown.
        with closing(events), TrainingProgress(out) as progress:
            for event in events:
                progress.show(event)
                if stop.asked and not isinstance(event, TrainingEnd):
                    break
        if stop.asked:
            _say_stopped(out, output)
            raise typer.Exit(stop.status)
    if progress.end is not None:
        end = progress.end
        out.print(
            f"Trained {end.epochs} epochs in {duration(end.elapsed_s)}; the best is epoch "
            f"{end.best_epoch}: {end.model}"
        )
        if progress.best is not None and progress.best.validation_loss is not None:
            out.print(f"On validation frames: {validation_words(progress.best)}")


def _say_stopped(out: Console, output: Path) -> None:
    if (output / "last.pt").is_file():
        out.print(f"Stopped. Everything is saved in {output}; go on with --resume.")
    else:
        out.print("Stopped before anything was trained.")
