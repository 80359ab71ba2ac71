"""Layer 3: construction and what keeps sessions alive."""
