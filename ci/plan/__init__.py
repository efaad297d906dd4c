"""What would run, and whether it may. Pure: every input is an argument, the clock included."""
