"""Measurements of godwit: `python -m bench`. docs/performance.md says how to read them."""
