"""What is damaged in a project, said in the window until it is seen."""

from __future__ import annotations

from collections.abc import Mapping

from napari.utils.notifications import show_warning

from napari_jnet.plugin.session import Session

__all__ = ["damage_words", "say_trouble"]

_MOST = 5  # frames that are named


def damage_words(damaged: Mapping[int, str]) -> str:
    """Say which painted frames could not be read, and what becomes of their files.

    Parameters
    ----------
    damaged
        Frame number -> why, in words that name the file.
    """
    if not damaged:
        return ""
    numbers = sorted(damaged)
    if len(numbers) == 1:
        return f"{damaged[numbers[0]]} The frame is empty here until then."
    named = ", ".join(map(str, numbers[:_MOST]))
    more = f" and {len(numbers) - _MOST} more" if len(numbers) > _MOST else ""
    return f"Frames {named}{more} are damaged, and empty here. The first: {damaged[numbers[0]]}"


def say_trouble(session: Session, *what: str) -> None:
    """Say it in the window, also where none of our widgets is open; in the window's thread.

    Parameters
    ----------
    session
        Of the viewer; what it said before stays.
    what
        Sentences; empty ones say nothing.
    """
    said = session.trouble
    for words in filter(None, what):
        if words not in said:
            said = f"{said}\n\n{words}".strip()
            show_warning(f"A file of your work is damaged. {words}")
    session.trouble = said
