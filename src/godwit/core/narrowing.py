"""Narrowing: what an agent becomes when it works for another one: never allowed more, often less.

Pure. Permission rules and hooks are not here: they hold as they stand at the moment of a call, so the engine asks those of
all sessions above as well. Rule: every field of an agent that opens something is looked at here; a new one belongs here too.
"""

from __future__ import annotations

import posixpath

import msgspec

from .agent import AgentSpec, Limits
from .hosts import both
from .mcp import McpServer, Sampling
from .memory import MemoryPolicy
from .rules import ApprovalPolicy, Permissions
from .sandbox import CREDENTIAL, ENVIRONMENT, HIDDEN, Backend, SandboxPolicy, tightened
from .web import below

INHERIT = "inherit"
"""In place of an agent's models: those of the agent it works for."""


def narrowed(child: AgentSpec, parent: AgentSpec, *, home: str, max_turns: int | None = None) -> AgentSpec:
    """The child's agent as it may work for `parent`. `home`: the folder that `~` stands for in paths. `max_turns`: of this
    task. ConfigurationError when the two sandboxes contradict each other."""
    confirming = child.confirmation_inheritance
    return msgspec.structs.replace(
        child,
        permissions=_unasked(child.permissions) if confirming == "auto_approve" else child.permissions,
        confirmation_inheritance="inherit_parent",
        models=parent.models if child.models == (INHERIT,) else child.models,
        limits=_limits(child.limits, parent.limits, max_turns),
        approvals=_approvals(child.approvals, parent.approvals, asks=confirming != "deny_on_ask"),
        sandbox=_sandbox(child.sandbox, parent.sandbox, home),
        checkpoints=child.checkpoints if parent.checkpoints.enabled else parent.checkpoints,
        mcp_servers=_servers(child.mcp_servers, parent.mcp_servers),
        web=below(child.web, parent.web),
        memory=_memory(child.memory, parent.memory),
    )


def _memory(child: MemoryPolicy | None, parent: MemoryPolicy | None) -> MemoryPolicy | None:
    """The child's, which writes nowhere that the parent does not."""
    allowed = (parent or MemoryPolicy()).writes
    given = child or MemoryPolicy(recall=False)
    writes = tuple(scope for scope in given.writes if scope in allowed)
    if writes == given.writes:
        return child
    scope = given.scope if given.scope in writes or not writes else writes[0]
    return msgspec.structs.replace(given, writes=writes, scope=scope)


def _servers(child: tuple[McpServer, ...], parent: tuple[McpServer, ...]) -> tuple[McpServer, ...]:
    """The child's servers that the parent has as well, with the tools that both have.

    Under the same name: the parent's rules are about it. Reached in the same way: a name alone says nothing.
    """
    theirs = {(server.name, server.link): server for server in parent}
    found = []
    for own in child:
        if (of_parent := theirs.get((own.name, own.link))) is not None:
            tools = own.tools if of_parent.tools is None else of_parent.tools
            if own.tools is not None and of_parent.tools is not None:
                tools = tuple(tool for tool in own.tools if tool in of_parent.tools)
            without = tuple(dict.fromkeys((*own.without, *of_parent.without)))
            found.append(
                msgspec.structs.replace(
                    own,
                    tools=tools,
                    without=without,
                    timeout_s=min(own.timeout_s, of_parent.timeout_s),
                    enabled=own.enabled and of_parent.enabled,
                    sampling=min(own.sampling, of_parent.sampling, key=_STRICT.index),
                )
            )
    return tuple(found)


_STRICT: tuple[Sampling, ...] = ("deny", "ask", "allow")


def _limits(child: Limits, parent: Limits, max_turns: int | None) -> Limits:
    of_children = ("max_depth", "max_children", "max_descendants")
    lower = {name: min(getattr(child, name), getattr(parent, name)) for name in of_children}
    if max_turns is not None:
        lower["max_turns"] = min(child.max_turns, max_turns)
    return msgspec.structs.replace(child, **lower)


def _unasked(own: Permissions) -> Permissions:
    """The same rules, of which none asks. What they deny stays denied, and the rules above ask as before."""
    return Permissions((*own.allow, *own.ask), (), own.deny, "allow" if own.default == "ask" else own.default)


def _approvals(child: ApprovalPolicy, parent: ApprovalPolicy, *, asks: bool) -> ApprovalPolicy:
    """A child's policy without a time says nothing of what becomes of a question, so the parent's holds."""
    timeout_s = parent.timeout_s if child.timeout_s is None else child.timeout_s
    approves = parent.on_timeout == "approve" and parent.timeout_s is not None
    if child.timeout_s is not None:
        approves = approves and child.on_timeout == "approve"
    return ApprovalPolicy(
        timeout_s,
        "approve" if approves else "deny",
        tuple(lane for lane in child.auto if lane in parent.auto),
        "wait" if asks and child.on_ask == parent.on_ask == "wait" else "deny",
    )


def _sandbox(child: SandboxPolicy, parent: SandboxPolicy, home: str) -> SandboxPolicy:
    if child == parent:
        return child
    # What opens something is narrowed first: a network that the child may not have contradicts no promise of the parent.
    hosts = _hosts(child, parent)
    narrower = msgspec.structs.replace(
        child,
        backend=_backend(child.backend, parent.backend),
        network=child.network and parent.network,
        allowed_hosts=hosts,
        unix_sockets=child.unix_sockets and parent.unix_sockets and not hosts,
        environment=_environment(child.environment, parent.environment),
        links=parent.links,
        packages=parent.packages,
        **_places(child, parent, home),
    )
    return tightened(narrower, parent)


def _hosts(child: SandboxPolicy, parent: SandboxPolicy) -> tuple[str, ...]:
    if parent.network:
        return child.allowed_hosts
    return parent.allowed_hosts if child.network else both(child.allowed_hosts, parent.allowed_hosts)


def _backend(child: Backend, parent: Backend) -> Backend:
    """The parent's, unless the child's confines more for certain. Nobody is unconfined because somebody else is."""
    if "bubblewrap" in (child, parent):
        return "bubblewrap"
    return child if parent == "none" else parent


def _places(child: SandboxPolicy, parent: SandboxPolicy, home: str) -> dict[str, tuple[str, ...]]:
    """Of each path that either names, the lesser of what the two may do there.

    Where one path lies within another the inner one counts, so what lies between is only right if every path is named.
    """
    own, theirs = _access(child, parent, home), _access(parent, parent, home)
    found: dict[str, list[str]] = {what: [] for what in _RANKS}
    named = (child.writable, child.readable, child.hidden, parent.writable, parent.readable, parent.hidden)
    for path in dict.fromkeys(path for paths in named for path in paths):
        place = _place(path, home)
        found[min(_at(place, own), _at(place, theirs), key=_RANKS.index)].append(path)
    return {name: tuple(paths) for name, paths in found.items()}


_RANKS = ("hidden", "readable", "writable")
_Access = dict[tuple[str, ...], str]


def _access(policy: SandboxPolicy, parent: SandboxPolicy, home: str) -> _Access:
    """What may be done where; of one path the last counts. What hides by itself is hidden here as well, and more than that:
    only what is opened by name is open there."""
    found: _Access = {(): "readable"}
    folders = [place.rpartition("/")[0] or place for place, _ in parent.links]
    for paths, what in (
        ((*folders, "/home", "/root", "/Users", "/etc/ssh"), "hidden"),
        (("~",), "readable"),
        (HIDDEN, "hidden"),
        (policy.readable, "readable"),
        (policy.writable, "writable"),
        (policy.hidden, "hidden"),
    ):
        found.update((_place(path, home), what) for path in paths)
    return found


def _at(place: tuple[str, ...], access: _Access) -> str:
    while place not in access:
        place = place[:-1]
    return access[place]


def _place(path: str, home: str) -> tuple[str, ...]:
    """The names on the way there from the root."""
    if path == "~" or path.startswith("~/"):
        path = home + path[1:]
    elif path.startswith("~"):
        path = f"/home/{path}"  # of somebody else: hidden, unless it is named
    return tuple(name for name in posixpath.normpath(path).split("/") if name)


def _environment(child: tuple[str, ...] | None, parent: tuple[str, ...] | None) -> tuple[str, ...] | None:
    if child is None:
        return parent
    allowed = ENVIRONMENT if parent is None else parent
    return tuple(name for name in child if any(_covers(rule, name) for rule in allowed))


def _covers(rule: str, name: str) -> bool:
    if name == rule:
        return True
    # A star passes no credentials on, a full name does.
    full = not name.endswith("*") and CREDENTIAL.search(name) is not None
    return rule.endswith("*") and name.startswith(rule[:-1]) and not full


__all__ = ["INHERIT", "narrowed"]
