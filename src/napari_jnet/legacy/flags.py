"""The images that ``--images_idx`` names, and the gold truth of each."""

from __future__ import annotations

import dataclasses
import json
import shlex
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
from pydantic import model_validator

from napari_jnet.config import (
    Config,
    Levels,
    Option,
    OriginalAugmentation,
    Structure,
    option,
    options,
    read_literal,
    unknown_key,
)
from napari_jnet.io.stack import AnnotatedFrame, Stack, annotated_frames
from napari_jnet.project.open import open_stack

PROGRAM = "napari-jnet jnet"


_REQUIRED = ("mode", "dataset_root", "images_idx", "output_dir", "resolution_levels")


class Flags(OriginalAugmentation):
    """All flags, with the defaults of the original; the last four are our own.

    Raises
    ------
    ValueError
        If one is out of range, missing, or contradicts another.
    """

    mode: Literal["train", "eval", "vis"] | None = option(
        None, "train, eval (scores and pictures) or vis."
    )
    dataset_root: str = option("", "Cell Tracking Challenge dataset: 01/t000.tif, 01_GT/SEG, ...")
    images_idx: tuple[tuple[str, tuple[str, ...]], ...] = option(
        (),
        'Frames of each sequence, as {"01":["002","005"],"02":[]}; an empty list takes every frame '
        "(vis only).",
    )
    output_dir: str = option("", "Folder for checkpoints and pictures; made if absent.")
    resolution_levels: Levels = option(
        (),
        "Consecutive levels, lowest first, as [-2,-1,0]; -k is pooled by 2**k.",
        example=[-2, -1, 0],
    )
    structure: Structure = option(
        (),
        "[layers, channels, kernel] of the lowest level, then [layers, added channels, kernel]; "
        "with --model_file it comes from there.",
        example=[[3, 16, 3], [2, 8, 3]],
    )
    dt_bound: float = option(9.0, "Bound of the distance, in pixels.", minimum=1, maximum=10000)
    batch_size: int = option(1, "Samples in a batch.", minimum=1, maximum=65536)
    batchnorm_momentum: float = option(
        0.1, "Momentum of batch normalisation.", minimum=0, maximum=1
    )
    learning_rate: float = option(1e-4, "Learning rate of Adam.", minimum=1e-8, maximum=1)
    num_epochs: int = option(5000, "Epochs.", minimum=1, maximum=10**9)
    save_model_frequency: int = option(
        200, "Epochs between two model_<epoch>.", minimum=1, maximum=10**9
    )
    validation_percentage: float = option(
        0.0, "Part of the images kept for validation, at random.", minimum=0, maximum=1
    )
    dataset_len_multiplier: int = option(
        1, "Samples of each image in an epoch.", minimum=1, maximum=10**6
    )
    load_dataset_to_ram: int = option(
        0, "Accepted; training images are always kept on the device.", minimum=0, maximum=1
    )
    num_workers: int = option(
        0,
        "Accepted; whole batches are always augmented on the device.",
        minimum=-1,
        maximum=10**6,
    )
    cuda: int = option(0, "Compute on the NVIDIA GPU.", minimum=0, maximum=1)
    model_file: str = option("", "Checkpoint to start from (train) or to use (eval, vis).")
    non_decreasing_output_file: str = option(
        "",
        "Stop after 10 validations without improvement, and write there that it was so.",
    )
    seed: int = option(
        0,
        "Seed of every random choice; -1 draws another each time.",
        minimum=-1,
        maximum=2**63 - 1,
    )
    png_scaling: Literal["fixed", "image"] = option(
        "fixed",
        "Pictures: fixed is 0..1 and 0..dt_bound as 0..255; image stretches each picture.",
    )
    partial_truth: Literal["unknown", "background"] = option(
        "unknown",
        "What has no label in a frame whose truth is partial: unknown counts nowhere.",
    )

    @model_validator(mode="after")
    def _can_run(self) -> Self:
        missing = [name for name in _REQUIRED if not getattr(self, name)]
        if self.mode == "train" and not (self.structure or self.model_file):
            missing.append("structure")
        if self.mode in ("eval", "vis") and not self.model_file:
            missing.append("model_file")
        if missing:
            raise ValueError(f"{', --'.join(missing)} must be given.")
        if self.mode != "vis" and not any(frames for _, frames in self.images_idx):
            raise ValueError(
                f"images_idx is {self._images()}, which names no frame; --mode {self.mode} needs "
                "annotated frames. An empty list takes every frame only in --mode vis."
            )
        if self.non_decreasing_output_file and not self.validation_percentage:
            raise ValueError(
                "non_decreasing_output_file stops by validation, but --validation_percentage is 0. "
                "Give a part such as 0.17, or leave it out."
            )
        return self

    def config(self, structure: Sequence[Sequence[int]], channels: int = 1) -> Config:
        """Return these flags as a configuration, for a network of this structure."""
        return Config().replace(
            {
                "network.name": "jnet",
                "network.in_channels": channels,
                "network.structure": structure,
                "network.resolution_levels": self.resolution_levels,
                "network.batchnorm_momentum": self.batchnorm_momentum,
                "targets.dt_bound": self.dt_bound,
                "augmentation.original": self.augmentation_json(),
                "training.epochs": self.num_epochs,
                "training.batch_size": self.batch_size,
                "training.loss": "bce+mse",
                "training.optimizer": "adam",
                "training.learning_rate": self.learning_rate,
                "training.weight_decay": 0.0,
                "training.schedule": "plateau",
                "training.average_weights": False,
                "training.seed": max(self.seed, 0),
                "training.device": "cuda" if self.cuda else "cpu",
                "training.precision": "float32",
            }
        )

    def command(self, **changes: Any) -> str:
        """Return the command line for another step with the same dataset and network."""
        kept = ("dataset_root", "images_idx", "output_dir", "resolution_levels", "dt_bound", "cuda")
        values = {name: getattr(self, name) for name in kept}
        values |= {"images_idx": self._images()} | changes
        words = [PROGRAM]
        for name, value in values.items():
            if name == "cuda" and not value:
                continue
            words += [f"--{name}", _text(value)]
        return " ".join(words)

    def every_frame(self, model_file: str) -> str:
        """Return the command line that draws every frame of the sequences."""
        images = json.dumps({name: [] for name, _ in self.images_idx}, separators=(",", ":"))
        return self.command(mode="vis", model_file=model_file, images_idx=images)

    def _images(self) -> str:
        """Return the images as the flag writes them."""
        return json.dumps(dict(self.images_idx), separators=(",", ":"))


def _text(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:g}"
    plain = value if isinstance(value, str) else json.dumps(value, separators=(",", ":"))
    return shlex.quote(plain)


def default_text(value: Any) -> str:
    """Write a default for a list of flags; nothing where there is none."""
    return "" if value is None else _text(value)


def parse_flags(words: Sequence[str]) -> Flags:
    """Read the words of a command line.

    Parameters
    ----------
    words
        Such as ``["--mode", "train", "--dt_bound", "3", "--cuda"]``; ``--name=value`` is the same.
        Flags of 0 or 1 may stand alone for 1.  Where one is given twice, the last counts.

    Raises
    ------
    ValueError
        If a flag is unknown, has no value, or a value that does not fit.
    """
    values = dict(_pairs(words))
    return Flags.from_dict(values, "--")


def _pairs(words: Sequence[str]) -> Iterator[tuple[str, Any]]:
    known = options(Flags)
    rest = list(words)
    while rest:
        word = rest.pop(0)
        if not word.startswith("--"):
            raise ValueError(f"{word!r} is no flag; every value follows its flag, as --mode train.")
        name, equals, text = word[2:].partition("=")
        if name not in known:
            raise unknown_key(f"--{name}", [f"--{flag}" for flag in known], PROGRAM)
        flag = known[name]
        switch = flag.kind is int and (flag.minimum, flag.maximum) == (0, 1)
        if not equals:
            if rest and not rest[0].startswith("--"):
                text = rest.pop(0)
            elif switch:
                text = "1"
            else:
                raise ValueError(f"--{name} needs a value, as --{name} {_example(flag)}.")
        yield name, _value(flag, text, switch)


def _value(flag: Option, text: str, switch: bool) -> Any:
    """Read a value as the type of its flag; lists and frames as JSON or as Python writes them."""
    if flag.kind is str or flag.choices:
        return text
    try:
        if flag.kind is int:
            return int({"true": "1", "false": "0"}.get(text.lower(), text) if switch else text)
        if flag.kind is float:
            return float(text)
    except ValueError:  # not a number, or not a whole one
        pass
    value = read_literal(text)
    if isinstance(value, str) or (isinstance(value, list) and flag.kind is float):
        raise ValueError(
            f"--{flag.name} is {text[:200]!r}, which cannot be read; write it as {_example(flag)}."
        )
    if flag.name == "images_idx":
        return _images(value, text, _example(flag))
    return () if value is None and flag.default == () else value


def _images(value: Any, text: str, example: str) -> tuple[tuple[str, tuple[str, ...]], ...]:
    """Read the frames of each sequence; a frame may be a number or, as in the names of files, text."""
    fits = isinstance(value, dict) and all(
        isinstance(sequence, str)
        and isinstance(frames, (list, tuple))
        and all(str(frame).isdecimal() for frame in frames)
        for sequence, frames in value.items()
    )
    if not fits:
        raise ValueError(
            f"--images_idx is {text[:200]!r}; it names frames of sequences, as {example}."
        )
    return tuple((sequence, tuple(map(str, frames))) for sequence, frames in value.items())


def _example(flag: Option) -> str:
    if flag.name == "images_idx":
        return """'{"01":["002","005"]}'"""
    return _text(flag.example)


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
