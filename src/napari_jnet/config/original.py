"""The augmentation flags of the original J-Net's script: read from its command line or as one JSON text."""

from __future__ import annotations

import json
from typing import Annotated, Self

from pydantic import Field, model_validator

from napari_jnet.config.options import Section, option, options, read_literal

__all__ = ["OriginalAugmentation"]

_Entries = tuple[tuple[Annotated[float, Field(le=1e6)], ...], ...]

_ENTRIES = {
    "aug_crop_params": "[height, width, weight]",
    "aug_intensity_params": "[m, s, weight]",
    "aug_elastic_params": "[alpha, sigma, weight]",
}


class OriginalAugmentation(Section):
    """How the original J-Net changes a training image, in its order and by its names.

    Each list has one entry for each way to do it; which one is done is drawn by the weights, the last
    number of each entry.  An entry that begins with -1 does nothing; an empty list is off.
    """

    aug_crop_params: _Entries = option(
        (),
        "Random crops, a list of [height, width, weight]; one is drawn for each batch.",
        example=[[256, 256, 1]],
    )
    aug_rotation: int = option(
        0,
        "Roll by a random number of pixels, then rotate by any angle, reflected at the border.",
        minimum=0,
        maximum=1,
    )
    aug_rolling: int = option(
        1, "Whether aug_rotation rolls; 0 as the original.", minimum=0, maximum=1
    )
    aug_intensity_params: _Entries = option(
        (),
        "Foreground intensity i becomes i + m*i + s*(its mean): a list of [largest m, largest s, weight].",
        example=[[0.1, 0.1, 1]],
    )
    aug_elastic_params: _Entries = option(
        (),
        "Elastic deformation, a list of [alpha, sigma, weight]: noise from -1 to 1, smoothed by a "
        "Gaussian of sigma pixels, times alpha pixels.",
        example=[[50, 5, 5], [-1, -1, 1]],
    )
    aug_rotation_flip: int = option(0, "Flips and quarter turns.", minimum=0, maximum=1)
    aug_symmetries: int = option(
        8,
        "How many of them: 8, or 6 as the original, which never flips what it has turned by 90°.",
        minimum=6,
        maximum=8,
    )

    @model_validator(mode="after")
    def _can_be_drawn(self) -> Self:
        if self.aug_symmetries not in (6, 8):
            raise ValueError(
                f"aug_symmetries is {self.aug_symmetries}; it is 8, or 6 as the original."
            )
        for name, form in _ENTRIES.items():
            for entry in getattr(self, name):
                _check_entry(name, form, entry)
            if getattr(self, name) and not any(entry[-1] > 0 for entry in getattr(self, name)):
                raise ValueError(f"{name} has no weight above 0; at least one entry needs one.")
        return self

    @classmethod
    def from_json(cls, text: str, where: str | None = None) -> Self:
        """Read the flags of one JSON object, such as ``{"aug_rotation": 1}``.

        Parameters
        ----------
        text
            JSON, or a dictionary as Python writes it.
        where
            What to write before the name of a flag in an error.

        Raises
        ------
        ValueError
            If the text is no such object, or a flag is unknown or out of range.
        """
        values = read_literal(text)
        if not isinstance(values, dict):
            raise ValueError(
                f"original is {text[:200]!r}, which is no JSON object; "
                'write flags such as {"aug_rotation": 1}.'
            )
        return cls.from_dict(values, where)

    def augmentation_json(self) -> str:
        """Return the augmentation flags as one JSON text."""
        values = self.to_dict()
        return json.dumps({name: values[name] for name in options(OriginalAugmentation)})


def _check_entry(name: str, form: str, entry: tuple[float, ...]) -> None:
    if len(entry) != 3:
        raise ValueError(
            f"{name} has the entry {list(entry)}; each entry is {form}, three numbers."
        )
    first, second, weight = entry
    if weight < 0 or (first != -1 and min(first, second) < 0):
        raise ValueError(
            f"{name} has the entry {list(entry)}; numbers are 0 or more, "
            "or the first two are -1 for no change."
        )
    if (
        name == "aug_crop_params"
        and first != -1
        and (first < 1 or second < 1 or first % 1 or second % 1)
    ):
        raise ValueError(f"{name} has the entry {list(entry)}; height and width are whole pixels.")
    if name == "aug_elastic_params" and first > 0 and second == 0:
        raise ValueError(f"{name} has the entry {list(entry)}; sigma must be above 0.")
