"""Torch is loaded aside: without the garbage collector, and once."""

import gc
import os
import subprocess
import sys

import pytest

pytest.importorskip("napari")

from napari_jnet.plugin.jobs import torch_loading

CODE = """
import gc, sys, threading
from napari_jnet.plugin.jobs.torch_loading import load_torch
assert "torch" not in sys.modules
full = []
gc.callbacks.append(lambda phase, info: full.append(info["generation"]))
gc.collect()
before = full.count(2)
worker = threading.Thread(target=lambda: load_torch(optimizer=True))
worker.start()
worker.join()
import torch
assert torch.zeros(2).sum() == 0
assert gc.isenabled() and gc.get_freeze_count() == 0
kept = [[] for _ in range(20_000)]  # many young collections, none of them of everything
assert full.count(2) == before, "everything was looked through"
"""


def test_loading_looks_through_no_objects_and_leaves_the_collector_on():
    environment = {**os.environ, "QT_QPA_PLATFORM": "offscreen"}
    ended = subprocess.run(
        [sys.executable, "-c", CODE], capture_output=True, text=True, env=environment, check=False
    )
    assert ended.returncode == 0, ended.stderr


def test_a_collector_that_is_off_stays_off(monkeypatch):
    monkeypatch.setattr(torch_loading, "_loaded", set())
    gc.disable()
    try:
        torch_loading.load_torch(optimizer=True)
        assert not gc.isenabled()
    finally:
        gc.enable()


def test_without_torch_it_says_so_and_the_collector_goes_on(monkeypatch):
    monkeypatch.setattr(torch_loading, "_loaded", set())
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(ImportError):
        torch_loading.load_torch()
    assert gc.isenabled()


def test_triton_is_looked_after_before_torch_is_loaded(monkeypatch):
    monkeypatch.setattr(torch_loading, "_loaded", set())
    calls = []
    monkeypatch.setattr(torch_loading, "load_triton_apart", lambda: calls.append(1))
    torch_loading.load_torch()
    assert calls == [1]
