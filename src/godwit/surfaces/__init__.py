"""Layer 4: one module per protocol or screen; none knows another."""
