"""Prediction that goes on behind a damaged frame."""

from __future__ import annotations

import dataclasses
from collections.abc import Generator, Sequence
from typing import Any

from napari_jnet.checkpoint import Model
from napari_jnet.data.stack import Stack
from napari_jnet.events import FrameLeftOut, FramePrediction, Notice
from napari_jnet.inference import predict
from napari_jnet.left_out import alike

__all__ = ["predict_readable"]

_MISFITS = 3


def predict_readable(
    model: Model, stack: Stack, *, frames: Sequence[int] | None = None, **options: Any
) -> Generator[FramePrediction | FrameLeftOut | Notice, None, None]:
    """Segment a stack as `predict`, but leave out frames that cannot be read or do not fit.

    Parameters
    ----------
    model, stack, frames, options
        As those of `predict`.

    Yields
    ------
    FramePrediction, Notice
        As `predict`.
    FrameLeftOut
        In the place of a frame that was left out.

    Raises
    ------
    ValueError, OSError
        If no frame can be predicted; where the first ones can be read but all fail for one reason,
        as with a model for other channels, at once.
    """
    numbers = tuple(stack.frame_numbers if frames is None else frames)
    done, first = 0, None
    misfits: list[str] = []
    for number in numbers:
        try:
            for event in predict(model, stack, frames=[number], **options):
                if isinstance(event, FramePrediction):
                    done += 1
                    event = dataclasses.replace(event, count=len(numbers))
                yield event
        except (ValueError, OSError) as error:
            first = first or error
            if len(numbers) == 1:
                raise
            if not done and _readable(stack, number):
                misfits.append(alike(str(error)))
                if len(misfits) == _MISFITS and len(set(misfits)) == 1:
                    raise
            position = stack.frame_numbers.index(number)
            yield FrameLeftOut(position, number, len(numbers), str(error))
    if first is not None and not done:
        raise ValueError(
            f"None of the {len(numbers)} frames of {stack.name} could be predicted. The first: {first}"
        ) from first


def _readable(stack: Stack, number: int) -> bool:
    try:
        stack.frame(number)
    except (ValueError, OSError):
        return False
    return True
