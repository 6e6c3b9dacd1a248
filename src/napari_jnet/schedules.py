"""The learning rate over the training."""

from __future__ import annotations

import math
from typing import Any

import torch

from napari_jnet.config import TrainingConfig

__all__ = ["Schedule"]

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
