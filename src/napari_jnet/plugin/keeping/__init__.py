"""What is painted, kept: the book of the frames, and the project that saves it."""
