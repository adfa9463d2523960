"""A file of lines: its alphabet, its splits, and the arrays that models learn from."""
