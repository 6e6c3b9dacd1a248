"""A training on the terminal: one line an epoch, and a bar with the time left."""

from __future__ import annotations

from typing import Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn

from napari_jnet.cli.console import duration, score
from napari_jnet.events import BatchEnd, EpochEnd, Notice, TrainEvent, TrainingEnd, TrainingStart


class TrainingProgress:
    """Shows the events of a training; a context manager.

    Attributes
    ----------
    best
        The last epoch that was the best so far.
    end
        The end of the training, once it came.
    """

    def __init__(self, console: Console) -> None:
        self.best: EpochEnd | None = None
        self.end: TrainingEnd | None = None
        self._console = console
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.percentage:3.0f} %"),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )
        self._task = self._bar.add_task("preparing", total=1.0)
        self._loss: float | None = None

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._bar.stop()

    def show(self, event: TrainEvent) -> None:
        """Show one event."""
        match event:
            case TrainingStart():
                self._start(event)
            case BatchEnd():
                self._batch(event)
            case EpochEnd():
                self._epoch(event)
            case Notice(text):
                self._console.print(f"Note: {text}")
            case TrainingEnd():
                self.end = event

    def _start(self, event: TrainingStart) -> None:
        self._console.print(f"Device: {event.device}")
        self._console.print(
            f"Training on {len(event.training_frames)} frames, validating on "
            f"{', '.join(event.validation_frames) or 'none'}; {event.parameters:,} parameters, "
            f"distance bound {event.dt_bound:g} px",
        )
        if event.start_epoch:
            self._console.print(f"Going on after epoch {event.start_epoch}")

    def _batch(self, event: BatchEnd) -> None:
        if event.loss is not None:
            self._loss = event.loss
        loss = "" if self._loss is None else f", loss {self._loss:.4f}"
        words = f"epoch {event.epoch}, batch {event.batch}{loss}"
        self._bar.update(
            self._task,
            completed=event.progress,
            description=f"{words}, {duration(event.remaining_s)} left",
        )

    def _epoch(self, event: EpochEnd) -> None:
        if event.best:
            self.best = event
        validation = event.validation_loss
        self._console.print(
            f"epoch {event.epoch:4d}  loss {event.train_loss:.4f}"
            + ("" if validation is None else f"  validation {validation:.4f}")
            + f"  {validation_words(event)}"
            + f"  {event.images_per_s:.1f} images/s  {duration(event.elapsed_s)}"
            + ("  best" if event.best else "")
        )


def validation_words(event: EpochEnd) -> str:
    """Say the scores of an epoch: of cells, or of each class where they are more than two."""
    if len(event.class_iou) <= 2:
        return f"IoU {score(event.iou)}  SEG {score(event.seg)}"
    classes = " ".join(score(value) for value in event.class_iou)
    mean, accuracy = score(event.mean_iou), score(event.pixel_accuracy)
    return f"accuracy {accuracy}  mean IoU {mean}  of classes {classes}"
