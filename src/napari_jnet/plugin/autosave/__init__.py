"""From labels layers to the project on disk, and back."""
