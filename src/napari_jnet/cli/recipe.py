"""What the window copies: commands that do the same without a window."""

from __future__ import annotations

import json
import shlex
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from napari_jnet.config import Config, InstanceConfig, preset
from napari_jnet.events import number_ranges
from napari_jnet.io.run_folder import packaged_name

_NOT_COPIED = ("training.minutes", "training.epochs", "training.threads")  # or by their options
_THRESHOLDS = (
    "segmentation_threshold",
    "seed_threshold",
    "min_size",
    "min_confidence",
    "fill_holes",
)  # of the command line


def changed_settings(config: Config, name: str, chosen: Collection[str] = ()) -> dict[str, Any]:
    """Return the fields that differ from a preset, and those that were chosen, as ``section.field``.

    Those that end the training, and the threads, which are the window's, are left out.
    """
    theirs = preset(name).to_dict()
    return {
        f"{section}.{key}": value
        for section, values in config.to_dict().items()
        for key, value in values.items()
        if (value != theirs[section][key] or f"{section}.{key}" in chosen)
        and f"{section}.{key}" not in _NOT_COPIED
    }


def train_command(
    project: Path, run: Path, config: Config, name: str, chosen: Collection[str] = ()
) -> str:
    """Return the line that trains on a project, which has stack, labels and roles, from a named preset.

    The fields that were ``chosen`` stand in it also where they are those of the preset: sizes that do not
    are fitted to the hardware.
    """
    options = {
        "output": run,
        "preset": name,
        "minutes": config.training.minutes,
        "epochs": config.training.epochs,
    }
    words = ["train", str(project), *_options(options)]
    for field, value in changed_settings(config, name, chosen).items():
        words += ["--set", f"{field}={json.dumps(value)}"]
    return shlex.join(["napari-jnet", *words])


def predict_command(
    model: Path,
    stack: Path,
    output: Path,
    *,
    choices: Mapping[str, Any],
    numbers: Sequence[int] | None = None,
    instances: InstanceConfig | None = None,
    diameter: float | None = None,
    options: Mapping[str, Any],
) -> str:
    """Return the line that predicts a stack on disk or a project.

    Parameters
    ----------
    choices
        Of `open_stack` besides the path: sequence, axes and series, where they are given.
    numbers
        Frame numbers, or None for all.
    instances
        How cells are separated, by what is given in it; the rest, and None, as the model was trained.
    diameter
        Of the cells, in pixels; None as the model has it.
    options
        What a file of the original J-Net does not hold: ``resolution_levels``, ``dt_bound``.
    """
    given = {"output": output, **choices, "diameter": diameter}
    if numbers is not None:
        given["frames"] = ",".join(number_ranges(sorted(numbers)))
    if instances is not None:
        chosen = instances.given()
        given |= {name: chosen[name] for name in _THRESHOLDS if name in chosen}
    if levels := options.get("resolution_levels"):
        given["resolution_levels"] = list(levels)
    given["dt_bound"] = options.get("dt_bound")
    name = packaged_name(model) or str(model)
    return shlex.join(["napari-jnet", "predict", name, str(stack), *_options(given)])


def _options(values: Mapping[str, Any]) -> list[str]:
    words = []
    for name, value in values.items():
        if isinstance(value, bool):
            words.append(f"--{'' if value else 'no-'}{name.replace('_', '-')}")
        elif value is not None:
            text = f"{value:g}" if isinstance(value, float) else str(value)
            words += [f"--{name.replace('_', '-')}", text]
    return words
