"""The settings of a server. They stand in the host, where configuration files are read."""

from __future__ import annotations

from ...host.server_settings import JwtSettings, ServerSettings, TenantLimits

__all__ = ["JwtSettings", "ServerSettings", "TenantLimits"]
