"""What a training run holds: weights, optimiser, averages, schedule, clock and files."""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import NoneType
from typing import Any

import torch

from napari_jnet.config import Config, TrainingConfig
from napari_jnet.device import has_bfloat16
from napari_jnet.events import EpochEnd
from napari_jnet.files import reading
from napari_jnet.io.run_folder import RunFolder
from napari_jnet.model import (
    Model,
    ModelFileError,
    load_state,
    move,
    read_checkpoint,
    save_checkpoint,
)
from napari_jnet.networks import build_network
from napari_jnet.networks.base import SegmentationNetwork
from napari_jnet.training.losses import loss_function
from napari_jnet.training.sampler import FrameStore
from napari_jnet.training.validate import PART, Validation, ValidationScores

WARM_UP = 0.02


"""Part of the training in which the rate rises from zero (cosine only)."""


PLATEAU = {"factor": 0.75, "patience": 20, "cooldown": 10}


"""As the original J-Net."""


class Schedule:
    """Sets the learning rate: cosine, constant, in steps, or by plateaus of the loss."""

    def __init__(self, config: TrainingConfig, optimizer: torch.optim.Optimizer) -> None:
        self.config = config
        self.optimizer = optimizer
        self.epochs = 0  # finished ones
        self.plateau = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, **PLATEAU)  # type: ignore[arg-type]

    @property
    def rate(self) -> float:
        """The present learning rate."""
        return float(self.optimizer.param_groups[0]["lr"])

    def set_rate(self, progress: float) -> None:
        """Set the rate for this part of the training, 0 to 1 (cosine and step only)."""
        if self.config.schedule == "cosine":
            factor = 0.5 * (1 + math.cos(math.pi * progress))
            factor = max(min(progress / WARM_UP, 1.0), 0.01) * factor
        elif self.config.schedule == "step":
            factor = self.config.step_factor ** (self.epochs // self.config.step_epochs)
        else:
            return
        for group in self.optimizer.param_groups:
            group["lr"] = self.config.learning_rate * factor

    def end_epoch(self, train_loss: float) -> None:
        """Count the epoch; lower the rate if the loss has stopped falling (plateau only)."""
        self.epochs += 1
        if self.config.schedule == "plateau":
            self.plateau.step(train_loss)

    def state_dict(self) -> dict[str, Any]:
        """Return what a resumed training needs: plain numbers."""
        names = ("best", "num_bad_epochs", "cooldown_counter", "last_epoch")
        return {"epochs": self.epochs, **{name: getattr(self.plateau, name) for name in names}}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take up the state of another session."""
        for name, value in state.items():
            setattr(self if name == "epochs" else self.plateau, name, value)


class TensorBoardLogger:
    """Writes the numbers of each epoch into ``RUN/tensorboard``.

    Raises
    ------
    ValueError
        If TensorBoard is not installed.
    """

    def __init__(self, run: Path) -> None:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError as error:
            raise ValueError(
                "training.tensorboard is on, but the package tensorboard is not installed. "
                "Run pip install tensorboard, or switch it off; history.csv has the same numbers."
            ) from error
        make: Any = SummaryWriter  # its types depend on whether tensorboard is there
        self._writer = make(str(run / "tensorboard"))

    def write(self, event: EpochEnd) -> None:
        """Write one epoch; what does not apply is left out, classes are counted from 0."""
        for name, value in dataclasses.asdict(event).items():
            if isinstance(value, tuple):
                for number, score in enumerate(value):
                    self._add(f"{name}/{number}", score, event.epoch)
            elif name not in ("epoch", "best"):
                self._add(name, value, event.epoch)
        self._writer.flush()

    def _add(self, name: str, value: float | None, epoch: int) -> None:
        if value is not None:
            self._writer.add_scalar(name, value, epoch)

    def close(self) -> None:
        """Close the file."""
        self._writer.close()


AVERAGE_DECAY = 0.99


"""Of the moving average of the weights, once enough steps are done."""


@dataclass(eq=False)
class TrainingState:
    """With the configuration, all that a resumed training needs.

    ``averaged`` has the moving average of the weights, since it is steadier than the weights of any
    one step, or a copy of the last ones (``decay`` 0); it is what is validated and kept.
    """

    network: SegmentationNetwork
    averaged: SegmentationNetwork
    optimizer: torch.optim.Optimizer
    schedule: Schedule
    generator: torch.Generator
    decay: float = AVERAGE_DECAY
    step: int = 0  # optimiser steps
    epoch: int = 0  # finished epochs
    batch: int = 0  # finished batches of the present epoch
    loss_sum: float = 0.0  # of the present epoch
    elapsed_s: float = 0.0
    validation_s: float = 0.0  # of these
    best_score: float = float("-inf")
    best_epoch: int = 0
    scored: list[str] = field(default_factory=list)  # what `best_score` is of
    history: list[dict[str, Any]] = field(default_factory=list)

    _COUNTERS = (
        "step",
        "epoch",
        "batch",
        "loss_sum",
        "elapsed_s",
        "validation_s",
        "best_score",
        "best_epoch",
        "scored",
        "history",
    )

    def average(self) -> None:
        """Move the average a little towards the present weights."""
        self.step += 1
        decay = min(self.decay, self.step / (self.step + 9))
        with torch.no_grad():
            torch._foreach_lerp_(
                list(self.averaged.parameters()), list(self.network.parameters()), 1 - decay
            )
            for kept, present in zip(self.averaged.buffers(), self.network.buffers(), strict=True):
                kept.copy_(present)

    def model_content(self, config: Config) -> dict[str, Any]:
        """Return what prediction needs."""
        return {
            "config": config.to_dict(),
            "network": self.averaged.state_dict(),
            "history": self.history,
        }

    def full_content(self, config: Config, split: dict[str, list[str]]) -> dict[str, Any]:
        """Return what a resumed training needs; also enough to predict."""
        return {
            **self.model_content(config),
            "split": split,
            "training": {
                "network": self.network.state_dict(),
                "optimizer": self.optimizer.state_dict(),
                "schedule": self.schedule.state_dict(),
                "generator": self.generator.get_state(),
                **{name: getattr(self, name) for name in self._COUNTERS},
            },
        }

    def restore(self, content: dict[str, Any], path: Path) -> None:
        """Take up the state of a checkpoint; one without it raises `ModelFileError`."""
        if "training" not in content:
            raise ModelFileError(
                f"{path} holds a model but no state of a training; resume from last.pt, or start a "
                "new training from this model."
            )
        load_state(self.averaged, content["network"], path)
        saved = content["training"]
        load_state(self.network, saved["network"], path)
        # What torch is given here is of one shape only, and it raises nearly anything for others.
        with reading(path, "a training", "it is damaged. Start a new training from its model."):
            _check_optimizer(self.optimizer, saved["optimizer"])
            self.optimizer.load_state_dict(saved["optimizer"])
            _check_numbers("schedule", self.schedule.state_dict(), saved["schedule"])
            self.schedule.load_state_dict(saved["schedule"])
            self.generator.set_state(saved["generator"])
            for name in self._COUNTERS:
                known = getattr(self, name)
                value = saved.get(name, known)
                if isinstance(known, list) != isinstance(value, list):
                    raise ValueError(f"its {name} is no list")
                if not isinstance(known, list):
                    _check_numbers("training", {name: known}, {name: value})
                    if name != "best_score" and not 0 <= value < 10**12:
                        raise ValueError(f"its {name} is {value}")
                setattr(self, name, type(known)(value))

    def start_from(self, path: Path) -> None:
        """Take the weights of another model as the start."""
        content = read_checkpoint(path)
        load_state(self.network, content["network"], path)
        load_state(self.averaged, content["network"], path)

    def start_pretrained(self, path: Path) -> None:
        """Take published weights of a part of the network as the start."""
        self.network.load_pretrained(path)
        self.averaged.load_state_dict(self.network.state_dict())

    @contextmanager
    def drawn_dropout(self) -> Iterator[None]:
        """Let dropout draw from the generator, so that a resumed training drops the same."""
        if not self.network.config.dropout:
            yield
            return
        device = next(self.network.parameters()).device
        with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
            torch.manual_seed(int(torch.randint(2**31, (1,), generator=self.generator)))
            yield


def _check_numbers(what: str, known: Mapping[str, Any], saved: Any) -> None:
    """Refuse values that are not there, or not of the kind that they have in a new training."""
    for name, value in known.items():
        if not isinstance(saved, Mapping) or name not in saved:
            raise ValueError(f"its {what} has no {name}")
        number = isinstance(value, (int, float)) and not isinstance(value, bool)
        if number and (not isinstance(saved[name], (int, float)) or saved[name] != saved[name]):
            raise ValueError(f"{name} of its {what} is no number")


def _check_optimizer(optimizer: torch.optim.Optimizer, saved: Any) -> None:
    """Refuse a state that torch would take, and fail with at the next step."""
    groups = optimizer.state_dict()["param_groups"]
    for known, group in zip(groups, saved["param_groups"], strict=True):
        _check_numbers("optimizer", known, group)
    weights = [weight for group in optimizer.param_groups for weight in group["params"]]
    for number, state in saved["state"].items():
        for name, value in state.items():
            if not isinstance(value, (torch.Tensor, int, float, NoneType)):
                raise ValueError(f"{name} of its optimizer is no number")
            if isinstance(value, torch.Tensor) and value.shape not in ((), weights[number].shape):
                raise ValueError(f"{name} of its optimizer has shape {tuple(value.shape)}")


def new_state(config: Config, device: torch.device) -> TrainingState:
    """Make a network with seeded weights and all that goes with it."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.training.seed)
        network = build_network(config.network)
    averaged = build_network(config.network)
    averaged.load_state_dict(network.state_dict())
    network, averaged = move(network, device), move(averaged, device)
    optimizer = _optimizer(config.training, network)
    generator = torch.Generator().manual_seed(config.training.seed)
    schedule = Schedule(config.training, optimizer)
    decay = AVERAGE_DECAY if config.training.average_weights else 0.0
    return TrainingState(network.train(), averaged.eval(), optimizer, schedule, generator, decay)


def _optimizer(config: TrainingConfig, network: torch.nn.Module) -> torch.optim.Optimizer:
    weights, rate, decay = network.parameters(), config.learning_rate, config.weight_decay
    if config.optimizer == "sgd":
        return torch.optim.SGD(weights, lr=rate, momentum=config.momentum, weight_decay=decay)
    if config.optimizer == "adam":
        return torch.optim.Adam(weights, lr=rate, weight_decay=decay)
    return torch.optim.AdamW(weights, lr=rate, weight_decay=decay)


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
    board: TensorBoardLogger | None = None

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
