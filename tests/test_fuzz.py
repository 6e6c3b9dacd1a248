"""A small part of the fuzz command, `tox run -e fuzz`: no case may be bad, and some must reach a network."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

FUZZ = Path(__file__).parent / "fuzz"


@pytest.mark.skipif(os.name == "nt", reason="it forks")
def test_harmed_input_opens_or_is_refused_in_one_line() -> None:
    words = [sys.executable, str(FUZZ), "--cases", "40", "--seed", "9", "--jobs", "1"]
    ran = subprocess.run(words, capture_output=True, text=True, timeout=280)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    counts = re.search(r"\| together \| 40 \| \d+ \| \d+ \| 0 \| (\d+) \|", ran.stdout)
    assert counts and int(counts[1]) >= 10, ran.stdout
