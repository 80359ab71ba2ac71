"""Layer 2: the files and commands of a session. Each module implements `godwit.contracts.Workspace`."""
