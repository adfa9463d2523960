"""The derivative of each operation on arrays, as two functions: one for forward mode, one for reverse mode."""
