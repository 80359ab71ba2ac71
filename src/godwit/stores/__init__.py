"""Layer 2: where logs are kept. Each module implements `godwit.contracts.EventStore`."""
