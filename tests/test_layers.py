"""The layer rule of the design: imports point left only, and the core knows no window."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[1] / "src" / "napari_jnet"
NAME = "napari_jnet"

LAYERS = (
    {"config", "events", "memory", "shared_libraries"},
    {"data", "metrics"},
    {
        "adaptation",
        "augmentations",
        "batches",
        "borders",
        "checkpoint",
        "cores",
        "corrections",
        "device",
        "instances",
        "left_out",
        "losses",
        "networks",
        "normalization",
        "pyramid",
        "run_folder",
        "schedules",
        "targets",
        "uncertainty",
        "weights",
        "whole_frames",
    },
    {
        "evaluation",
        "export",
        "inference",
        "measurements",
        "original",
        "rounds",
        "training",
        "validation",
    },
    {"__init__", "__main__", "cli", "plugin"},
)
GUI = {
    "PyQt5", "PyQt6", "PySide2", "PySide6", "app_model", "magicgui", "napari", "npe2",
    "pyqtgraph", "qtpy", "superqt", "vispy",
}  # fmt: skip
NO_TORCH = {"config", "data", "events", "metrics"}
ONLY_PLUGIN = GUI | {"dask"}


def imported(tree: ast.AST, package: tuple[str, ...]) -> Iterator[tuple[int, str]]:
    """Yield (line, dotted module) of every import, wherever in the file it stands.

    ``from napari_jnet import x`` is given as ``napari_jnet.x``: x may be a module.
    """
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = [*package[: len(package) - node.level + 1]] if node.level else []
            base += (node.module or "").split(".") if node.module else []
            if base == [NAME]:
                yield from ((node.lineno, f"{NAME}.{alias.name}") for alias in node.names)
            else:
                yield node.lineno, ".".join(base)


def layer(top: str) -> int | None:
    """Return the number of a module's layer; a part of a module, such as training_x, has its layer."""
    for name in (top, top.split("_")[0]):
        for number, names in enumerate(LAYERS):
            if name in names:
                return number
    return None


def faults(path: Path, root: Path) -> list[str]:
    """Say in words what a module imports or calls against the rule."""
    parts = path.relative_to(root).with_suffix("").parts
    top = parts[0]
    own = layer(top)
    if own is None:
        return [f"{'.'.join(parts)} has no place in LAYERS; say in tests/test_layers.py where"]
    tree = ast.parse(path.read_text(encoding="utf-8"))
    found = []
    for line, module in imported(tree, (NAME, *parts[:-1])):
        where = f"{path.relative_to(root)}:{line}"
        first, _, rest = module.partition(".")
        if top != "plugin" and first in ONLY_PLUGIN:
            found.append(f"{where} imports {first}, which only plugin/ may")
        if top in NO_TORCH and first == "torch":
            found.append(f"{where} imports torch; {top} never does")
        if first == NAME and rest != "__version__":
            target = rest.split(".")[0] or "__init__"
            theirs = layer(target)
            if theirs is None:
                found.append(f"{where} imports {module}, which has no place in LAYERS")
            elif theirs > own:
                found.append(f"{where} imports {target}, which stands to the right of {top}")
    found += calls(tree, top, str(path.relative_to(root)))
    return found


def calls(tree: ast.AST, top: str, name: str) -> list[str]:
    found = []
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        call = ast.unparse(node.func)
        if call == "print" and top not in {"cli", "__main__", "plugin"}:
            found.append(f"{name}:{node.lineno} prints; yield an event or raise instead")
        if call in {"logging.basicConfig", "basicConfig"}:
            found.append(f"{name}:{node.lineno} configures logging, which is the program's")
    return found


def test_every_import_points_left() -> None:
    found = [fault for path in sorted(PACKAGE.rglob("*.py")) for fault in faults(path, PACKAGE)]
    assert not found, "\n".join(found)


def test_no_two_parts_import_each_other() -> None:
    graph: dict[str, set[str]] = {}
    for path in PACKAGE.rglob("*.py"):
        parts = path.relative_to(PACKAGE).with_suffix("").parts
        if parts[0] == "__init__":
            continue  # the public names, loaded when they are asked for
        tree = ast.parse(path.read_text(encoding="utf-8"))
        for _, module in imported(tree, (NAME, *parts[:-1])):
            if module.startswith(f"{NAME}.") and module.split(".")[1] != parts[0]:
                graph.setdefault(parts[0], set()).add(module.split(".")[1])
    both = sorted({tuple(sorted((a, b))) for a in graph for b in graph[a] if a in graph.get(b, ())})
    assert not both


@pytest.mark.parametrize(
    ("where", "line", "words"),
    [
        ("config.py", "from napari_jnet.data import stack", "stands to the right"),
        ("data/bad.py", "import torch", "imports torch"),
        ("data/bad.py", "def f():\n    from torch import nn", "imports torch"),
        ("data/bad.py", "from ..training import train", "stands to the right"),
        ("metrics/bad.py", "import dask.array as da", "only plugin/"),
        ("losses.py", "import napari.layers", "only plugin/"),
        ("training.py", "from napari_jnet import cli", "stands to the right"),
        ("training.py", "print('epoch')", "prints"),
        ("training.py", "import logging\nlogging.basicConfig()", "configures logging"),
        ("surprise.py", "x = 1", "no place"),
    ],
)
def test_the_rule_notices(tmp_path: Path, where: str, line: str, words: str) -> None:
    path = tmp_path / where
    path.parent.mkdir(exist_ok=True)
    path.write_text(line + "\n", encoding="utf-8")
    assert any(words in fault for fault in faults(path, tmp_path))


@pytest.mark.parametrize(
    ("where", "line"),
    [
        ("training.py", "import torch\nfrom napari_jnet.data import stack"),
        ("plugin/widget.py", "import napari\nfrom napari_jnet.training import train"),
        ("data/ctc.py", "from .stack import Stack\nfrom napari_jnet.config import Config"),
        ("export/ctc.py", "from napari_jnet import __version__"),
        ("cli.py", "print('done')"),
    ],
)
def test_the_rule_lets_pass(tmp_path: Path, where: str, line: str) -> None:
    path = tmp_path / where
    path.parent.mkdir(exist_ok=True)
    path.write_text(line + "\n", encoding="utf-8")
    assert faults(path, tmp_path) == []


def run(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=120
    )


def test_the_core_imports_without_any_window_package() -> None:
    modules = sorted(
        ".".join((NAME, *path.relative_to(PACKAGE).with_suffix("").parts)).removesuffix(".__init__")
        for path in PACKAGE.rglob("*.py")
        if "plugin" not in path.parts and path.name != "__main__.py"
    )
    done = run(
        "import importlib, sys\n"
        f"sys.modules.update(dict.fromkeys({sorted(ONLY_PLUGIN)!r}))\n"
        f"for name in {modules!r}: importlib.import_module(name)\n"
    )
    assert done.returncode == 0, done.stderr


def test_opening_a_file_imports_neither_torch_nor_napari(tmp_path: Path) -> None:
    done = run(
        "import sys\n"
        "import numpy as np, tifffile\n"
        f"folder = {str(tmp_path)!r}\n"
        "tifffile.imwrite(folder + '/t000.tif', np.zeros((8, 8), np.uint8))\n"
        "import napari_jnet\n"
        "stack = napari_jnet.open_stack(folder)\n"
        "assert stack.read(0).shape == (8, 8)\n"
        "print({'torch', 'napari', 'qtpy'} & set(sys.modules))\n"
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "set()"
