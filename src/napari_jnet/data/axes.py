"""Which axis of an image is what: from the axes that are stored to those of a stack."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from napari_jnet.data.readable import FileError

__all__ = ["AXES", "Arrangement", "StackUnsure", "arrange", "check_axes", "size_text"]

AXES = {
    2: ("YX",),
    3: ("TYX", "ZYX", "CYX", "YXC"),
    4: ("TZYX", "TCYX", "CTYX", "ZCYX", "CZYX", "ZTYX", "TYXC", "ZYXC"),
}
"""Number of dimensions -> the axes that such an image may have."""

_UNKNOWN = "IQ"  # of tifffile: pages, and a dimension of which nothing is known


class StackUnsure(FileError):
    """A file does not tell which image is meant, or what its dimensions are; somebody has to say.

    Attributes
    ----------
    parameter
        Of `open_stack`, and with two dashes of the command line: "axes" or "series".
    choices
        Its possible values, as text.
    """

    def __init__(self, text: str, parameter: str, choices: tuple[str, ...]) -> None:
        super().__init__(text)
        self.parameter = parameter
        self.choices = choices


@dataclass(frozen=True)
class Arrangement:
    """How the dimensions of a stored image become frames.

    Attributes
    ----------
    axes
        Of the stack, frames first, channels last: "TYX", "ZYX", "TYXC", "ZYXC" or "TZYX".
    along
        The stored dimension that runs through the frames; None where there is one frame only.
    order
        How the other dimensions are transposed into a frame.
    shape
        Of a frame.
    count
        Number of frames.
    spatial, spatial_shape
        The stored axes without channels, in the stored order, and their sizes: those of labels that
        lie beside the image.
    """

    axes: str
    along: int | None
    order: tuple[int, ...]
    shape: tuple[int, ...]
    count: int
    spatial: str
    spatial_shape: tuple[int, ...]

    @property
    def plain(self) -> tuple[int, ...]:
        """Shape of a frame without channels: (H, W) or (Z, H, W)."""
        return self.shape[:-1] if self.axes.endswith("C") else self.shape

    def frame(self, stored: NDArray[Any]) -> NDArray[Any]:
        """Transpose what is stored of a frame into (H, W), (H, W, C) or (Z, H, W)."""
        return stored.transpose(self.order)


def check_axes(axes: str, shape: tuple[int, ...], name: str) -> str:
    """Return axes that somebody has said, in capital letters, "S" as "C".

    Raises
    ------
    ValueError
        If they are impossible for an image of this shape.
    """
    letters = axes.strip().upper().replace("S", "C")
    known = AXES.get(len(shape), ())
    if len(letters) != len(shape) or set(letters) - set("TZCYX") or len({*letters}) < len(letters):
        fault = "one of T, Z, C, Y and X for each dimension, none twice"
    elif "Y" not in letters or letters.find("Y") > letters.find("X"):
        fault = "rows and columns among them, Y before X"
    elif {*"TZC"} <= {*letters}:
        fault = "no channels where there are both T and Z"
    else:
        return letters
    choices = f", such as {', '.join(known)}" if known else ""
    raise ValueError(
        f"The axes {axes!r} do not fit {name}, whose size is {size_text(shape)}; axes are "
        f"{fault}. Give {len(shape)} letters{choices}."
    )


def arrange(axes: str, shape: tuple[int, ...], name: str) -> Arrangement:
    """Say how an image becomes frames.

    Time runs through the frames; without it, the sections of a volume do.  Channels belong to a
    frame, and are never frames.

    Parameters
    ----------
    axes
        One letter for each stored dimension, as tifffile names them.  A first one that is unknown
        ("I", "Q") is taken for time.
    shape
        As stored.
    name
        Of the image, for errors.

    Raises
    ------
    StackUnsure
        If the axes are not known well enough.
    ValueError
        If the image is no stack.
    """
    letters = axes.upper().replace("S", "C")
    if letters[:1] in [*_UNKNOWN] and "T" not in letters:
        letters = f"T{letters[1:]}"
    unsure = len({*letters}) < len(letters) or bool(set(letters) - set("TZCYX"))
    if unsure or not {*"YX"} <= {*letters} or {*"TZC"} <= {*letters}:
        choices = AXES.get(len(shape), ())
        what = (
            f"{name} has axes {axes or 'unknown'} and size {size_text(shape)}; a stack has rows and "
            "columns, with time, sections, both of these, or channels and one of them."
        )
        if not choices:
            raise ValueError(f"{what} Save one channel, or one time point, as a file of its own.")
        remedy = f"Say what its dimensions are (--axes): {', '.join(choices)}."
        raise StackUnsure(f"{what} {remedy}", "axes", choices)
    if 0 in shape:
        raise ValueError(f"{name} has size {size_text(shape)}; a stack needs at least one pixel.")
    first = next((letter for letter in "TZ" if letter in letters), "")
    along = letters.index(first) if first else None
    rest = letters.replace(first, "") if first else letters
    frame = "".join(letter for letter in "ZYXC" if letter in rest)
    sizes = dict(zip(letters, shape, strict=True))
    return Arrangement(
        axes=f"{first or 'T'}{frame}",
        along=along,
        order=tuple(rest.index(letter) for letter in frame),
        shape=tuple(int(sizes[letter]) for letter in frame),
        count=int(sizes[first]) if first else 1,
        spatial=letters.replace("C", ""),
        spatial_shape=tuple(int(sizes[letter]) for letter in letters if letter != "C"),
    )


def size_text(shape: tuple[int, ...]) -> str:
    """Write a size: "5 × 96 × 96"."""
    return " × ".join(str(n) for n in shape)
