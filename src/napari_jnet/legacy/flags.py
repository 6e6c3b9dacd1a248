"""The flags of the original J-Net's script."""

from __future__ import annotations

import json
import shlex
import textwrap
from collections.abc import Sequence
from typing import Any, Literal, Self

from pydantic import model_validator

from napari_jnet.config import (
    Config,
    Levels,
    Option,
    OriginalAugmentation,
    Structure,
    option,
    options,
    preset,
    read_literal,
    unknown_key,
)

PROGRAM = "napari-jnet jnet"
_REQUIRED = ("mode", "dataset_root", "images_idx", "output_dir", "resolution_levels")


class Flags(OriginalAugmentation):
    """All flags, with the defaults of the original; seed, png_scaling and partial_truth are our own."""

    mode: Literal["train", "eval", "vis"] | None = option(
        None, "train, eval (scores and pictures) or vis."
    )
    dataset_root: str = option("", "Cell Tracking Challenge dataset: 01/t000.tif, 01_GT/SEG, ...")
    images_idx: tuple[tuple[str, tuple[str, ...]], ...] = option(
        (),
        'Frames of each sequence, as {"01":["002","005"],"02":[]}; an empty list takes every frame '
        "(vis only).",
        example={"01": ["002", "005"]},
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
    dt_bound: float = option(9.0, "Truncation distance, in pixels.", (1, 10000))
    batch_size: int = option(1, "Samples in a batch.", (1, 65536))
    batchnorm_momentum: float = option(0.1, "Momentum of batch normalisation.", (0, 1))
    learning_rate: float = option(1e-4, "Learning rate of Adam.", (1e-8, 1))
    num_epochs: int = option(5000, "Epochs.", (1, 10**9))
    save_model_frequency: int = option(200, "Epochs between two model_<epoch>.", (1, 10**9))
    validation_percentage: float = option(
        0.0, "Fraction of the images kept for validation, at random.", (0, 1)
    )
    dataset_len_multiplier: int = option(1, "Samples of each image in an epoch.", (1, 10**6))
    load_dataset_to_ram: int = option(
        0, "Accepted; training images are always kept on the device.", (0, 1)
    )
    num_workers: int = option(
        0, "Accepted; whole batches are always augmented on the device.", (-1, 10**6)
    )
    cuda: int = option(0, "Compute on the NVIDIA GPU.", (0, 1))
    model_file: str = option("", "Checkpoint to start from (train) or to use (eval, vis).")
    non_decreasing_output_file: str = option(
        "", "Stop after 10 validations without improvement, and write a note to this file."
    )
    seed: int = option(
        0, "Seed of every random choice; -1 draws another each time.", (-1, 2**63 - 1)
    )
    png_scaling: Literal["fixed", "image"] = option(
        "fixed", "Pictures: fixed is 0..1 and 0..dt_bound as 0..255; image stretches each picture."
    )
    partial_truth: Literal["unknown", "background"] = option(
        "unknown",
        "Pixels without a label where ground truth is partial: unknown ones count in no loss or score.",
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
                f"images_idx is {_json(dict(self.images_idx))}, which names no frame; --mode {self.mode} "
                "needs annotated frames. An empty list takes every frame only in --mode vis."
            )
        if self.non_decreasing_output_file and not self.validation_percentage:
            raise ValueError(
                "non_decreasing_output_file stops by validation, but --validation_percentage is 0. "
                "Give a fraction such as 0.17, or leave it out."
            )
        return self

    def config(self, structure: Sequence[Sequence[int]]) -> Config:
        """Return these flags as a configuration, for a network of this structure."""
        return preset("original").replace(
            {
                "network.structure": structure,
                "network.resolution_levels": self.resolution_levels,
                "network.batchnorm_momentum": self.batchnorm_momentum,
                "targets.dt_bound": self.dt_bound,
                "augmentation.original": {
                    name: getattr(self, name) for name in OriginalAugmentation.model_fields
                },
                "training.epochs": self.num_epochs,
                "training.batch_size": self.batch_size,
                "training.learning_rate": self.learning_rate,
                "training.seed": max(self.seed, 0),
                "training.device": "cuda" if self.cuda else "cpu",
            }
        )

    def command(self, mode: str, model_file: str, *, every_frame: bool = False) -> str:
        """Return the command line of another mode with the same dataset and network."""
        images = {name: () if every_frame else frames for name, frames in self.images_idx}
        kept = ("dataset_root", "images_idx", "output_dir", "resolution_levels", "dt_bound")
        values = {name: getattr(self, name) for name in kept} | {"images_idx": images}
        values |= {"cuda": 1} if self.cuda else {}
        values |= {"mode": mode, "model_file": model_file}
        arguments = (f"--{name} {_text(value)}" for name, value in values.items())
        return " ".join([PROGRAM, *arguments])


def _json(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"))


def _text(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:g}"
    return shlex.quote(value if isinstance(value, str) else _json(value))


def help_text() -> str:
    """List the flags, with what they mean and their defaults."""
    lines = [f"{PROGRAM} --mode train|eval|vis FLAGS", ""]
    for name, flag in options(Flags).items():
        default = "" if flag.default in (None, "", ()) else f" (default: {flag.default})"
        lines += textwrap.wrap(f"--{name}  {flag.help}{default}", 90, subsequent_indent="    ")
    return "\n".join([*lines, "", "More: docs/original-jnet.md"])


def parse_flags(arguments: Sequence[str]) -> Flags:
    """Parse a command line such as ``["--mode", "train", "--dt_bound", "3", "--cuda"]``.

    ``--name=value`` is the same.  Flags of 0 or 1 may stand alone for 1.  If one is given twice, the last
    counts.  Raise `ValueError` for a flag that is unknown, has no value, or a value that does not fit.
    """
    known, values, words = options(Flags), {}, [*arguments]
    while words:
        word, equals, text = words.pop(0).partition("=")
        name = word.removeprefix("--")
        if name == word:
            raise ValueError(
                f"{word[:200]!r} is not a flag; every value follows its flag, as --mode train."
            )
        if name not in known:
            raise unknown_key(word, [f"--{flag}" for flag in known], PROGRAM)
        if not equals:
            alone = not words or words[0].startswith("--")
            if alone and not _is_switch(known[name]):
                raise ValueError(f"{word} has no value; {known[name].help}")
            text = "1" if alone else words.pop(0)
        values[name] = _read(known[name], text)
    return Flags.from_dict(values, "--")


def _is_switch(flag: Option) -> bool:
    return flag.kind is int and (flag.minimum, flag.maximum) == (0, 1)


def _read(flag: Option, text: str) -> Any:
    """Return the value of a flag: lists, frames and numbers as JSON or Python literals."""
    if flag.kind is str or flag.choices:
        return text
    value = read_literal(text)
    if flag.name == "images_idx":
        return _images(value, text)
    if isinstance(value, bool) and _is_switch(flag):
        return int(value)
    return () if value is None and isinstance(flag.default, tuple) else value


def _images(value: Any, text: str) -> tuple[tuple[str, tuple[str, ...]], ...]:
    """Return the frames of each sequence; a frame may be a number or, as in file names, text."""
    fits = isinstance(value, dict) and all(
        isinstance(sequence, str)
        and isinstance(frames, (list, tuple))
        and all(str(frame).isdecimal() for frame in frames)
        for sequence, frames in value.items()
    )
    if not fits:
        raise ValueError(
            f"--images_idx is {text[:200]!r}; it must name frames of sequences, as "
            """'{"01":["002","005"]}'."""
        )
    return tuple((sequence, tuple(map(str, frames))) for sequence, frames in value.items())
