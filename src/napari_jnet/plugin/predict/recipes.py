"""What Predict is about to do, as a command and as a Python script: "Copy as …"."""

from __future__ import annotations

import dataclasses
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from napari_jnet.config import InstanceConfig

__all__ = ["PredictRecipe", "predict_command", "predict_script"]

Part = tuple[slice, slice]
_OPTIONS = ("segmentation_threshold", "seed_threshold", "min_size")  # of the command line


@dataclass(frozen=True)
class PredictRecipe:
    """A prediction from files to files.

    Attributes
    ----------
    model
        Run folder or model file.
    stack
        Stack on disk, or a project.
    output
        Folder of the results.
    choices
        What `open_stack` is told besides the path: sequence, axes and series, where they are given.
    numbers
        Frame numbers, or None for all.
    region
        Rows and columns, or None for whole frames.
    instances
        How cells are separated; None as the model was trained.
    facts
        What a file of the original J-Net does not hold: ``resolution_levels``, ``dt_bound``.
    """

    model: Path
    stack: Path
    output: Path
    choices: dict[str, Any] = dataclasses.field(default_factory=dict)
    numbers: tuple[int, ...] | None = None
    region: Part | None = None
    instances: InstanceConfig | None = None
    facts: dict[str, Any] = dataclasses.field(default_factory=dict)


def predict_command(recipe: PredictRecipe) -> str:
    """Return the line for a shell; it predicts whole frames also where a region is asked for."""
    words = ["napari-jnet", "predict", str(recipe.model), str(recipe.stack)]
    words += ["--output", str(recipe.output)]
    for name, value in recipe.choices.items():
        words += [f"--{name}", str(value)]
    if recipe.numbers is not None:
        words += ["--frames", _spans(recipe.numbers)]
    for name in _OPTIONS if recipe.instances is not None else ():
        words += [f"--{name.replace('_', '-')}", f"{getattr(recipe.instances, name):g}"]
    levels, bound = recipe.facts.get("resolution_levels"), recipe.facts.get("dt_bound")
    if levels:
        words += ["--resolution-levels", str(list(levels))]
    if bound:
        words += ["--dt-bound", f"{bound:g}"]
    return shlex.join(words)


def predict_script(recipe: PredictRecipe) -> str:
    """Return a Python script."""
    names = ["ResultWriter", "load_model", "open_stack", "predict"]
    given = {name: value for name, value in recipe.facts.items() if value}
    load = ", ".join([_path(recipe.model), *(f"{k}={v!r}" for k, v in given.items())])
    chosen = "".join(f", {name}={value!r}" for name, value in recipe.choices.items())
    lines = [
        "",
        f"model = load_model({load})",
        f"stack = open_stack({_path(recipe.stack)}{chosen})",
    ]
    arguments = ["model", "stack"]
    if recipe.numbers is not None:
        lines.append(f"frames = {list(recipe.numbers)!r}")
        arguments.append("frames=frames")
    if recipe.instances is not None:
        lines.insert(0, "from napari_jnet.config import InstanceConfig")
        values = ", ".join(f"{k}={_plain(v)!r}" for k, v in recipe.instances.to_dict().items())
        lines.append(f"cells = InstanceConfig({values})")
        arguments.append("instances=cells")
    if recipe.region is not None:
        rows, columns = recipe.region
        lines.append(
            f"region = {slice(rows.start, rows.stop)}, {slice(columns.start, columns.stop)}"
        )
        arguments.append("region=region")
    frames = ", frames" if recipe.numbers is not None else ""
    lines += [
        f"with ResultWriter({_path(recipe.output)}, stack{frames}) as writer:",
        f"    for event in predict({', '.join(arguments)}):",
        '        if hasattr(event, "instances"):',
        "            writer.write(event)",
        "        else:",
        "            print(event.text)",
    ]
    return "\n".join([f"from napari_jnet import {', '.join(names)}", *lines, ""])


def _plain(value: Any) -> Any:
    return round(value, 6) if isinstance(value, float) else value


def _path(path: Path) -> str:
    return repr(path.as_posix())


def _spans(numbers: Sequence[int]) -> str:
    """Write 0, 1, 2, 5 as "0-2,5"."""
    spans: list[list[int]] = []
    for number in sorted(numbers):
        if spans and number == spans[-1][1] + 1:
            spans[-1][1] = number
        else:
            spans.append([number, number])
    return ",".join(str(a) if a == b else f"{a}-{b}" for a, b in spans)
