"""A start model that cannot learn from these frames is refused with both numbers and a way out."""

from __future__ import annotations

import re

import pytest

from napari_jnet.config import NetworkConfig
from napari_jnet.io.stack import mismatch
from napari_jnet.labels import LabelKind

CELLS, CLASSES = LabelKind.INSTANCES, LabelKind.CLASSES


@pytest.mark.parametrize(
    ("network", "labels", "words"),
    [
        ((1, 1), (CELLS, 40, 1), ""),
        ((1, 2), (CELLS, 40, 1), ""),
        ((1, 1), (CLASSES, 1, 1), ""),
        ((1, 3), (CLASSES, 1, 1), ""),  # one class is not painted yet
        ((3, 3), (CLASSES, 2, 3), ""),
        ((1, 1), (CLASSES, 2, 1), "have 3 classes, run 001 was trained on 1."),
        ((1, 3), (CLASSES, 3, 1), "have 4 classes, run 001 was trained on 3."),
        ((1, 3), (CELLS, 40, 1), "have 2 classes .cell or not., run 001 was trained on 3."),
        ((1, 1), (CELLS, 40, 3), "have 3 channels, run 001 was trained on 1."),
        ((3, 1), (CELLS, 40, 1), "have 1 channels, run 001 was trained on 3."),
    ],
)
def test_a_misfit_is_said_in_words(network, labels, words) -> None:
    channels, classes = network
    kind, largest, of_image = labels
    said = mismatch(
        NetworkConfig(in_channels=channels, classes=classes),
        "run 001",
        kind=kind,
        largest=largest,
        channels=of_image,
    )
    if not words:
        assert said == ""
        return
    assert re.search(words, said)
    assert said.endswith("or train from scratch.")
