"""Other libraries on the same rows, each in its own pinned environment."""
