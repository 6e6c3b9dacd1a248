"""The steps together in one dock, with what to do next, and the guide."""
