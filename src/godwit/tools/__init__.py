"""Layer 2: what a model can call. Each module implements `godwit.contracts.Tool`."""
