"""Opening stacks: the reader, the step Stack and the sample data."""
