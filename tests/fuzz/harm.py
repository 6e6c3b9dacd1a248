"""Ways to harm files and values, each drawn from a generator of random numbers."""

from __future__ import annotations

import json
import os
import random
import shutil
import zipfile
from pathlib import Path
from typing import Any

ODD_VALUES: tuple[Any, ...] = (
    None, True, False, -1, 0, 1, 2, 3, 7.5, 1e-300, 1e308, float("nan"), float("inf"), 2**31, -(2**63),
    2**64, 10**400, "", "2", "true", "é\n[/red] %s", "x" * 3000, "../../..", "/", [], [0], [[]], [None],
    {}, {"a": 1}, [1, 2, 3], "01", "cpu", "nan",
)  # fmt: skip

ODD_NAMES = (
    "plain", "with space", "[bold]b[/bold]", "[/x]", "50 %d %s", "ä–日本", "two\nlines", "-dash", "a'b\"c",
    "n" * 120, "{x}", "tab\tin", ".hidden", "trailing.", "#1", "$HOME",
)  # fmt: skip


def harm_bytes(rng: random.Random, data: bytes) -> bytes:
    """Change some bytes."""
    some = bytearray(data)
    kind = rng.choice(
        (
            "bit",
            "bit",
            "bytes",
            "head",
            "cut",
            "cut",
            "zeros",
            "add",
            "lose",
            "twice",
            "noise",
            "none",
        )
    )
    size = len(some)
    if not size:
        return rng.randbytes(50)
    if kind == "bit":
        some[rng.randrange(size)] ^= 1 << rng.randrange(8)
    elif kind == "bytes":
        for _ in range(rng.randint(1, 40)):
            some[rng.randrange(size)] = rng.randrange(256)
    elif kind == "head":
        for _ in range(rng.randint(1, 6)):
            some[rng.randrange(min(size, 200))] = rng.choice((0, 1, 127, 128, 255))
    elif kind == "cut":
        del some[rng.randrange(size) :]
    elif kind == "zeros":
        start = rng.randrange(size)
        length = min(rng.randint(1, 4000), size - start)
        some[start : start + length] = bytes(length)
    elif kind == "add":
        start = rng.randrange(size)
        some[start:start] = rng.randbytes(rng.randint(1, 100))
    elif kind == "lose":
        start = rng.randrange(size)
        del some[start : start + rng.randint(1, 100)]
    elif kind == "twice":
        some += bytes(some)
    elif kind == "noise":
        some[:] = rng.randbytes(rng.randint(1, 5000))
    else:
        some.clear()
    return bytes(some)


def harm_file(rng: random.Random, path: Path) -> None:
    """Change a file, or put something else in its place."""
    kind = rng.choices(
        ("bytes", "gone", "folder", "fifo", "loop", "text", "json", "other", "device"),
        (24, 2, 2, 1, 1, 2, 1, 2, 1),
    )[0]
    if kind == "bytes":
        path.write_bytes(harm_bytes(rng, path.read_bytes()))
        return
    others = sorted(p for p in path.parent.iterdir() if p.is_file() and p != path)
    path.unlink()
    if kind == "folder":
        path.mkdir()
    elif kind == "fifo":
        os.mkfifo(path)
    elif kind == "loop":
        path.symlink_to(path.name)
    elif kind == "text":
        path.write_text("epoch,loss\n1,0.5\n", encoding="utf-8")
    elif kind == "json":
        path.write_text("[" * rng.choice((3, 200000)), encoding="utf-8")
    elif kind == "other" and others:
        shutil.copy(rng.choice(others), path)
    elif kind == "device":
        path.symlink_to("/dev/zero")


def harm_values(rng: random.Random, values: Any, odd: tuple[Any, ...] = ODD_VALUES) -> Any:
    """Change one value somewhere within nested dicts and lists."""
    if isinstance(values, dict) and values and rng.random() < 0.93:
        key = rng.choice(sorted(values, key=str))
        how = rng.random()
        if how < 0.08:
            return {k: v for k, v in values.items() if k != key}
        if how < 0.12:
            return {**values, rng.choice(("more", "", "[x]")): rng.choice(odd)}
        return {**values, key: harm_values(rng, values[key], odd)}
    if isinstance(values, (list, tuple)) and values and rng.random() < 0.8:
        place = rng.randrange(len(values))
        changed = [harm_values(rng, v, odd) if k == place else v for k, v in enumerate(values)]
        return changed + changed[-1:] * rng.choice((0, 0, 0, 1))
    if isinstance(values, (int, float)) and not isinstance(values, bool) and rng.random() < 0.5:
        return rng.choice((values + 1, values - 1, values * 2, values / 2, -values, values * 1000))
    return rng.choice(odd)


def harm_json(rng: random.Random, path: Path) -> None:
    """Change one value of a JSON file."""
    values = json.loads(path.read_text(encoding="utf-8"))
    for _ in range(rng.choice((1, 1, 1, 2, 4))):
        values = harm_values(rng, values)
    path.write_text(json.dumps(values), encoding="utf-8")


def harm_archive(rng: random.Random, path: Path) -> None:
    """Write a zip archive again with something wrong in its members."""
    with zipfile.ZipFile(path) as archive:
        members = {info.filename: archive.read(info) for info in archive.infolist()}
    kind = rng.choice(("deflated", "lost", "bomb", "more", "swapped", "short", "long", "outside"))
    name = rng.choice(sorted(members))
    numbers = [n for n in sorted(members) if "/data/" in n]
    method = zipfile.ZIP_STORED
    if kind == "deflated":
        method = zipfile.ZIP_DEFLATED
    elif kind == "lost":
        del members[name]
    elif kind == "bomb":
        method = zipfile.ZIP_DEFLATED
        members[rng.choice(numbers)] = bytes(300_000_000)
    elif kind == "more":
        members[f"{name}.more"] = rng.randbytes(1000)
    elif kind == "swapped":
        first, second = rng.choice(numbers), rng.choice(numbers)
        members[first], members[second] = members[second], members[first]
    elif kind == "short":
        members[name] = members[name][: len(members[name]) // 2]
    elif kind == "long":
        members[name] += bytes(64)
    else:
        members["../../outside"] = b"1"
    with zipfile.ZipFile(path, "w", method) as archive:
        for member, data in members.items():
            archive.writestr(member, data)
