"""Training budgets: how long to train and the sizes that suit the hardware."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from napari_jnet.config import unknown_key

_ADAPTABLE = ("unet", "jnet")  # presets that follow a paper stay as published


@dataclass(frozen=True)
class Hardware:
    """Where a training computes."""

    device: str = "cpu"  # cpu, cuda or mps
    cores: int = 1  # that the training may use
    memory_gb: float = 0.0  # of the GPU that is free, in GiB


@dataclass(frozen=True)
class Plan:
    """A time to train for, in words."""

    title: str
    minutes: float
    words: str


PLANS: dict[str, Plan] = {
    "quick": Plan(
        "a quick look (2 min)",
        2.0,
        "Rough masks: enough to see whether the annotation is understood.",
    ),
    "coffee": Plan(
        "a coffee (10 min)",
        10.0,
        "Good masks of most cells: then correct what is wrong, and fine-tune.",
    ),
    "lunch": Plan(
        "lunch (45 min)",
        45.0,
        "For the final masks, once the annotation is complete.",
    ),
    "night": Plan(
        "over night (8 h)",
        480.0,
        "For many annotated frames; with a few frames it is hardly better than lunch.",
    ),
}


"""By name, shortest first."""


def default_plan(hardware: Hardware) -> str:
    """Return the plan to propose: a GPU makes many times the steps in the same minutes."""
    return "quick" if hardware.device == "cuda" else "coffee"


def plan_words(plan: str, hardware: Hardware) -> str:
    """Say what a plan gives on this hardware."""
    if hardware.device == "cuda":
        return {
            "quick": "On this GPU enough for good masks of most cells.",
            "coffee": "On this GPU enough for the final masks of a few annotated frames.",
        }.get(plan, "On this GPU for many annotated frames; a few need less.")
    return PLANS[plan].words


def plan_changes(plan: str, hardware: Hardware, preset: str = "unet") -> dict[str, Any]:
    """Return what a plan changes of a preset on this hardware.

    Parameters
    ----------
    plan
        Name of one of `PLANS`.
    hardware
        Where it computes.
    preset
        Name of the preset; those that follow a paper only get the time.

    Returns
    -------
    dict
        ``{"section.field": value}`` for `Config.replace`.

    Raises
    ------
    ValueError
        If there is no such plan.
    """
    if plan not in PLANS:
        raise unknown_key(plan, list(PLANS), "The list of plans")
    minutes = PLANS[plan].minutes
    changes: dict[str, Any] = {"training.minutes": minutes}
    if preset not in _ADAPTABLE:
        return changes
    if hardware.device == "cuda":
        # a validation takes as long as a few batches: more of these between two
        changes["training.batches_per_epoch"] = 96
        if hardware.memory_gb >= 6:
            changes["training.batch_size"] = 16 if hardware.memory_gb >= 20 else 8
    channels = _channels(minutes, hardware)
    if preset == "unet" and channels is not None:
        changes["network.channels"] = channels
    return changes


def _channels(minutes: float, hardware: Hardware) -> int | None:
    """Return the width of a U-Net that learns enough in this time; None leaves the default."""
    if hardware.device == "cuda":
        if hardware.memory_gb < 6:
            return None
        return 64 if hardware.memory_gb >= 20 and minutes >= 45 else 32
    if hardware.device == "mps" or hardware.cores >= 8:
        return 32 if minutes >= 45 else None
    return 32 if minutes >= 480 else None
