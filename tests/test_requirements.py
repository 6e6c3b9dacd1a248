"""What the package imports is what its set-up asks for: napari's plugin dialog installs no extras."""

from __future__ import annotations

import ast
import configparser
import functools
import re
import sys
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[1]
PACKAGE = REPOSITORY / "src" / "napari_jnet"
# napari (app-model and PyYAML come with it) and a Qt binding are the user's choice; TensorBoard,
# OpenVINO and dask.distributed are extras
CHOSEN = {"app-model", "distributed", "napari", "openvino", "pyqt6", "pyyaml", "tensorboard"}
# not imported by name: tifffile takes its codecs from imagecodecs
UNSEEN = {"imagecodecs"}


def names(requirements: str) -> set[str]:
    found = (re.match(r"[A-Za-z0-9._-]+", line.strip()) for line in requirements.splitlines())
    return {match[0].lower() for match in found if match}


@functools.cache
def imported() -> set[str]:
    """Return the lower-case distributions of all imports, inside functions too."""
    top: set[str] = set()
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                top.update(alias.name.partition(".")[0] for alias in node.names)
            elif isinstance(node, ast.ImportFrom) and not node.level and node.module:
                top.add(node.module.partition(".")[0])
    known = packages_distributions()
    top -= {*sys.stdlib_module_names, "napari_jnet"}
    return {known.get(name, [name])[0].lower() for name in top}


@pytest.fixture(scope="module")
def plain() -> set[str]:
    settings = configparser.ConfigParser()
    settings.read(REPOSITORY / "setup.cfg", encoding="utf-8")
    return names(settings["options"]["install_requires"])


def test_every_import_is_a_plain_requirement(plain: set[str]) -> None:
    assert "torch" in imported(), "test invalid"
    assert not imported() - plain - CHOSEN


def test_every_requirement_is_used(plain: set[str]) -> None:
    assert not plain - imported() - UNSEEN
