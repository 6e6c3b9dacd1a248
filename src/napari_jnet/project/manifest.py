"""``project.json``: what a project stores besides pixels, read and written as a whole."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, ValidationError

from napari_jnet.files import reading, write_file
from napari_jnet.labels import LabelKind
from napari_jnet.project.source import StackReference

PROJECT_FILE = "project.json"
ANNOTATIONS = "annotations"  # the folder of the painted frames
FORMAT = "napari-jnet project"
VERSION = 1
ROLES = ("training", "validation", "unused")
_TRAINING_FOR_ONE = 5
_FIRST_VALIDATION = 3
# Lists of numbers stay on one line: there may be thousands of frames.
_NUMBERS = re.compile(r"\[\n[\s\d.,+e-]+\]")
_UNTOUCHED = (
    "The painted frames beside it, in annotations, are untouched: put back a copy of the file, or make a "
    "new project of the stack and copy annotations there."
)


def next_role(roles: Iterable[str] | Mapping[str, int], *, complete: bool = True) -> str:
    """Return the role of a newly annotated frame.

    "validation" where at least 5 frames for training go with each for validation, and there are at least 3
    annotated frames with the new one; else "training".  `roles` are those of the frames that are annotated
    already, "" for none, or how many have each.  Of a frame that is not `complete`, with unknown pixels, the
    score means little: 5 frames for training must go with it, too.
    """
    given = Counter(roles)
    validation = given["validation"] + (0 if complete else 1)
    enough = given["training"] >= _TRAINING_FOR_ONE * validation
    return "validation" if enough and given.total() + 1 >= _FIRST_VALIDATION else "training"


def check_role(role: str) -> str:
    """Return the role; one that does not exist raises `ValueError`."""
    if role not in ("", *ROLES):
        raise ValueError(
            f"{role!r} is not a role; a frame is for {', '.join(ROLES)}, or '' for none."
        )
    return role


class Manifest(BaseModel):
    """The content of ``project.json``."""

    model_config = ConfigDict(frozen=True)

    name: str  # of the stack when the project was made
    stack: StackReference
    kind: LabelKind  # what painted numbers mean
    classes: tuple[tuple[str, str], ...] = ()  # (name, "#rrggbb") of each painted number from 0
    roles: dict[int, Annotated[str, AfterValidator(check_role)]] = {}  # by frame number
    partial: frozenset[int] = frozenset()  # frames in which an unpainted pixel is unknown
    # a run folder or model file: within the project as a relative path, else absolute; "" for none
    model: Annotated[str, BeforeValidator(lambda value: value or "")] = ""
    # how predicted cells are separated, where somebody has moved a slider; by the fields of `InstanceConfig`
    instances: dict[str, Any] = {}
    diameter: float | None = (
        None  # of the cells, for the starter, where somebody has given it; pixels
    )
    # predicted cells that somebody has looked at, in order: frame number and a pixel of each
    looked_at: tuple[tuple[int, ...], ...] = ()
    # plain values that earlier versions stored
    settings: Annotated[dict[str, Any], BeforeValidator(lambda value: value or {})] = {}

    def changed(self, **values: Any) -> Manifest:
        """Return a copy with other values, which are checked."""
        return Manifest.model_validate({**dict(self), **values})


def project_folder(path: Path) -> Path | None:
    """Return the folder of a project, its ``project.json`` or its ``annotations``; None for other paths."""
    folder = path.parent if path.name in (PROJECT_FILE, ANNOTATIONS) else path
    file = folder / PROJECT_FILE
    try:
        if not file.is_file():
            return None
        if (folder / ANNOTATIONS).is_dir():
            return folder
        with file.open("rb") as content:  # programs that copy may skip an empty folder
            return folder if FORMAT.encode() in content.read(200) else None
    except (OSError, ValueError):  # of a name with a null character
        return None


def read_project(folder: Path) -> Manifest:
    """Read ``project.json`` of a folder.

    Raises `FileNotFoundError` if there is none, `ValueError` if it is damaged, newer or of another program.
    """
    path = folder / PROJECT_FILE
    if not path.exists():
        remedy = _UNTOUCHED if (folder / ANNOTATIONS).is_dir() else "Choose a project's folder."
        raise FileNotFoundError(
            f"{folder} is not a project of napari-jnet: it has no {PROJECT_FILE}. {remedy}"
        )
    with reading(path, "a project", f"it is damaged. {_UNTOUCHED}"):
        values = json.loads(path.read_text(encoding="utf-8"))
        stated = values.get("format")
    if stated != FORMAT:
        raise ValueError(f"{path} is of another program, not a project of napari-jnet.")
    if values.get("version") != VERSION:
        raise ValueError(
            f"{path} is of version {values.get('version')}, this program reads version {VERSION}. "
            "Update napari-jnet."
        )
    if isinstance(stack := values.get("stack"), dict):
        # older projects had one order of files, and read the first image of a file
        series = 1 if stack.get("format") == "isbi" else None
        values["stack"] = {"order": "first number", "series": series, **stack}
    values["classes"] = values.pop("legend", ())  # the key in files of version 1
    try:
        return Manifest.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        problem = "is missing" if first["type"] == "missing" else first["msg"]
        raise ValueError(f"{path} is damaged ({key}: {problem}). {_UNTOUCHED}") from error


def write_project(folder: Path, content: Manifest) -> None:
    """Write ``project.json``; raises `OSError` with a message for the user."""
    values = {"format": FORMAT, "version": VERSION, **content.model_dump(mode="json")}
    values["roles"] = {str(number): role for number, role in sorted(content.roles.items())}
    values["legend"] = values.pop("classes")  # the key in files of version 1
    values |= {"partial": sorted(content.partial), "model": content.model or None}
    text = json.dumps(values, indent=2, ensure_ascii=False) + "\n"
    text = _NUMBERS.sub(lambda match: " ".join(match[0].split()), text)
    write_file(folder / PROJECT_FILE, text.encode())
