"""``napari-jnet train``."""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Collection, Generator, Iterable, Iterator
from contextlib import ExitStack, closing, contextmanager, redirect_stdout, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from napari_jnet.budgets import DEFAULT_MINUTES, budget_of, budget_settings
from napari_jnet.cli.common import (
    AxesOption,
    KindOption,
    SequenceOption,
    SeriesOption,
    TruthOption,
    UnlabelledOption,
    choose_frames,
    config_option,
    find_model,
    find_project,
    open_with_notes,
)
from napari_jnet.cli.console import (
    console,
    duration,
    fail,
    message_of,
    progress_bar,
    score,
    stop_signal,
)
from napari_jnet.config import PRESETS, Config, read_settings
from napari_jnet.config import preset as make_preset

if TYPE_CHECKING:
    from napari_jnet.events import EpochEnd, TrainEvent
    from napari_jnet.io.stack import AnnotatedFrame
    from napari_jnet.project.project import Project

_Made = TypeVar("_Made")


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
    sequence: SequenceOption = None,
    axes: AxesOption = None,
    series: SeriesOption = None,
    truth: TruthOption = None,
    kind: KindOption = None,
    unlabelled: UnlabelledOption = None,
    frames: Annotated[
        str | None, typer.Option(help="Frames to use, such as 2,5,21 or 0-20.")
    ] = None,
    network: Annotated[str | None, typer.Option(help="Network: jnet, unet, fcn8, ...")] = None,
    preset: Annotated[str | None, typer.Option(help=f"Preset: {', '.join(PRESETS)}.")] = None,
    minutes: Annotated[float | None, config_option("training.minutes")] = None,
    epochs: Annotated[int | None, config_option("training.epochs")] = None,
    seed: Annotated[int | None, config_option("training.seed")] = None,
    device: Annotated[str | None, config_option("training.device")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Resume the run.")] = False,
    model: Annotated[
        Path | None,
        typer.Option(
            help="Model whose weights are the start (fine-tuning); starter: for any cells."
        ),
    ] = None,
    diameter: Annotated[float | None, config_option("network.diameter")] = None,
    setting: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="SECTION.FIELD=VALUE", help="Any other parameter."),
    ] = None,
    config: Annotated[
        Path | None, typer.Option(metavar="FILE.json", help="Configuration, as in a run folder.")
    ] = None,
) -> None:
    """Train a network on the annotated frames of a stack.

    Writes model.pt (the epoch that is kept), last.pt, history.csv, config.json and split.json into RUN; of a
    project, into its next folder runs/001, 002 ..., and the roles of its frames are kept.
    Ctrl-C (or SIGTERM) stops after the batch and keeps everything; --resume continues.
    """
    given = {"minutes": minutes, "epochs": epochs, "seed": seed, "device": device}
    settings = make_config(
        file=config, preset=preset, network=network, settings=setting or (), **given
    )
    if diameter is not None:
        settings = settings.replace({"network.diameter": diameter})
    if resume and model is not None:
        raise ValueError("--resume and --model both define the start; give one of them.")
    project = find_project(stack)
    numbers = choose_frames(frames, stack)
    choices: dict[str, Any] = {"sequence": sequence, "axes": axes, "series": series}
    start = None if model is None else find_model(model)[0]
    with _processes() as first:
        if project is None:
            open_with_notes(stack, **choices)
        run = output or _run_of_project(project, resume=resume)
        if config is not None and not resume and config.parent.resolve() == run.resolve():
            raise ValueError(
                f"--config {config} would be overwritten by this run. Choose another --output."
            )
        if config is None and not resume:  # which have their sizes
            chosen = {*read_settings(setting or ())} | ({"network.channels"} if model else set())
            settings = _fit_hardware(settings, preset, chosen)
        try:
            choices |= {"annotation": truth, "kind": kind, "unlabelled": unlabelled}
            annotated = _read_frames(stack, choices, numbers, run, resume)

            from napari_jnet.training.loop import train as training

            events = training(annotated, run, settings, resume=resume, start_from=start)
            del annotated  # the training keeps what it needs of them
            _follow(events, run)
        finally:  # also after a stop
            if project is not None and first:
                _finish_project(project, run, chosen=output is not None)


@contextmanager
def _processes() -> Iterator[bool]:
    """Join the other processes where torchrun starts several; whether this one prints and decides."""
    if "WORLD_SIZE" not in os.environ:
        yield True
        return
    from napari_jnet.training.distributed import process_group

    with process_group() as rank, ExitStack() as silent:
        if rank:
            silent.enter_context(redirect_stdout(io.StringIO()))
        yield rank == 0


@contextmanager
def _said_at_once() -> Iterator[None]:
    """Print the loss of another process while a signal is still caught: torchrun then ends this one too."""
    try:
        yield
    except ConnectionError as error:
        fail(f"Error: {message_of(error)}")


def _of_first(make: Callable[[], _Made]) -> _Made:
    """Return what this makes, where torchrun starts several processes in the first of them."""
    if "WORLD_SIZE" not in os.environ:
        return make()
    from napari_jnet.training.distributed import from_first

    made: _Made = from_first(make)
    return made


def _fit_hardware(config: Config, preset: str | None, chosen: Collection[str]) -> Config:
    """Return a configuration with the sizes that suit the hardware, as in the window, but the chosen ones."""
    from napari_jnet.device import find_hardware

    training, name = config.training, config.network.name
    if preset is not None and make_preset(preset).network.name == name:
        name = preset  # else the network is another one than the preset's
    minutes = 0.0 if training.epochs else training.minutes or DEFAULT_MINUTES

    def sizes() -> dict[str, Any]:
        hardware = find_hardware(training.device, training.threads)
        return budget_settings(budget_of(minutes), hardware, name)

    fitting = {
        field: value
        for field, value in _of_first(sizes).items()
        if field not in {"training.minutes", *chosen}
    }
    if fitting:
        words = ", ".join(f"{field}={value}" for field, value in fitting.items())
        console().print(f"Note: Sizes for this hardware: {words}")
    return config.replace(fitting)


def _finish_project(project: Project, run: Path, *, chosen: bool) -> None:
    """Let the project use its first model; remove the folder of a run that has not begun."""
    if not chosen:
        with suppress(OSError):  # which is not empty once the training has begun
            run.rmdir()
    if project.model in (None, run) and (run / "model.pt").is_file():
        project.set_model(run)


def make_config(
    *,
    file: Path | None = None,
    preset: str | None = None,
    network: str | None = None,
    settings: Iterable[str] = (),
    **training: Any,
) -> Config:
    """Make the configuration of a training; raises `ValueError`, or `FileNotFoundError` for the file.

    It begins as the file, the preset, or the preset of the network; ``section.field=value`` of ``settings``
    have precedence over ``training``, where None is not given.
    """
    if file is not None and preset is not None:
        raise ValueError("--config and --preset both define the start; give one of them.")
    given = {f"training.{name}": value for name, value in training.items() if value is not None}
    budget = given.keys() & {"training.minutes", "training.epochs"}
    if len(budget) == 2:
        raise ValueError("--minutes and --epochs both define the end; give one of them.")
    if file is not None:
        config = _read_config(file)
    elif preset is not None or network in PRESETS:
        config = make_preset(preset or str(network))
    else:
        config = Config()
    changes: dict[str, Any] = {} if network is None else {"network.name": network}
    if budget:
        changes |= {"training.minutes": None, "training.epochs": None}
    return config.replace(changes | given | read_settings(settings))


def _read_config(file: Path) -> Config:
    from napari_jnet.files import read_json

    values = read_json(file, "give the config.json of a run.")
    if not isinstance(values, dict) or not all(isinstance(v, dict) for v in values.values()):
        raise ValueError(
            f"{file} is not a configuration; it must hold sections such as 'training'."
        )
    return Config.from_dict(values, f"{file}: ")


def _run_of_project(project: Project | None, *, resume: bool) -> Path:
    """Return the run folder of a project to write: a new one, which is made, or its last to resume."""
    if project is None:
        raise ValueError(
            "Name the folder of the run to write: --output RUN. (A project has its own runs.)"
        )
    if not resume:
        return _of_first(project.reserve_run)
    last = project.last_run
    if last is None or not (last.path / "last.pt").is_file():
        found = "no run yet" if last is None else f"no last.pt in its last run, {last.name}"
        raise ValueError(
            f"The project {project.path} has {found}, so there is no training to resume. "
            "Start a new one: leave out --resume."
        )
    return last.path


def _read_frames(
    path: Path, choices: dict[str, Any], numbers: tuple[int, ...] | None, run: Path, resume: bool
) -> list[AnnotatedFrame]:
    """Read the frames to train on; a resumed run has those that it had, unless others are given.

    Of a project these are all frames, also those that were annotated since.
    """
    from napari_jnet.project.open import training_frames

    frames = training_frames(path, frames=numbers, **choices)
    last = run / "last.pt"
    if not resume or numbers is not None or not last.exists() or find_project(path) is not None:
        return frames
    from napari_jnet.model import read_training

    names = {name for names in read_training(last)["split"].values() for name in names}
    return [frame for frame in frames if frame.name in names]


def _follow(events: Generator[TrainEvent, None, None], run: Path) -> None:
    """Print a training, one line an epoch, until it ends or the user stops it."""
    from napari_jnet.events import BatchEnd, EpochEnd, Message, TrainingEnd, TrainingStart

    out = console()
    bar = progress_bar(out)
    task = bar.add_task("preparing", total=1.0)
    loss, kept = "", None
    with stop_signal() as stop:
        # Closed also when the terminal is gone and nothing can be printed.
        with _said_at_once(), closing(events), bar:
            for event in events:
                match event:
                    case TrainingStart():
                        out.print(f"Device: {event.device}")
                        out.print(
                            f"Training on {len(event.training_frames)} frames, validating on "
                            f"{', '.join(event.validation_frames) or 'none'}; {event.parameters:,} "
                            f"parameters, {event.distance}"
                        )
                        if event.start_epoch:
                            out.print(f"Resuming after epoch {event.start_epoch}")
                    case BatchEnd():
                        loss = loss if event.loss is None else f", loss {event.loss:.4f}"
                        left = f"{duration(event.remaining_s)} left"
                        words = f"epoch {event.epoch}, batch {event.batch}{loss}, {left}"
                        bar.update(task, completed=event.progress, description=words)
                    case EpochEnd():
                        kept = event if event.best else kept
                        out.print(_epoch_line(event))
                    case Message(text):
                        out.print(f"Note: {text}")
                    case TrainingEnd():
                        count = "1 epoch" if event.epochs == 1 else f"{event.epochs} epochs"
                        out.print(
                            f"Trained {count} in {duration(event.elapsed_s)}; epoch "
                            f"{event.best_epoch} is kept: {event.model}"
                        )
                        if kept is not None and kept.validation_loss is not None:
                            out.print(f"On validation frames: {_scores(kept)}")
                if stop.requested and not isinstance(event, TrainingEnd):
                    break
        if stop.requested:
            saved = (run / "last.pt").is_file()
            out.print(
                f"Stopped. Everything is saved in {run}; continue with --resume."
                if saved
                else "Stopped before anything was trained."
            )
            raise typer.Exit(stop.status)


def _epoch_line(event: EpochEnd) -> str:
    validation = event.validation_loss
    parts = [f"epoch {event.epoch:4d}", f"loss {event.train_loss:.4f}"]
    parts += [] if validation is None else [f"validation {validation:.4f}"]
    parts += [_scores(event), f"{event.images_per_s:.1f} images/s", duration(event.elapsed_s)]
    return "  ".join(parts)


def _scores(event: EpochEnd) -> str:
    """Return the scores of cells, or of each class where they are more than two."""
    if len(event.class_iou) <= 2:
        return f"IoU {score(event.iou)}  SEG {score(event.seg)}"
    classes = " ".join(score(value) for value in event.class_iou)
    mean, accuracy = score(event.mean_iou), score(event.pixel_accuracy)
    return f"accuracy {accuracy}  mean IoU {mean}  of classes {classes}"
