"""Widgets and styles that the pages share."""
