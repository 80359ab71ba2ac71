"""Layer 0: the words and rules of a session. Pure: no I/O, no asyncio, no clock, no randomness."""
