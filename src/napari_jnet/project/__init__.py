"""One person's work on one stack: annotations, roles, runs, and where the images are."""
