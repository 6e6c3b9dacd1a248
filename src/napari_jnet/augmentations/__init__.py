"""Augmentation: one composed warp a batch for image and labels, and changes of intensity."""

from __future__ import annotations

from napari_jnet.augmentations.intensity import INTENSITY, change_intensity
from napari_jnet.augmentations.spatial import FIELDS, LINEAR, draw_field, draw_matrix
from napari_jnet.augmentations.warp import sample_grid, sample_images, sample_labels

__all__ = [
    "AUGMENTATIONS",
    "change_intensity",
    "draw_field",
    "draw_matrix",
    "sample_grid",
    "sample_images",
    "sample_labels",
]

AUGMENTATIONS = {**LINEAR, **FIELDS, **INTENSITY}
"""Every augmentation by name; the three families differ in what they draw."""
