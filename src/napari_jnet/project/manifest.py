"""``project.json``: what a project remembers besides pixels, read and written whole.

``project.json.bak`` is a second copy: where the first is damaged or lost, the second takes its place.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from napari_jnet.files import FileError, file_lock, quarantine, reading, write_file
from napari_jnet.labels import LabelKind
from napari_jnet.project.annotations import ANNOTATIONS
from napari_jnet.project.source import StackReference

ROLES = ("training", "validation", "unused")


_TRAINING_FOR_ONE = 5


_FIRST_VALIDATION = 3


def next_role(roles: Iterable[str] | Mapping[str, int], *, whole: bool = True) -> str:
    """Return the role of a newly annotated frame.

    Parameters
    ----------
    roles
        Those of the frames that are annotated already, "" where one has none; or how many have each.
    whole
        Whether every pixel of the new frame is known; the score of a few strokes says little.

    Returns
    -------
    str
        "validation" if there are at least 5 frames for training to each for validation, and at
        least 3 annotated frames with the new one; else "training".  A frame with unknown pixels is for
        validation only where 5 for training go with it, too.
    """
    given = Counter(roles)
    validation = given["validation"] + (0 if whole else 1)
    enough = given["training"] >= _TRAINING_FOR_ONE * validation
    return "validation" if enough and given.total() + 1 >= _FIRST_VALIDATION else "training"


def check_role(role: str) -> str:
    """Return the role; one that does not exist raises `ValueError`."""
    if role not in ("", *ROLES):
        raise ValueError(f"{role!r} is no role; a frame is for {', '.join(ROLES)}, or '' for none.")
    return role


PROJECT_FILE = "project.json"


PROJECT_FILES = (PROJECT_FILE, "project.json.bak")


FORMAT = "napari-jnet project"


VERSION = 1


# Lists of numbers on one line: thousands of frames shall not make thousands of lines.
_NUMBERS = re.compile(r"\[\n[\s\d.,+e-]+\]")


@dataclass(frozen=True)
class ProjectFile:
    """What stands in ``project.json``.

    Attributes
    ----------
    legend
        (name, "#rrggbb") of each painted number from 0.
    roles
        Frame number -> role.
    partial
        Numbers of the frames in which an unpainted pixel is unknown.
    model
        Run folder or model file: within the project as a relative path, else absolute; "" for none.
    settings
        Plain values of the window.
    """

    name: str
    stack: StackReference
    kind: LabelKind
    legend: tuple[tuple[str, str], ...] = ()
    roles: Mapping[int, str] = field(default_factory=dict)
    partial: frozenset[int] = frozenset()
    model: str = ""
    settings: Mapping[str, Any] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return {
            "format": FORMAT,
            "version": VERSION,
            "name": self.name,
            "stack": self.stack.to_dict(),
            "kind": self.kind.value,
            "legend": [list(entry) for entry in self.legend],
            "roles": {str(number): role for number, role in sorted(self.roles.items())},
            "partial": sorted(self.partial),
            "model": self.model or None,
            "settings": dict(self.settings),
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> ProjectFile:
        """Read plain values; missing or wrong ones raise `KeyError`, `TypeError` or `ValueError`."""
        roles = {int(n): check_role(role) for n, role in values.get("roles", {}).items()}
        return cls(
            name=str(values["name"]),
            stack=StackReference.from_dict(values["stack"]),
            kind=LabelKind(values["kind"]),
            legend=tuple((str(name), str(colour)) for name, colour in values.get("legend", ())),
            roles=roles,
            partial=frozenset(int(n) for n in values.get("partial", ())),
            model=str(values.get("model") or ""),
            settings=dict(values.get("settings") or {}),
        )


def project_folder(path: Path) -> Path | None:
    """Return the project that a path means; None if none.

    A path means its project if it is the folder, its ``project.json`` or its ``annotations``.
    """
    folder = path.parent if path.name in (*PROJECT_FILES, ANNOTATIONS) else path
    return folder if _is_project(folder) else None


def _is_project(folder: Path) -> bool:
    """Say whether a folder is a project, be it damaged; never raises."""
    try:
        if (folder / ANNOTATIONS).is_dir():
            return any((folder / name).is_file() for name in PROJECT_FILES)
    except OSError:
        return False
    # Copying programs may leave out the empty folder of a project without annotations.
    return any(_is_ours(folder / name) for name in PROJECT_FILES)


def _is_ours(path: Path) -> bool:
    try:
        with reading(path, "a project"), path.open("rb") as file:
            return FORMAT.encode() in file.read(200)
    except (OSError, ValueError):
        return False


class _Damaged(FileError):
    """The file holds nothing that can be read."""


_UNTOUCHED = (
    "The painted frames beside it, in annotations, are untouched: put back a copy of the file, or make a "
    "new project of the stack and copy annotations there."
)


def read_project(folder: Path) -> ProjectFile:
    """Read ``project.json`` of a folder; its second copy where it is damaged or lost.

    Raises
    ------
    FileNotFoundError
        If there is none.
    ValueError
        If both are damaged, or it is of a newer version, or no project's.
    """
    first, second = (folder / name for name in PROJECT_FILES)
    try:
        return _read(first)
    except (FileNotFoundError, _Damaged):
        try:
            return _read(second)
        except (OSError, ValueError):
            pass
        raise


def restore_backup(folder: Path) -> str:
    """Put the second copy in the place of a damaged or lost ``project.json``, which is kept aside.

    Returns
    -------
    str
        What was done, in words; "" where all is well, or nothing can be done.
    """
    first, second = (folder / name for name in PROJECT_FILES)
    try:
        _read(first)
        return ""
    except FileNotFoundError:
        what = "was missing"
    except _Damaged:
        what = f"was damaged and is now {first.name}.damaged"
    except (OSError, ValueError):
        return ""
    with file_lock(folder):
        try:
            _read(second)
            if first.exists():
                quarantine(first)
            write_file(first, second.read_bytes())
        except (OSError, ValueError):
            return ""
    return (
        f"{first} {what}: it was written anew from its second copy, {second.name}. Look whether the "
        "roles of the frames are as you left them; what is painted is not affected."
    )


def _read(path: Path) -> ProjectFile:
    if not path.exists():
        raise FileNotFoundError(
            f"{path.parent} is no project of napari-jnet: it has no {PROJECT_FILE}. "
            "Choose a project's folder."
        )
    with reading(path, "a project", f"it is damaged. {_UNTOUCHED}", _Damaged):
        values = json.loads(path.read_text(encoding="utf-8"))
        told = values.get("format")
    if told != FORMAT:
        raise ValueError(f"{path} is of another program, no project of napari-jnet.")
    if values.get("version") != VERSION:
        raise ValueError(
            f"{path} is of version {values.get('version')}, this program reads version {VERSION}. "
            "Update napari-jnet."
        )
    try:
        return ProjectFile.from_dict(values)
    except (KeyError, TypeError, ValueError, AttributeError, ArithmeticError) as error:
        words = f"{error} is missing" if isinstance(error, KeyError) else str(error)
        raise _Damaged(f"{path} is damaged ({words}). {_UNTOUCHED}") from error


def write_project(folder: Path, content: ProjectFile) -> None:
    """Write ``project.json``, its second copy first; raises `OSError` in words."""
    text = json.dumps(content.to_dict(), indent=2, ensure_ascii=False) + "\n"
    text = _NUMBERS.sub(lambda match: " ".join(match[0].split()), text)
    for name in reversed(PROJECT_FILES):
        write_file(folder / name, text.encode())
