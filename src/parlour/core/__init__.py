"""What is true: pure and synchronous rules. No clock, no randomness, no I/O."""
