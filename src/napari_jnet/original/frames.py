"""The images that ``--images_idx`` names, and the gold truth of each."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from napari_jnet.data import AnnotatedFrame, Stack, annotated_frames, open_stack
from napari_jnet.original.flags import Flags

__all__ = ["NamedImage", "named_images", "training_frames"]


@dataclasses.dataclass(frozen=True, eq=False)
class NamedImage:
    """One image of a stack, read when it is asked for.

    Attributes
    ----------
    label
        In the names of files: "01_t002".
    """

    stack: Stack
    number: int
    label: str
    partial_truth: str

    def annotated(self) -> AnnotatedFrame:
        """Read the image with its gold truth; without truth this raises `ValueError`."""
        frame = annotated_frames(self.stack, "gold", [self.number])[0]
        if self.partial_truth == "background":
            frame = dataclasses.replace(frame, labels=np.maximum(frame.labels, 0))
        return frame


def named_images(flags: Flags) -> Iterator[NamedImage]:
    """List the images, in the order of the flag; reads no pixels.

    Raises
    ------
    FileNotFoundError, ValueError
        If the dataset, a sequence or a frame does not exist, or frames are volumes.
    """
    root = Path(flags.dataset_root)
    for sequence, frames in flags.images_idx:
        if not frames and flags.mode != "vis":
            continue
        stack = open_stack(root, sequence=sequence)
        if stack.axes != "TYX":
            raise ValueError(
                f"{stack.name} has the axes {stack.axes}; this command takes sequences of grey 2-D "
                "frames. Use napari-jnet train."
            )
        numbers = [int(frame) for frame in frames] or list(stack.frame_numbers)
        absent = [number for number in numbers if number not in stack.frame_numbers]
        if absent:
            raise ValueError(
                f"{stack.name} has no frame {absent[0]:0{stack.digits}d}; its frames run from "
                f"{stack.frame_numbers[0]} to {stack.frame_numbers[-1]}."
            )
        for number in numbers:
            label = f"{sequence}_t{number:0{stack.digits}d}"
            yield NamedImage(stack, number, label, flags.partial_truth)


def training_frames(flags: Flags) -> list[AnnotatedFrame]:
    """Read all images with their truth."""
    return [image.annotated() for image in named_images(flags)]
