"""Colours that follow napari's theme: readable on it, and changed with it."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any
from weakref import WeakKeyDictionary

from napari.settings import get_settings
from napari.utils.theme import available_themes, get_theme
from qtpy.QtGui import QColor
from qtpy.QtWidgets import QWidget

_LEAST = 4.5
"""Contrast of text, as the Web Content Accessibility Guidelines ask for (level AA)."""
_LEAST_OF_LINES = 3.0

_HUES = {
    "error": "#ff6b5e",
    "warning": "#ffb347",
    "success": "#6fd08c",
    "accent": "#4d8bff",
    "pointer": "#f2c14e",
    "batch": "#6f8096",
    "training": "#4fb3ff",
    "validation": "#ffb347",
    "iou": "#6fd08c",
    "seg": "#e58bd6",
    "rate": "#c9cf6a",
}

_LINES = {"pointer", "batch", "training", "validation", "iou", "seg", "rate"}
_theme: str | None = None
_palettes: dict[str, dict[str, str]] = {}
_styled: WeakKeyDictionary[QWidget, str] = WeakKeyDictionary()
_listeners: WeakKeyDictionary[QWidget, Callable[[], None]] = WeakKeyDictionary()


def contrast(first: str, second: str) -> float:
    """Return the contrast of two colours, 1 (none) to 21 (black on white), by WCAG 2."""
    light, dark = sorted((_luminance(first), _luminance(second)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def palette(theme: str | None = None) -> dict[str, str]:
    """Return the colours of a theme, each as ``#rrggbb``.

    Parameters
    ----------
    theme
        Name of a theme of napari; None takes the one in use.

    Returns
    -------
    dict
        ``text``, ``muted``, ``error``, ``warning``, ``success`` and ``accent`` are for text, and
        readable on ``background`` and on ``card``; ``edge`` and the others are for lines.
    """
    name = theme or _theme or str(get_settings().appearance.theme)
    known = get_theme(name if name in available_themes() else "dark")
    background, card = _hex(known.background), _hex(known.foreground)
    text = _readable(_hex(known.text), (background, card), _LEAST)
    colors = {
        "background": background,
        "card": card,
        "edge": _hex(known.secondary),
        "text": text,
        "muted": _readable(_mixed(text, background, 0.4), (background, card), _LEAST),
    }
    for role, hue in _HUES.items():
        least = _LEAST_OF_LINES if role in _LINES else _LEAST
        colors[role] = _readable(hue, (background, card), least)
    return colors


def color(role: str) -> str:
    """Return a colour of the theme in use; see `palette`."""
    return palette()[role]


def set_style(widget: QWidget, template: str) -> None:
    """Give a widget a style sheet, and again whenever the theme changes.

    Parameters
    ----------
    widget
        The widget.
    template
        A style sheet with ``@error`` and the like for the colours of `palette`; "" takes it away.
    """
    _listen()
    _styled[widget] = template
    widget.setStyleSheet(_filled(template))


def when_themed(widget: QWidget, call: Callable[[], None]) -> None:
    """Call now, and whenever the theme changes, for as long as a widget lives."""
    _listen()
    _listeners[widget] = call
    call()


def use_theme(name: Any = None) -> None:
    """Take another theme, by its name, for all widgets; None asks napari's settings."""
    global _theme
    _theme = None if name is None else str(name)
    for widget, template in list(_styled.items()):
        with suppress(RuntimeError):  # Qt has deleted it
            widget.setStyleSheet(_filled(template))
    for call in list(_listeners.values()):
        with suppress(RuntimeError):
            call()


def _changed(_event: Any = None) -> None:
    use_theme()


def _listen() -> None:
    # connecting twice connects once
    get_settings().appearance.events.theme.connect(_changed)


def _filled(template: str) -> str:
    for role, value in palette().items():
        template = template.replace(f"@{role}", value)
    return template


def _hex(value: Any) -> str:
    return str(
        QColor(value.as_hex(format="long") if hasattr(value, "as_hex") else str(value)).name()
    )


def _parts(value: str) -> tuple[float, float, float]:
    shade = QColor(value)
    return shade.redF(), shade.greenF(), shade.blueF()


def _luminance(value: str) -> float:
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in _parts(value)]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def _mixed(first: str, second: str, share: float) -> str:
    mixed = [a + (b - a) * share for a, b in zip(_parts(first), _parts(second), strict=True)]
    return str(QColor.fromRgbF(*mixed).name())


def _readable(value: str, backgrounds: tuple[str, ...], least: float) -> str:
    """Darken or brighten a colour until it stands out from all backgrounds."""

    def worst(candidate: str) -> float:
        return min(contrast(candidate, background) for background in backgrounds)

    goal = max(("#000000", "#ffffff"), key=worst)
    steps = [_mixed(value, goal, step / 20) for step in range(21)]
    return next((shade for shade in steps if worst(shade) >= least), goal)
