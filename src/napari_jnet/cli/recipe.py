"""Commands and scripts that do the same without a window."""

from __future__ import annotations

import dataclasses
import json
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from napari_jnet.config import Config, InstanceConfig, preset

_LEFT_OUT = ("training.threads", "training.minutes", "training.epochs")  # the window's; said apart


@dataclass(frozen=True)
class Recipe:
    """A training through a project.

    Attributes
    ----------
    project
        Its folder; stack, labels and roles are in it.
    run
        Folder of the run.
    preset
        Name that `config` began as; None where network and targets are those of a run or model.
    config
        None where a stopped run goes on as it was.
    start_from
        Model to fine-tune.
    """

    project: Path
    run: Path
    preset: str | None = "unet"
    config: Config | None = None
    start_from: Path | None = None
    resume: bool = False


def changed_settings(config: Config, name: str | None) -> dict[str, Any]:
    """Return the fields that differ from a preset, as ``section.field``; without one all that were given."""
    mine, theirs = config.to_dict(), (Config() if name is None else preset(name)).to_dict()
    given = config.given_settings() if name is None else {}
    return {
        f"{section}.{key}": value
        for section, values in mine.items()
        for key, value in values.items()
        if (value != theirs[section][key] or f"{section}.{key}" in given)
        and f"{section}.{key}" not in _LEFT_OUT
    }


def train_command(recipe: Recipe) -> str:
    """Return the line for a shell."""
    words = ["napari-jnet", "train", str(recipe.project), "--output", str(recipe.run)]
    if recipe.resume:
        words.append("--resume")
    if recipe.start_from is not None:
        words += ["--model", str(recipe.start_from)]
    config = recipe.config
    if config is not None:
        words += [] if recipe.preset is None else ["--preset", recipe.preset]
        if config.training.minutes is not None:
            words += ["--minutes", f"{config.training.minutes:g}"]
        if config.training.epochs is not None:
            words += ["--epochs", str(config.training.epochs)]
        for name, value in changed_settings(config, recipe.preset).items():
            words += ["--set", f"{name}={json.dumps(value)}"]
    return shlex.join(words)


def train_script(recipe: Recipe) -> str:
    """Return a Python script."""
    maker = "Config, Project" if recipe.preset is None else "Project, preset"
    names = "Project, train" if recipe.config is None else f"{maker}, train"
    project = f"project = Project.open({recipe.project.as_posix()!r})"
    lines = [f"from napari_jnet import {names}", "", project]
    arguments = [repr(recipe.run.as_posix())]
    if recipe.config is not None:
        lines.append(f"config = {_config(recipe.config, recipe.preset)}")
        arguments.append("config")
    if recipe.resume:
        arguments.append("resume=True")
    if recipe.start_from is not None:
        arguments.append(f"start_from={recipe.start_from.as_posix()!r}")
    return "\n".join(
        [
            *lines,
            f"for event in train(project.frames(), {', '.join(arguments)}):",
            "    print(event)",
            "",
        ]
    )


def _config(config: Config, name: str | None) -> str:
    budget = {
        "training.minutes": config.training.minutes,
        "training.epochs": config.training.epochs,
    }
    changes = {key: value for key, value in budget.items() if value is not None}
    changes |= changed_settings(config, name)
    inner = "".join(f"        {key!r}: {value!r},\n" for key, value in changes.items())
    start = "Config()" if name is None else f"preset({name!r})"
    return f"{start}.replace(\n    {{\n{inner}    }}\n)"


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
