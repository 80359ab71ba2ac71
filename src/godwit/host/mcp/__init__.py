"""MCP servers: connections to them, how each is reached, with which secrets, and which ones files name."""
