"""What confines commands: `enclosure` says what may be touched, a backend each sees to it, `choice` picks one.

Each backend is a `godwit.contracts.Sandbox`. Leaves out starting and ending a command, which is `workspaces.command`.
"""
