"""The derivative of each operation on arrays: how a tangent is pushed forward, and how a gradient is pulled back."""
