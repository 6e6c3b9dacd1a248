"""The history of a training for TensorBoard, where that package is installed."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

from napari_jnet.events import EpochEnd

__all__ = ["Board"]


class Board:
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
