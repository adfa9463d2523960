"""Which accelerator can serve a model: memory, speed, waits and price of each, and why the others cannot."""
