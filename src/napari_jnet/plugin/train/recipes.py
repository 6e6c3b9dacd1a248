"""What the window is about to do, as a command and as a Python script: "Copy as ..." of Train."""

from __future__ import annotations

import json
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from napari_jnet.config import Config, preset

__all__ = ["Recipe", "changed_settings", "train_command", "train_script"]

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
