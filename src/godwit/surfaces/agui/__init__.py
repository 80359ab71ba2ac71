"""AG-UI: the protocol by which front ends follow an agent and answer it.

Two things: what any program needs to produce its streams, without the rest of godwit (`AgentSession`, `verify`, the events);
and the sessions of a server in it (`app.py`). Everything is loaded when it is used.
"""
