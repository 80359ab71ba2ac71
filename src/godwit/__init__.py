"""godwit: a runtime for durable agent sessions."""
