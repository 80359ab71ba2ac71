"""Godwit as an MCP server: agents and sessions as tools and resources, over streamable HTTP and stdio.

The package of the protocol is loaded with the first request, since it takes a second: `app` and what it needs until then
import none of it.
"""

from .app import McpServer

__all__ = ["McpServer"]
