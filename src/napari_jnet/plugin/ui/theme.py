"""Colours that follow napari's theme: readable on it, and changed with it."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from weakref import WeakKeyDictionary

from napari.settings import get_settings
from napari.utils.theme import available_themes, get_theme
from qtpy.QtGui import QColor
from qtpy.QtWidgets import QWidget

# readable on background and card of napari's own themes: contrast 4.5 for text, 3 for lines (WCAG 2, AA)
# role -> on a dark and on a light theme
_COLORS = {
    "muted": ("#9e9fa2", "#5f5e5f"),
    "error": ("#ff6b5e", "#994038"),
    "warning": ("#ffb347", "#735120"),
    "success": ("#6fd08c", "#386846"),
    "accent": ("#689cff", "#325aa6"),
    "pointer": ("#f2c14e", "#91742f"),
    "batch": ("#6f8096", "#697a8f"),
    "training": ("#4fb3ff", "#377db3"),
    "validation": ("#ffb347", "#996b2b"),
    "iou": ("#6fd08c", "#48875b"),
    "seg": ("#e58bd6", "#a06196"),
    "rate": ("#c9cf6a", "#797c40"),
}

_theme = ""  # of the viewer; before there is one, that of napari's settings
_styled: WeakKeyDictionary[QWidget, str] = WeakKeyDictionary()
_listeners: WeakKeyDictionary[QWidget, Callable[[], None]] = WeakKeyDictionary()


def palette() -> dict[str, str]:
    """Return the colours of the theme in use, each as ``#rrggbb``.

    ``text``, ``muted``, ``error``, ``warning``, ``success`` and ``accent`` are for text on
    ``background`` and on ``card``; ``edge`` and the others are for lines.
    """
    name = _theme or str(get_settings().appearance.theme)
    theme = get_theme(name if name in available_themes() else "dark")
    own = {
        "background": theme.background,
        "card": theme.foreground,
        "edge": theme.secondary,
        "text": theme.text,
    }
    colors = {role: str(value.as_hex(format="long")) for role, value in own.items()}
    dark = QColor(colors["background"]).lightnessF() < 0.5
    return colors | {
        role: on_dark if dark else on_light for role, (on_dark, on_light) in _COLORS.items()
    }


def color(role: str) -> str:
    """Return a colour of the theme in use; see `palette`."""
    return palette()[role]


def set_style(widget: QWidget, template: str) -> None:
    """Give a widget a style sheet, and again whenever the theme changes.

    In it ``@error`` and the like stand for the colours of `palette`; "" takes the style away.
    """
    _styled[widget] = template
    widget.setStyleSheet(_filled(template))


def when_themed(widget: QWidget, call: Callable[[], None]) -> None:
    """Call now, and whenever the theme changes, for as long as a widget lives."""
    _listeners[widget] = call
    call()


def use_theme(name: str) -> None:
    """Take another theme, by its name, for all widgets."""
    global _theme
    _theme = name
    for widget, template in list(_styled.items()):
        with suppress(RuntimeError):  # Qt has deleted it
            widget.setStyleSheet(_filled(template))
    for call in list(_listeners.values()):
        with suppress(RuntimeError):
            call()


def _filled(template: str) -> str:
    for role, value in palette().items():
        template = template.replace(f"@{role}", value)
    return template
