"""One session of one training: what stays the same from its first batch to its last."""

from __future__ import annotations

import time
from dataclasses import dataclass

import torch

from napari_jnet.batches import FrameStore
from napari_jnet.checkpoint import Model, save_checkpoint
from napari_jnet.config import Config
from napari_jnet.device import has_bfloat16
from napari_jnet.losses import loss_function
from napari_jnet.run_folder import RunFolder
from napari_jnet.training_board import Board
from napari_jnet.training_state import TrainingState
from napari_jnet.validation import PART, Validation, ValidationScores

__all__ = ["Job"]


@dataclass(eq=False)
class Job:
    """Settings, data and state of a training in this session."""

    folder: RunFolder
    config: Config
    device: torch.device
    state: TrainingState
    store: FrameStore
    validation: Validation
    split: dict[str, list[str]]
    board: Board | None = None

    def __post_init__(self) -> None:
        self.start_clock()
        self.loss = loss_function(self.config.training.loss)
        self.saved_step, self.saved_at = self.state.step, time.monotonic()
        precision = self.config.training.precision
        self.bfloat16 = precision == "bfloat16" or (
            precision == "auto" and has_bfloat16(self.device)
        )

    def start_clock(self) -> None:
        """Count the time of this session from now on, after that of earlier ones."""
        self.started = time.monotonic() - self.state.elapsed_s

    @property
    def bound(self) -> float:
        """Bound of the distance, in pixels of the full frame."""
        assert self.config.targets.dt_bound is not None
        return self.config.targets.dt_bound

    @property
    def out_of_patience(self) -> bool:
        """Whether the validation has not become better for as long as it may."""
        patience, state = self.config.training.patience, self.state
        # an epoch that was not scored decides nothing
        scored = not self.validation.frames or (
            bool(state.history) and state.history[-1]["validation_loss"] is not None
        )
        return scored and 0 < patience <= state.epoch - state.best_epoch

    def validate(self, model: Model) -> ValidationScores:
        """Score the present model, if it is time: the first epoch, the last, and those in between.

        Where epochs are the budget, work is counted, so that a resumed training scores the same ones;
        where minutes are, the clock decides.
        """
        training, state = self.config.training, self.state
        due = self.progress() >= 1 or state.epoch % self.validation.every == 0
        if training.epochs is None and self.progress() < 1:
            due = state.validation_s <= PART * state.elapsed_s
        if not due:
            return ValidationScores()
        began = time.monotonic()
        scores = self.validation.run(model)
        state.validation_s += time.monotonic() - began
        return scores

    def progress(self) -> float:
        """Part of the budget that is used, 0 to 1."""
        training, state = self.config.training, self.state
        state.elapsed_s = time.monotonic() - self.started
        parts = []
        if training.epochs is not None:
            parts.append((state.epoch + state.batch / training.batches_per_epoch) / training.epochs)
        if training.minutes is not None:
            parts.append(state.elapsed_s / (60 * training.minutes))
        return min(max(parts), 1.0)

    def save_epoch(self) -> None:
        """Keep everything after an epoch; ``last.pt`` comes first, see `complete_files`."""
        self._save_state()
        self.complete_files()

    def save_last(self) -> None:
        """Keep everything within an epoch; also a model, if no epoch has given one yet."""
        self._save_state()
        if not self.folder.model.exists():
            self._save_model()

    def complete_files(self) -> None:
        """Write ``model.pt`` and ``history.csv`` as they belong to ``last.pt``.

        A process that was killed between the three may have left the others an epoch behind.
        """
        state = self.state
        best = state.epoch == state.best_epoch and not state.batch
        if best or not self.folder.model.exists():
            self._save_model()
        if state.history:
            self.folder.write_history(state.history)

    def _save_state(self) -> None:
        state = self.state
        save_checkpoint(self.folder.last, state.full_content(self.config, self.split))
        self.saved_step, self.saved_at = state.step, time.monotonic()

    def _save_model(self) -> None:
        save_checkpoint(self.folder.model, self.state.model_content(self.config))
