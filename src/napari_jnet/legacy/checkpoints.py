"""Checkpoints in the original's format, which its script can read."""

from __future__ import annotations

from collections import OrderedDict
from pathlib import Path

from napari_jnet.legacy.flags import Flags
from napari_jnet.model import ModelFileError, read_checkpoint, save_whole
from napari_jnet.networks.base import SegmentationNetwork

BEST_TRAINING = "model_best_train_train"


BEST_VALIDATION = "model_best_validation_eval"


LAST = "model_last"


FINAL = "model_final"


STOPPED = "Stopped after epoch"


"""How the file begins that says why a training stopped."""


def save_original(path: Path, network: SegmentationNetwork) -> None:
    """Write a J-Net as the original does.

    Notes
    -----
    The file holds ``{"batchnorm_momentum", "structure", "state_dict"}`` with the original's keys.  The
    counters of batches, which torch added later, are left out: every version of torch makes do
    without them, and those of 2018 refuse them.  For the same reason it is in torch's older format.
    """
    state = OrderedDict(
        (name, value.detach().cpu().contiguous())
        for name, value in network.state_dict().items()
        if not name.endswith("num_batches_tracked")
    )
    content = {
        "batchnorm_momentum": network.config.batchnorm_momentum,
        "structure": [list(part) for part in network.config.structure],
        "state_dict": state,
    }
    save_whole(path, content, legacy=True)


def refuse_overwriting(flags: Flags) -> None:
    """Refuse a training that would write over what it reads, or over a file of something else.

    Raises
    ------
    ValueError
        If ``--model_file`` is one of the files to be written, or ``--non_decreasing_output_file`` is
        there and holds something else than the reason of an earlier stop.
    """
    folder = Path(flags.output_dir)
    numbered = (f"model_{epoch}" for epoch in range(1, flags.num_epochs + 1))
    for name in (
        (LAST, FINAL, BEST_TRAINING, BEST_VALIDATION, *numbered) if flags.model_file else ()
    ):
        path = folder / name
        if path.exists() and path.samefile(flags.model_file):
            raise ValueError(
                f"--model_file {flags.model_file} would be overwritten: the training writes {path}. "
                "Choose another --output_dir."
            )
    note = Path(flags.non_decreasing_output_file)
    if note.name and note.exists() and not _tells_of_a_stop(note):
        raise ValueError(
            f"--non_decreasing_output_file {note} is there already and would be overwritten. Choose "
            "another name, or move it away."
        )


def _tells_of_a_stop(path: Path) -> bool:
    return path.is_file() and path.read_bytes().startswith(STOPPED.encode())


def choose_structure(flags: Flags) -> tuple[tuple[int, ...], ...]:
    """Return the structure of ``--model_file``, or of ``--structure`` without one.

    Raises
    ------
    ModelFileError
        If the file is no checkpoint in the original's format.
    ValueError
        If both are given and differ, or do not fit the resolution levels.
    """
    structure = flags.structure
    if flags.model_file:
        content = read_checkpoint(Path(flags.model_file))
        if "structure" not in content:
            raise ModelFileError(
                f"{flags.model_file} is no checkpoint in the format of the original J-Net. Choose "
                f"{BEST_TRAINING} or another one of its kind, or use napari-jnet predict."
            )
        structure = tuple(tuple(part) for part in content["structure"])
        if flags.structure and flags.structure != structure:
            raise ValueError(
                f"--structure is {_lists(flags.structure)}, the network of --model_file has "
                f"{_lists(structure)}. Leave --structure out."
            )
    if len(structure) != len(flags.resolution_levels):
        raise ValueError(
            f"--resolution_levels is {list(flags.resolution_levels)}, the structure "
            f"{_lists(structure)} has {len(structure)} segments; there is one segment for each level."
        )
    return structure


def _lists(structure: tuple[tuple[int, ...], ...]) -> list[list[int]]:
    return [list(part) for part in structure]
