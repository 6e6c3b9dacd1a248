"""Scores of labels against reference labels."""
