"""What a running training tells: scores, frames, speed and memory in words, and its curves."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from qtpy.QtWidgets import QProgressBar, QVBoxLayout, QWidget

from napari_jnet.events import (
    BatchEnd,
    EpochEnd,
    NewFrames,
    Notice,
    TrainingEnd,
    TrainingStart,
)
from napari_jnet.plugin.forms import MessageLine, small_label
from napari_jnet.plugin.train.jobs import Past, short_name, time_left
from napari_jnet.plugin.train.plots import TrainingPlots

__all__ = ["TrainingMonitor"]


class TrainingMonitor(QWidget):
    """Takes the events of a training.

    Parameters
    ----------
    progress, message
        Of the widget; notices and the end are said in the message line.
    """

    def __init__(self, progress: QProgressBar, message: MessageLine) -> None:
        super().__init__()
        self._progress, self._message = progress, message
        self._notices: dict[str, str] = {}
        self._frames = ""
        self._validated = False
        self._added: list[str] = []
        self._batches = 1
        self.device = ""
        self.epoch = 0
        self.part = 0.0  # of the whole training
        self.score_line = small_label()
        self.plot = TrainingPlots()
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.addWidget(self.score_line)
        column.addWidget(self.plot)
        self._handlers: dict[type, Callable[[Any], None]] = {
            BatchEnd: self._batch_end,
            EpochEnd: self._epoch_end,
            TrainingStart: self._start,
            TrainingEnd: self._end,
            NewFrames: self._new_frames,
            Notice: lambda event: self.say(event.text, event.text),
            Past: self._past,
        }

    def begin(self) -> None:
        """Forget the last training."""
        self._notices, self._frames, self.epoch, self.part = {}, "", 0, 0.0
        self._added = []
        self.score_line.clear()
        self.plot.clear()

    def take(self, event: Any) -> None:
        """Show an event."""
        self._handlers[type(event)](event)

    def say(self, topic: str, text: str) -> None:
        """Say something beside what was said; on the same topic, instead of it."""
        self._notices.pop(topic, None)
        self._notices[topic] = text
        self._message.say("\n".join(self._notices.values()))

    def stopped(self, run: Path, project: Any | None) -> None:
        """Say where a stopped training has left its model."""
        inside = project is not None and run.is_relative_to(project.path)
        where = f"as run {run.name}" if inside else f"in {run}"
        self.say("end", f"Stopped. The model so far is kept {where}; it can go on later.")

    def _past(self, past: Past) -> None:
        if past.own is not None:
            self.plot.go_on_from(past.own)
        self.plot.show_earlier(past.earlier)

    def _start(self, event: TrainingStart) -> None:
        self.device = event.device
        self._validated = bool(event.validation_frames)
        self.epoch = event.start_epoch
        self._batches = event.batches_per_epoch
        self._frames = _counted(event.training_frames, event.validation_frames)
        self.score_line.setText(f"{self._frames}; distance bound {event.dt_bound:g} px")

    def _batch_end(self, event: BatchEnd) -> None:
        self.part = event.progress
        self._progress.setValue(round(1000 * event.progress))
        left = time_left(event.remaining_s)
        self._progress.setFormat(f"epoch {event.epoch} · %p % · {left} left")
        self.plot.add_batch(
            event.epoch - 1 + event.batch / self._batches, event.elapsed_s, event.loss
        )

    def _epoch_end(self, event: EpochEnd) -> None:
        self.epoch = event.epoch
        self.plot.add_epoch(event)
        scores = {"IoU": event.iou, "SEG": event.seg}
        said = [f"{name} {score:.3f}" for name, score in scores.items() if score is not None]
        if event.validation_loss is not None and not said:
            said = ["IoU -"]  # none that could be wrong
        best = " · best so far" if event.best else ""
        none = "no validation frame" if not self._validated else "not scored"
        of = "on validation" if event.validation_loss is not None else none
        speed = f"{event.images_per_s:.1f} patches/s"
        memory = "" if event.memory_mb is None else f" · {_memory(event.memory_mb)}"
        self.score_line.setText(
            f"epoch {event.epoch}: {' · '.join([*said, of])}{best}\n"
            f"{speed}{memory} · {self._frames}"
        )

    def _new_frames(self, event: NewFrames) -> None:
        self._validated = bool(event.validation_frames)
        self._frames = _counted(event.training_frames, event.validation_frames)
        count = len(event.training_frames)
        self._added += [short_name(name) for name in event.added]
        present = {short_name(n) for n in (*event.training_frames, *event.validation_frames)}
        added = [name for name in dict.fromkeys(self._added) if name in present]
        new = f"{' and '.join(added)} {'is' if len(added) == 1 else 'are'} new"
        self.say(
            "frames",
            f"Learning from {count} frame{'s' if count != 1 else ''} now "
            f"({new if added else 'with what was painted meanwhile'}).",
        )

    def _end(self, event: TrainingEnd) -> None:
        self.say(
            "end",
            f"Trained {event.epochs} {'epoch' if event.epochs == 1 else 'epochs'} in "
            f"{time_left(event.elapsed_s)}; the best is epoch {event.best_epoch}. Next: open "
            "Predict.",
        )


def _counted(training: tuple[str, ...], validation: tuple[str, ...]) -> str:
    many = "s" if len(training) != 1 else ""
    return f"{len(training)} frame{many} to learn from, {len(validation)} kept for validation"


def _memory(megabytes: float) -> str:
    return f"{megabytes:.0f} MB" if megabytes < 1000 else f"{megabytes / 1024:.1f} GB"
