"""Blocks: the pieces of a stack that are predicted by themselves, in one process or in many."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass

from napari_jnet.config import InstanceConfig, PredictionConfig
from napari_jnet.events import FramePrediction, FrameSkipped, Message
from napari_jnet.inference.predict import predict
from napari_jnet.inference.tiling import Region
from napari_jnet.io.stack import Stack
from napari_jnet.model import Model


@dataclass(frozen=True)
class Block:
    """A frame by its number, or a region of it in pixels; None is the whole frame."""

    frame: int
    region: Region | None = None

    @property
    def name(self) -> str:
        """A name for its file: "00012", "00012-y0-512-x512-1024"."""
        sides = zip("yx", self.region or (), strict=False)
        return "-".join(
            [f"{self.frame:05d}", *(f"{axis}{side.start}-{side.stop}" for axis, side in sides)]
        )


def split_blocks(stack: Stack, frames: Sequence[int] | None = None) -> list[Block]:
    """Return the blocks of these frames of a stack, or of all, in an order that is the same everywhere."""
    return [Block(number) for number in (stack.frame_numbers if frames is None else frames)]


def predict_blocks(
    model: Model,
    stack: Stack,
    blocks: Sequence[Block],
    *,
    instances: InstanceConfig,
    prediction: PredictionConfig,
) -> Generator[FramePrediction | FrameSkipped | Message, None, None]:
    """Predict blocks as `predict` does; one that cannot be predicted is skipped, also if none can."""
    yield from predict(
        model,
        stack,
        frames=[block.frame for block in blocks],
        instances=instances,
        prediction=prediction,
        on_error="report",
    )
