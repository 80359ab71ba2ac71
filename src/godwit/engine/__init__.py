"""Layer 2: the loop and all that decides what a session does next. Imports contracts and core only."""
