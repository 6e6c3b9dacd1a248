"""Napari's layers: read, add, watch and edit them."""
