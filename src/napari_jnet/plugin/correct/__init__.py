"""Correcting cells by key, click and stroke."""
