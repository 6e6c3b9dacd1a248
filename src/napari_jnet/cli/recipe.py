"""What the window copies: commands and scripts that do the same without a window."""

from __future__ import annotations

import dataclasses
import json
import shlex
from dataclasses import dataclass
from operator import attrgetter
from pathlib import Path
from typing import Any

from napari_jnet.config import Config, InstanceConfig, preset
from napari_jnet.events import number_ranges

_BUDGET = ("training.minutes", "training.epochs")
_THRESHOLDS = ("segmentation_threshold", "seed_threshold", "min_size")  # of the command line


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
    """Return the fields that differ from a preset, as ``section.field``; without one all that were given.

    Those that end the training, and the threads, which are the window's, are left out.
    """
    theirs = (Config() if name is None else preset(name)).to_dict()
    given = config.given_settings() if name is None else {}
    return {
        f"{section}.{key}": value
        for section, values in config.to_dict().items()
        for key, value in values.items()
        if (f"{section}.{key}" in given or value != theirs[section][key])
        and f"{section}.{key}" not in (*_BUDGET, "training.threads")
    }


def train_command(recipe: Recipe) -> str:
    """Return the line for a shell."""
    words = ["napari-jnet", "train", str(recipe.project), "--output", str(recipe.run)]
    words += ["--resume"] if recipe.resume else []
    words += [] if recipe.start_from is None else ["--model", str(recipe.start_from)]
    config = recipe.config
    if config is not None:
        options = {
            "--preset": recipe.preset,
            "--minutes": config.training.minutes,
            "--epochs": config.training.epochs,
        }
        for option, value in options.items():
            if value is not None:
                words += [option, f"{value:g}" if isinstance(value, float) else str(value)]
        for name, value in changed_settings(config, recipe.preset).items():
            words += ["--set", f"{name}={json.dumps(value)}"]
    return shlex.join(words)


def train_script(recipe: Recipe) -> str:
    """Return a Python script."""
    names, arguments = ["Project", "train"], [_path(recipe.run)]
    lines = ["", f"project = Project.open({_path(recipe.project)})"]
    if (config := recipe.config) is not None:
        names.append("Config" if recipe.preset is None else "preset")
        start = "Config()" if recipe.preset is None else f"preset({recipe.preset!r})"
        settings = {name: attrgetter(name)(config) for name in _BUDGET}
        settings = {name: value for name, value in settings.items() if value is not None}
        settings |= changed_settings(config, recipe.preset)
        lines += [f"config = {start}.replace(", "    {"]
        lines += [f"        {name!r}: {value!r}," for name, value in settings.items()]
        lines += ["    }", ")"]
        arguments.append("config")
    if recipe.resume:
        arguments.append("resume=True")
    if recipe.start_from is not None:
        arguments.append(f"start_from={_path(recipe.start_from)}")
    lines += [f"for event in train(project.frames(), {', '.join(arguments)}):", "    print(event)"]
    return _script(names, lines)


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
        Of `open_stack` besides the path: sequence, axes and series, where they are given.
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
    region: tuple[slice, slice] | None = None
    instances: InstanceConfig | None = None
    facts: dict[str, Any] = dataclasses.field(default_factory=dict)


def predict_command(recipe: PredictRecipe) -> str:
    """Return the line for a shell; it predicts whole frames also where a region is requested."""
    words = ["napari-jnet", "predict", str(recipe.model), str(recipe.stack)]
    options = {"output": recipe.output, **recipe.choices}
    if recipe.numbers is not None:
        options["frames"] = ",".join(number_ranges(sorted(recipe.numbers)))
    for name in _THRESHOLDS if recipe.instances is not None else ():
        options[name] = f"{getattr(recipe.instances, name):g}"
    if levels := recipe.facts.get("resolution_levels"):
        options["resolution_levels"] = list(levels)
    if bound := recipe.facts.get("dt_bound"):
        options["dt_bound"] = f"{bound:g}"
    for name, value in options.items():
        words += [f"--{name.replace('_', '-')}", str(value)]
    return shlex.join(words)


def predict_script(recipe: PredictRecipe) -> str:
    """Return a Python script."""
    names = ["ResultWriter", "load_model", "open_stack", "predict"]
    facts = _keywords({name: value for name, value in recipe.facts.items() if value})
    lines = [
        "",
        f"model = load_model({_path(recipe.model)}{facts})",
        f"stack = open_stack({_path(recipe.stack)}{_keywords(recipe.choices)})",
    ]
    arguments, frames = ["model", "stack"], ""
    if recipe.numbers is not None:
        lines.append(f"frames = {list(recipe.numbers)!r}")
        arguments.append("frames=frames")
        frames = ", frames"
    if recipe.instances is not None:
        values = {
            name: round(value, 6) if isinstance(value, float) else value
            for name, value in recipe.instances.to_dict().items()
        }
        lines.insert(0, "from napari_jnet.config import InstanceConfig")
        lines.append(f"cells = InstanceConfig({_keywords(values)[2:]})")
        arguments.append("instances=cells")
    if recipe.region is not None:
        rows, columns = (slice(part.start, part.stop) for part in recipe.region)
        lines.append(f"region = {rows}, {columns}")
        arguments.append("region=region")
    lines += [
        f"with ResultWriter({_path(recipe.output)}, stack{frames}) as writer:",
        f"    for event in predict({', '.join(arguments)}):",
        '        if hasattr(event, "instances"):',
        "            writer.write(event)",
        "        else:",
        "            print(event.text)",
    ]
    return _script(names, lines)


def _script(names: list[str], lines: list[str]) -> str:
    return "\n".join([f"from napari_jnet import {', '.join(sorted(names))}", *lines, ""])


def _keywords(values: dict[str, Any]) -> str:
    return "".join(f", {name}={value!r}" for name, value in values.items())


def _path(path: Path) -> str:
    return repr(path.as_posix())
