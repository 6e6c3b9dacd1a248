"""What was asked for against what a run or a start model has: what it cannot take is refused."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from napari_jnet.adaptation import is_sparse
from napari_jnet.config import Config
from napari_jnet.data.stack import AnnotatedFrame

__all__ = ["resumed_config", "started_config"]

_BUDGET = ("training.minutes", "training.epochs")
_SESSION = {
    "training.patience",
    "training.device",
    "training.threads",
    "training.precision",
    "training.tensorboard",
    "prediction.tile",
}
"""What may differ between two sessions of a training: when it stops, and what is about the computer."""
_DECIDED = {"network.in_channels", "network.distance_scale"}
"""What the frames and the loss decide, whatever is given."""
_AUTOMATIC = {
    "network.resolution_levels",
    "targets.dt_bound",
    "targets.legend",
    "instances.min_size",
}
"""What the frames decide where it has its default."""
_NAMED = 4  # settings named in a sentence


def resumed_config(
    config: Config, checkpoint: Mapping[str, Any], frames: Sequence[AnnotatedFrame], name: str
) -> Config:
    """Return the configuration of a run that goes on: its own, with another budget or computer.

    Parameters
    ----------
    config
        As asked for; what was given counts, defaults do not.
    checkpoint
        Of the run.
    frames
        To learn from.
    name
        Of the run, for errors.

    Raises
    ------
    ValueError
        If a setting was given that the run does not have and cannot take any more, or a budget that
        the run has used already.
    """
    saved = Config.from_saved(checkpoint["config"])
    given = config.given_settings()
    _refuse(
        {key: value for key, value in given.items() if key not in {*_BUDGET, *_SESSION}},
        saved,
        frames,
        f"The run {name} was trained with",
        "a run that goes on keeps what it began with. Leave {them} out, or start a new training "
        "from its model.",
    )
    changes = {key: value for key, value in given.items() if key in _SESSION}
    if any(given.get(key) is not None for key in _BUDGET):
        changes |= {key: given.get(key) for key in _BUDGET}
    resumed = saved.replace(changes)
    _refuse_used_budget(resumed, saved, checkpoint.get("training", {}), name)
    return resumed


def started_config(
    config: Config, saved: Config, frames: Sequence[AnnotatedFrame], name: str
) -> Config:
    """Return a configuration with the network and targets of a start model.

    Raises
    ------
    ValueError
        If another network or other targets were given.
    """
    given = {
        key: value
        for key, value in config.given_settings().items()
        if key.startswith(("network.", "targets."))
    }
    _refuse(
        given,
        saved,
        frames,
        f"{name} was trained with",
        "a training that starts from it keeps its network and targets. Leave {them} out, or start "
        "without a model.",
    )
    return config.changed(network=saved.network, targets=saved.targets)


def _value(config: Config, key: str) -> Any:
    section, _, name = key.partition(".")
    return getattr(getattr(config, section), name)


def _refuse(
    given: Mapping[str, Any],
    saved: Config,
    frames: Sequence[AnnotatedFrame],
    had: str,
    rule: str,
) -> None:
    """Refuse what was given and is not what was saved, unless the frames had decided."""
    default, others = Config(), []
    for key, value in given.items():
        kept = _value(saved, key)
        automatic = (
            key in _DECIDED
            or (key in _AUTOMATIC and value == _value(default, key))
            or (key == "targets.legend" and any(frame.legend for frame in frames))
            or (key == "network.classes" and value <= kept)
            or (key == "network.distance" and value and all(map(is_sparse, frames)))
        )
        if value != kept and not automatic:
            others.append(key)
    if not others:
        return
    more = f" and {len(others) - _NAMED} more" if len(others) > _NAMED else ""
    kept = ", ".join(_setting(key, _value(saved, key)) for key in others[:_NAMED])
    asked = ", ".join(_setting(key, given[key]) for key in others[:_NAMED])
    rule = rule.format(them="this" if len(others) == 1 else "these")
    raise ValueError(f"{had} {kept}{more}, not {asked}; {rule}")


def _setting(key: str, value: Any) -> str:
    """Write a setting as ``--set`` takes it."""
    return f"{key}={value if isinstance(value, str) else json.dumps(value)}"


def _refuse_used_budget(config: Config, saved: Config, state: Mapping[str, Any], name: str) -> None:
    """Refuse another budget that the run has used already: it would end where it begins."""
    training, before = config.training, saved.training
    if (training.minutes, training.epochs) == (before.minutes, before.epochs):
        return
    minutes = state.get("elapsed_s", 0.0) / 60
    epochs = state.get("epoch", 0) + state.get("batch", 0) / training.batches_per_epoch
    for key, asked, used in (
        ("minutes", training.minutes, minutes),
        ("epochs", training.epochs, epochs),
    ):
        if asked is not None and asked <= used:
            raise ValueError(
                f"training.{key} is {asked:g}, but the run {name} has trained for {used:.4g} {key} "
                f"already; {key} count from its beginning. Give more than that, or leave it out."
            )
