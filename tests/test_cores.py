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
    return tmp_path


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def test_zero_takes_the_cores_that_a_process_may_use(
    machine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("napari_jnet.device.available_cores", lambda: available_cores(machine))
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
    ("files", "expected"),
    [
        ({}, 8),
        ({"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/cpu.max": "200000 100000\n"}, 2),
        ({"proc/self/cgroup": "0::/a/b\n", "sys/fs/cgroup/a/cpu.max": "150000 100000\n"}, 2),
        ({"proc/self/cgroup": "0::/a\n", "sys/fs/cgroup/a/cpu.max": "max 100000\n"}, 8),
        ({"proc/self/cgroup": "0::/a\n", "sys/fs/cgroup/a/cpu.max": "5000 100000\n"}, 1),
        ({"proc/self/cgroup": "0::/a\n", "sys/fs/cgroup/a/cpu.max": "nonsense\n"}, 8),
        (
            {
                "proc/self/cgroup": "3:memory:/x\n2:cpu,cpuacct:/job\n",
                "sys/fs/cgroup/cpu/job/cpu.cfs_quota_us": "400000\n",
                "sys/fs/cgroup/cpu/job/cpu.cfs_period_us": "100000\n",
                "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "-1\n",
                "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000\n",
            },
            4,
        ),
    ],
)
def test_a_container_or_a_job_of_a_cluster_has_fewer(
    machine: Path, files: dict[str, str], expected: int
) -> None:
    for name, text in files.items():
        write(machine / name, text)
    assert available_cores(machine) == expected


def test_without_affinity_all_cores_are_there(
    machine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(os, "sched_getaffinity")
    assert available_cores(machine) == 128
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert available_cores(machine) == 1
