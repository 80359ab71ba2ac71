"""Layer 2: what answers. Each module implements `godwit.contracts.Model`; providers load on first use."""
