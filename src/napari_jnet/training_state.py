"""All that changes while training, and how it is kept."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import NoneType
from typing import Any

import torch

from napari_jnet.checkpoint import ModelFileError, load_state, move, read_checkpoint
from napari_jnet.config import Config, TrainingConfig
from napari_jnet.data.readable import reading
from napari_jnet.networks import SegmentationNetwork, build_network
from napari_jnet.schedules import Schedule

__all__ = ["TrainingState", "new_state"]

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
