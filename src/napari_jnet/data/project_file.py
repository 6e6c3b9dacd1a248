"""``project.json``: what a project remembers besides pixels, read and written whole."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from napari_jnet.data.project_frames import ANNOTATIONS
from napari_jnet.data.project_reference import StackReference
from napari_jnet.data.roles import check_role
from napari_jnet.data.stack import LabelKind
from napari_jnet.data.storing import write_file

__all__ = [
    "FORMAT",
    "PROJECT_FILE",
    "VERSION",
    "ProjectFile",
    "project_folder",
    "read_project",
    "write_project",
]

PROJECT_FILE = "project.json"
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
    folder = path.parent if path.name in (PROJECT_FILE, ANNOTATIONS) else path
    return folder if _is_project(folder) else None


def _is_project(folder: Path) -> bool:
    """Say whether a folder is a project, be it damaged; never raises."""
    path = folder / PROJECT_FILE
    try:
        if (folder / ANNOTATIONS).is_dir():
            return path.is_file()
        # Copying programs may leave out the empty folder of a project without annotations.
        with path.open("rb") as file:
            return FORMAT.encode() in file.read(200)
    except OSError:
        return False


def read_project(folder: Path) -> ProjectFile:
    """Read ``project.json`` of a folder.

    Raises
    ------
    FileNotFoundError
        If there is none.
    ValueError
        If it is damaged, of a newer version, or no project's.
    """
    path = folder / PROJECT_FILE
    if not path.is_file():
        raise FileNotFoundError(
            f"{folder} is no project of napari-jnet: it has no {PROJECT_FILE}. Choose a project's folder."
        )
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        told = values.get("format")
    except OSError as error:
        raise type(error)(f"{path} cannot be read: {error.strerror or error}.") from error
    except (ValueError, AttributeError) as error:
        raise _damaged(path, error) from error
    if told != FORMAT:
        raise ValueError(f"{path} is of another program, no project of napari-jnet.")
    if values.get("version") != VERSION:
        raise ValueError(
            f"{path} is of version {values.get('version')}, this program reads version {VERSION}. "
            "Update napari-jnet."
        )
    try:
        return ProjectFile.from_dict(values)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise _damaged(path, error) from error


def write_project(folder: Path, content: ProjectFile) -> None:
    """Write ``project.json``; raises `OSError` in words."""
    text = json.dumps(content.to_dict(), indent=2, ensure_ascii=False) + "\n"
    text = _NUMBERS.sub(lambda match: " ".join(match[0].split()), text)
    write_file(folder / PROJECT_FILE, text.encode())


def _damaged(path: Path, error: Exception) -> ValueError:
    words = f"{error} is missing" if isinstance(error, KeyError) else str(error)
    return ValueError(
        f"{path} is damaged ({words}). The painted frames beside it, in annotations, are untouched: "
        "put back a copy of the file, or make a new project of the stack and copy annotations there."
    )
