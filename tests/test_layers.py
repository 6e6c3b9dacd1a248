"""The layer rule of CONTRIBUTING.md: imports point to lower floors, and nothing imports in a circle."""

from __future__ import annotations

import ast
import functools
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[1] / "src" / "napari_jnet"
NAME = "napari_jnet"
CONTRIBUTING = PACKAGE.parents[1] / "CONTRIBUTING.md"

# A floor lists modules and packages; a module imports from floors below its own, and from its own package.
FLOORS = (
    {"labels", "events", "hardware"},
    {"files"},
    {"config", "safe_load"},
    {"budgets", "device", "io", "networks", "preprocess", "samples", "synthetic"},
    {"editing", "evaluation", "measure", "model", "project"},
    {"inference"},
    {"training"},
    {"legacy"},
    {"cli"},
)
WINDOW_FLOORS = (
    {"frames", "jobs.runner", "jobs.torch_loading", "settings", "ui.theme"},
    {"command", "layers"},
    {"workspace"},
    {"autosave", "guidance", "jobs", "ui"},
    {"open_workspace"},
    {"reader", "ui.page"},
    {"pages", "sample_data"},
    {"demo", "workbench"},
)
ANY_FLOOR = {"", "__main__"}  # the public names, loaded when they are asked for
GUI = {
    "PyQt5", "PyQt6", "PySide2", "PySide6", "app_model", "magicgui", "napari", "npe2",
    "pyqtgraph", "qtpy", "superqt", "vispy",
}  # fmt: skip
NO_TORCH = {
    "budgets", "config", "editing", "evaluation", "events", "files", "hardware", "io", "labels",
    "measure", "project", "samples", "synthetic",
}  # fmt: skip
ONLY_PLUGIN = GUI | {"dask"}


def modules(root: Path) -> dict[str, Path]:
    """Return every module below the package by its dotted name: "" is the package itself."""
    found = {}
    for path in sorted(root.rglob("*.py")):
        parts = path.relative_to(root).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


parsed = functools.cache(ast.parse)  # text -> tree


def imported(tree: ast.AST, module: str, package: bool) -> Iterator[tuple[int, str, str]]:
    """Yield (line, dotted module, name) of every import, wherever in the file it stands."""
    parts = (NAME, *module.split(".")) if module else (NAME,)
    here = parts if package else parts[:-1]
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name, "") for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = [*here[: len(here) - node.level + 1]] if node.level else []
            base += (node.module or "").split(".") if node.module else []
            yield from ((node.lineno, ".".join(base), alias.name) for alias in node.names)


def own_imports(path: Path, module: str, known: Mapping[str, Path]) -> Iterator[tuple[int, str]]:
    """Yield (line, module of this package) of every import of the package itself."""
    tree = parsed(path.read_text(encoding="utf-8"))
    for line, base, name in imported(tree, module, path.name == "__init__.py"):
        if base != NAME and not base.startswith(f"{NAME}."):
            continue
        target = base.removeprefix(NAME).removeprefix(".")
        inner = f"{target}.{name}" if target else name
        yield line, inner if inner in known or (not target and floor(inner)) else target


def floor(module: str) -> tuple[int, str] | None:
    """Return (floor, its entry) of a module; the window's floors stand above those of the core."""
    inside = (
        module.removeprefix("plugin").removeprefix(".") if module.startswith("plugin") else None
    )
    floors, name = (FLOORS, module) if inside is None else (WINDOW_FLOORS, inside)
    for entry in (name, name.split(".")[0]):
        for number, entries in enumerate(floors):
            if entry in entries:
                return (number if inside is None else len(FLOORS) + number), entry
    return None


def faults(root: Path) -> list[str]:
    """Return what modules import or call against the rule, one sentence each."""
    known = modules(root)
    found: list[str] = []
    for module, path in known.items():
        name = str(path.relative_to(root))
        if module in ANY_FLOOR | {"plugin"}:
            continue
        own = floor(module)
        if own is None:
            found.append(f"{name} has no floor; say in tests/test_layers.py where it stands")
            continue
        for line, target in own_imports(path, module, known):
            if target in ANY_FLOOR:
                continue
            theirs = floor(target)
            if theirs is None:
                found.append(f"{name}:{line} imports {target}, which has no floor")
            elif theirs[0] > own[0] or (theirs[0] == own[0] and theirs[1] != own[1]):
                found.append(f"{name}:{line} imports {target}, which is not on a lower floor")
        found += foreign_imports(path, module, name)
        found += calls(parsed(path.read_text(encoding="utf-8")), module, name)
    return list(dict.fromkeys(found))


def foreign_imports(path: Path, module: str, name: str) -> Iterator[str]:
    """Yield imports of packages that this part of the program may not know."""
    top = module.split(".")[0]
    tree = parsed(path.read_text(encoding="utf-8"))
    for line, base, _ in imported(tree, module, path.name == "__init__.py"):
        first = base.split(".")[0]
        if top != "plugin" and first in ONLY_PLUGIN:
            yield f"{name}:{line} imports {first}, which only plugin/ may"
        if top in NO_TORCH and first == "torch":
            yield f"{name}:{line} imports torch; {top} never does"


def calls(tree: ast.AST, module: str, name: str) -> list[str]:
    found = []
    for node in ast.walk(tree):
        match node:
            case ast.Call(ast.Name(call)):
                pass
            case ast.Call(ast.Attribute(ast.Name(base), attribute)):
                call = f"{base}.{attribute}"
            case _:
                continue
        if call == "print" and module.split(".")[0] not in {"cli", "__main__", "plugin"}:
            found.append(f"{name}:{node.lineno} prints; yield an event or raise instead")
        if call in {"logging.basicConfig", "basicConfig"}:
            found.append(f"{name}:{node.lineno} configures logging, which is the program's")
    return found


def circles(root: Path) -> list[list[str]]:
    """Return each set of modules that import each other, directly or through others."""
    known = modules(root)
    graph = {
        module: {target for _, target in own_imports(path, module, known) if target != module}
        for module, path in known.items()
        if module not in ANY_FLOOR
    }
    reach: dict[str, set[str]] = {}
    for start in graph:
        seen: set[str] = set()
        ahead = list(graph[start])
        while ahead:
            at = ahead.pop()
            if at not in seen:
                seen.add(at)
                ahead += graph.get(at, ())
        reach[start] = seen
    rings = {
        tuple(sorted({a, *(b for b in reach[a] if a in reach.get(b, ()))}))
        for a in graph
        if a in reach[a]
    }
    return [list(ring) for ring in sorted(rings)]


def test_every_import_points_to_a_lower_floor() -> None:
    found = faults(PACKAGE)
    assert not found, "\n".join(found)


def test_contributing_draws_these_floors() -> None:
    drawing = CONTRIBUTING.read_text(encoding="utf-8").split("```")[3]
    assert len(drawing.strip().splitlines()) <= 30
    core, window, ideas = drawing.split("\n\n")
    for part, floors in ((core, FLOORS), (window, WINDOW_FLOORS)):
        drawn = re.findall(r"^ *(\d+)  ([\w.]+(?:, [\w.]+)*)", part, re.MULTILINE)
        drawn_floors = {int(number): set(names.split(", ")) for number, names in drawn}
        assert drawn_floors == dict(enumerate(floors, start=1))
    files = re.findall(r"^ *[A-Z][a-z]+ +(\S+\.py)  ", ideas, re.MULTILINE)
    assert len(files) == 7
    assert [name for name in files if not (PACKAGE / "plugin" / name).is_file()] == []


def test_what_contributing_names_for_an_addition_is_there() -> None:
    page = CONTRIBUTING.read_text(encoding="utf-8").split("## Adding something")[1]
    table = "\n".join(re.findall(r"^\|.*", page, re.MULTILINE))
    names = re.findall(r"`([^`]+)`", table)
    sources = "\n".join(path.read_text(encoding="utf-8") for path in modules(PACKAGE).values())
    for name in names:
        if name.endswith((".py", "/", ".yaml")):
            assert (PACKAGE / name).exists(), name
        else:
            word = name.split("(")[0].rstrip(".").rpartition(".")[2]
            assert re.search(rf"\b{re.escape(word)}", sources), name


def test_nothing_imports_in_a_circle() -> None:
    assert circles(PACKAGE) == []


@pytest.mark.parametrize(
    ("where", "line", "words"),
    [
        ("config.py", "from napari_jnet.io import stack", "not on a lower floor"),
        ("io/bad.py", "import torch", "imports torch"),
        ("io/bad.py", "def f():\n    from torch import nn", "imports torch"),
        ("io/bad.py", "from ..training import loop", "not on a lower floor"),
        (
            "io/bad.py",
            "def f():\n    from napari_jnet.project import project",
            "not on a lower floor",
        ),
        ("device.py", "from napari_jnet import preprocess", "not on a lower floor"),
        ("evaluation/bad.py", "import dask.array as da", "only plugin/"),
        ("measure.py", "import napari.layers", "only plugin/"),
        ("training/loop.py", "from napari_jnet import cli", "not on a lower floor"),
        ("training/loop.py", "print('epoch')", "prints"),
        ("training/loop.py", "import logging\nlogging.basicConfig()", "configures logging"),
        (
            "plugin/workspace.py",
            "from napari_jnet.plugin.pages import train",
            "not on a lower floor",
        ),
        ("plugin/layers/read.py", "from napari_jnet.plugin.ui import form", "not on a lower floor"),
        ("surprise.py", "x = 1", "no floor"),
        ("plugin/surprise.py", "x = 1", "no floor"),
    ],
)
def test_the_rule_notices(tmp_path: Path, where: str, line: str, words: str) -> None:
    path = tmp_path / where
    path.parent.mkdir(exist_ok=True, parents=True)
    path.write_text(line + "\n", encoding="utf-8")
    assert any(words in fault for fault in faults(tmp_path))


def test_a_circle_of_modules_in_one_package_is_found(tmp_path: Path) -> None:
    (tmp_path / "io").mkdir()
    for one, other in (("a", "b"), ("b", "c"), ("c", "a")):
        line = f"def f():\n    from napari_jnet.io.{other} import x\n"
        (tmp_path / "io" / f"{one}.py").write_text(line, encoding="utf-8")
    (tmp_path / "io" / "d.py").write_text("from napari_jnet.io import a\n", encoding="utf-8")
    assert circles(tmp_path) == [["io.a", "io.b", "io.c"]]


@pytest.mark.parametrize(
    ("where", "line"),
    [
        ("training/loop.py", "import torch\nfrom napari_jnet.io import stack"),
        ("plugin/pages/train.py", "import napari\nfrom napari_jnet.training.loop import train"),
        ("io/ctc.py", "from .stack import Stack\nfrom napari_jnet.config import Config"),
        ("io/results.py", "from napari_jnet import __version__"),
        ("cli/train.py", "print('done')"),
    ],
)
def test_the_rule_lets_pass(tmp_path: Path, where: str, line: str) -> None:
    path = tmp_path / where
    path.parent.mkdir(exist_ok=True, parents=True)
    path.write_text(line + "\n", encoding="utf-8")
    assert faults(tmp_path) == []


def run(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=120
    )


def test_the_core_imports_without_any_window_package() -> None:
    names = [
        f"{NAME}.{module}".removesuffix(".")
        for module in modules(PACKAGE)
        if module.split(".")[0] not in {"plugin", "__main__"}
    ]
    done = run(
        "import importlib, sys\n"
        f"sys.modules.update(dict.fromkeys({sorted(ONLY_PLUGIN)!r}))\n"
        f"for name in {names!r}: importlib.import_module(name)\n"
    )
    assert done.returncode == 0, done.stderr


def test_opening_a_file_imports_nothing_that_loads_slowly(tmp_path: Path) -> None:
    done = run(
        "import sys\n"
        "import numpy as np, tifffile\n"
        f"folder = {str(tmp_path)!r}\n"
        "tifffile.imwrite(folder + '/t000.tif', np.zeros((8, 8), np.uint8))\n"
        "import napari_jnet\n"
        "stack = napari_jnet.open_stack(folder)\n"
        "assert stack.read(0).shape == (8, 8)\n"
        "print({'torch', 'napari', 'qtpy', 'scipy', 'skimage'} & set(sys.modules))\n"
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "set()"
