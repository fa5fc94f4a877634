"""What Keywright knows, as pure functions over values: no clock, no I/O, no framework."""
