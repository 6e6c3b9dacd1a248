"""Training budgets: how long to train and the sizes that suit the hardware."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from napari_jnet.hardware import Hardware

DEFAULT_MINUTES = 15.0  # where neither minutes nor epochs are given
_ADAPTABLE = ("unet", "jnet")  # presets that follow a paper stay as published


@dataclass(frozen=True)
class Budget:
    """A training time, and what to expect of it."""

    title: str
    minutes: float
    on_cpu: str
    on_gpu: str = "On this GPU for many annotated frames; a few need less."


BUDGETS: dict[str, Budget] = {  # shortest first
    "quick": Budget(
        "Quick (2 min)",
        2.0,
        "Rough masks: enough to see whether the annotation is understood.",
        "On this GPU enough for good masks of most cells.",
    ),
    "standard": Budget(
        "Standard (10 min)",
        10.0,
        "Good masks of most cells: then correct what is wrong, and fine-tune.",
        "On this GPU enough for the final masks of a few annotated frames.",
    ),
    "long": Budget("Long (45 min)", 45.0, "For the final masks, once the annotation is complete."),
    "overnight": Budget(
        "Overnight (8 h)",
        480.0,
        "For many annotated frames; with a few frames it is hardly better than a long training.",
    ),
}


def default_budget(hardware: Hardware) -> str:
    """Return the budget to propose: a GPU makes many times the steps in the same minutes."""
    return "quick" if hardware.device == "cuda" else "standard"


def budget_of(minutes: float) -> str:
    """Return the longest budget that is no longer than this, else the shortest."""
    fitting = [name for name, budget in BUDGETS.items() if budget.minutes <= minutes]
    return fitting[-1] if fitting else next(iter(BUDGETS))


def describe_budget(name: str, hardware: Hardware) -> str:
    """Return what to expect of a budget on this hardware."""
    return BUDGETS[name].on_gpu if hardware.device == "cuda" else BUDGETS[name].on_cpu


def budget_settings(name: str, hardware: Hardware, preset: str = "unet") -> dict[str, Any]:
    """Return the settings of a budget on this hardware, as ``{"section.field": value}``.

    They change a preset; presets that follow a paper only get the time.
    """
    minutes = BUDGETS[name].minutes
    settings: dict[str, Any] = {"training.minutes": minutes}
    if preset not in _ADAPTABLE:
        return settings
    gpu, memory = hardware.device == "cuda", hardware.memory_gb
    if gpu:
        # a validation takes as long as a few batches
        settings["training.batches_per_epoch"] = 96
        settings["training.patch_size"] = 256  # small ones leave a GPU idle
        if memory >= 6:
            settings["training.batch_size"] = 16 if memory >= 20 else 8
    if preset == "unet":
        fast = hardware.device == "mps" or hardware.cores >= 8
        if gpu and memory >= 20 and minutes >= 45:
            settings["network.channels"] = 64
        elif memory >= 6 if gpu else minutes >= (45 if fast else 480):
            settings["network.channels"] = 32
    return settings
