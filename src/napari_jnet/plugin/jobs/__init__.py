"""Long jobs that run in threads beside the window."""
