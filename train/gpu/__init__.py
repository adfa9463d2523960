"""Which accelerators train a preset: memory, speed, days and money of each, and why the others do not."""
