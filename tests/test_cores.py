"""How many threads torch may take."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch

from napari_jnet.device import use_threads
from napari_jnet.hardware import available_cores


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A machine of 128 cores, 8 of which this process may use, without quotas yet."""
    monkeypatch.setattr(os, "cpu_count", lambda: 128)
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(8)), raising=False)
    monkeypatch.setattr("napari_jnet.hardware._CGROUP", tmp_path)
    return tmp_path


def test_zero_takes_the_cores_that_a_process_may_use(
    machine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = torch.get_num_threads()
    try:
        for variable, threads, expected in (
            ("", 0, 8), ("3", 0, 3), ("3,1", 0, 3), ("many", 0, 8), ("0", 0, 8), ("3", 2, 2),
        ):  # fmt: skip
            monkeypatch.setenv("OMP_NUM_THREADS", variable)
            use_threads(threads)
            assert torch.get_num_threads() == expected
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize(
    ("quota", "expected"),
    [("200000 100000", 2), ("150000 100000", 2), ("max 100000", 8), ("5000 100000", 1), ("?", 8)],
)
def test_a_container_has_fewer(machine: Path, quota: str, expected: int) -> None:
    (machine / "cpu.max").write_text(f"{quota}\n")
    assert available_cores() == expected


def test_without_affinity_all_cores_are_there(
    machine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(os, "sched_getaffinity")
    assert available_cores() == 128
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert available_cores() == 1
