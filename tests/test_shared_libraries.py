"""Triton is bound to its own LLVM where the window has loaded Mesa's."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

import napari_jnet
from napari_jnet import hardware as shared_libraries
from napari_jnet.hardware import load_triton_apart

pytestmark = pytest.mark.skipif(
    sys.platform != "linux", reason="only Linux binds the symbols of one library to another's"
)

MESA = "7f10-7f20 r-xp 00000000 08:01 42 /usr/lib/x86_64-linux-gnu/libLLVM-15.so.1\n"
PLAIN = "7f10-7f20 r-xp 00000000 08:01 42 /usr/lib/x86_64-linux-gnu/libc.so.6\n"


@pytest.fixture
def triton(tmp_path, monkeypatch):
    """Put a stand-in for triton on the path that notes how libraries were bound at its import."""
    package = tmp_path / "triton" / "_C"
    package.mkdir(parents=True)
    (package.parent / "__init__.py").write_text("")
    (package / "__init__.py").write_text("")
    (package / "libtriton.py").write_text("import sys\nFLAGS = sys.getdlopenflags()\n")
    monkeypatch.syspath_prepend(tmp_path)
    for name in [name for name in sys.modules if name.partition(".")[0] == "triton"]:
        monkeypatch.delitem(sys.modules, name)
    yield package / "libtriton.py"
    for name in [name for name in sys.modules if name.partition(".")[0] == "triton"]:
        del sys.modules[name]


def maps_of(folder: Path, text: str) -> Path:
    (folder / "maps").write_text(text)
    return folder / "maps"


def test_it_is_bound_to_its_own_llvm(triton, tmp_path):
    before = sys.getdlopenflags()
    assert load_triton_apart(maps_of(tmp_path, PLAIN + MESA))
    assert sys.modules["triton._C.libtriton"].FLAGS & os.RTLD_DEEPBIND
    assert sys.getdlopenflags() == before


def test_without_another_llvm_it_is_left_to_torch(triton, tmp_path):
    assert not load_triton_apart(maps_of(tmp_path, PLAIN))
    assert "triton" not in sys.modules


def test_what_is_imported_already_is_left_alone(triton, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "triton", sys)
    assert not load_triton_apart(maps_of(tmp_path, MESA))


@pytest.mark.parametrize("code", ["raise ImportError('no such symbol')", "1 / 0"])
def test_a_triton_that_cannot_be_imported_ends_nothing(triton, tmp_path, code):
    before = sys.getdlopenflags()
    triton.write_text(code)
    assert not load_triton_apart(maps_of(tmp_path, MESA))
    assert sys.getdlopenflags() == before


def test_without_proc_nothing_is_done(triton, tmp_path):
    assert not load_triton_apart(tmp_path / "missing")
    assert "triton" not in sys.modules


def test_the_python_api_looks_after_it_too(triton, monkeypatch):
    calls = []
    monkeypatch.setattr(shared_libraries, "load_triton_apart", lambda: calls.append(1))
    for name in ("Config", "Project", "train", "predict", "load_model"):
        napari_jnet.__dict__.pop(name, None)  # as if it had not been asked for yet
        assert getattr(napari_jnet, name)
    assert len(calls) == 3
