"""All keys of the plugin: `KEYS` lists them, `bind_keys` lets them act, `key_table` changes them."""

from napari_jnet.plugin.keys.binding import Keyboard, bind_keys, keyboard
from napari_jnet.plugin.keys.listing import KEYS, KeyAction, KeyTable, key_table, with_key

__all__ = [
    "KEYS",
    "KeyAction",
    "KeyTable",
    "Keyboard",
    "bind_keys",
    "key_table",
    "keyboard",
    "with_key",
]
