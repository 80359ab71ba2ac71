"""The environment of a session: none, a folder of its own on this machine, and (not here) one that the application hosts.

`/workspace` of the protocol is the session's folder (`LINK`). What would have to be fetched or run before the agent starts
is refused, but for packages of registries.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

import msgspec
import pydantic

from ...core.agent import AgentSpec
from ...core.errors import ConfigurationError, InvalidArgument, NotSupported
from ...core.hosts import ANY, both, entry
from ...core.packages import MOST, Manager, package
from ..server.hosts import hosts_of
from .agent_shapes import SURFACE
from .body import Shape

ROOT = "/workspace"
LINK = (ROOT, ".")
"""Where file tools find the session's folder beside its own place, and commands where a sandbox can show it there."""
WORKSPACE_TOOLS = ("bash", "files", "read", "write", "edit", "patch", "ls", "glob", "grep", "verify")
"""Godwit's tools that need a folder."""


class NoEnvironment(Shape):
    type: Literal["none"]


class Desktop(Shape):
    enabled: bool


class Network(Shape):
    access: Literal["enabled", "disabled", "restricted"]
    allowed_domains: list[str] | None = None
    blocked_domains: list[str] | None = None


class Packages(Shape):
    npm: list[str] | None = None
    python: list[str] | None = None
    system: list[str] | None = None


class InlineFile(Shape):
    type: Literal["inline"]
    path: str
    data: str


class UploadedFile(Shape):
    type: Literal["file_id"]
    path: str
    file_id: str


class Hosted(Shape):
    type: Literal["openai_hosted"]
    capability_directories: list[str] | None = None
    container_size: Literal["small", "medium", "large"] | None = None
    desktop: Desktop | None = None
    env: dict[str, str] | None = None
    environment_id: str | None = None
    environment_template_id: str | None = None
    files: list[Annotated[InlineFile | UploadedFile, pydantic.Field(discriminator="type")]] | None = None
    network: Network | None = None
    packages: Packages | None = None
    plugins: list[dict[str, Any]] | None = None
    setup_commands: list[dict[str, Any]] | None = None
    skills: list[dict[str, Any]] | None = None


class SelfHosted(Shape):
    type: Literal["self_hosted"]
    workspace_directory: str
    capability_directories: list[str] | None = None


Environment = Annotated[NoEnvironment | Hosted | SelfHosted, pydantic.Field(discriminator="type")]


class Plan(msgspec.Struct, frozen=True):
    """What is to be made for a session. `hosted`: a folder with these files, by paths within it, and these variables.
    `uploads`: the ids of those files that were uploaded, by their paths. `allowed`, `denied`: the hosts of a network that is
    restricted. `held`: whether the client has said how far the network goes, so that nothing may open it further.
    `shown`: what the environment says of its network and packages, where that is not what it says anyway."""

    hosted: bool
    network: bool = False
    allowed: tuple[str, ...] = ()
    denied: tuple[str, ...] = ()
    held: bool = False
    packages: tuple[str, ...] = ()
    shown: Mapping[str, Any] = {}
    variables: Mapping[str, str] = {}
    files: Mapping[str, bytes] = {}
    uploads: Mapping[str, str] = {}


def planned(given: Environment, contents: Mapping[str, bytes], reach: Sequence[str] = ()) -> Plan:
    """`contents`: of the uploaded files it names, by their ids. `reach`: the hosts that are not public and may be named.
    InvalidArgument, NotSupported."""
    match given:
        case NoEnvironment():
            return Plan(False)
        case SelfHosted():
            raise NotSupported(
                "environment.type: self_hosted needs an executor that connects from outside; use openai_hosted or none",
                param="environment.type",
            )
        case Hosted():
            return _hosted(given, contents, reach)


def _hosted(given: Hosted, contents: Mapping[str, bytes], reach: Sequence[str]) -> Plan:
    for name, why in (
        ("environment_id", "no environment is made before its session"),
        ("environment_template_id", "there are no templates"),
        ("capability_directories", "nothing is read from them"),
        ("plugins", "there are none"),
        ("setup_commands", "nothing is run before the agent"),
        ("skills", "there are none"),
    ):
        if getattr(given, name):
            raise NotSupported(f"environment.{name}: {why}; leave it out", param=f"environment.{name}")
    if given.desktop is not None and given.desktop.enabled:
        raise NotSupported("environment.desktop: there is none; leave it out", param="environment.desktop")
    packages, installed = _packages(given.packages or Packages())
    network = given.network or Network(access="disabled")
    allowed, denied = _hosts(network, reach)
    shown: dict[str, Any] = {"packages": packages} if installed else {}
    if network.access == "restricted":
        shown["network"] = {"access": "restricted", "allowed_domains": network.allowed_domains or []}
        if network.blocked_domains:
            shown["network"]["blocked_domains"] = network.blocked_domains
    files: dict[str, bytes] = {}
    uploads: dict[str, str] = {}
    for place, file in enumerate(given.files or ()):
        at = f"environment.files.{place}"
        path = _path(file.path, f"{at}.path")
        if path in files or any(path.startswith(f"{p}/") or p.startswith(f"{path}/") for p in files):
            raise InvalidArgument(f"{at}.path: {file.path!r} clashes with another file", param=f"{at}.path")
        if isinstance(file, UploadedFile):
            files[path], uploads[path] = contents[file.file_id], file.file_id
        else:
            files[path] = _decoded(file.data, f"{at}.data")
    for name in given.env or {}:
        if not name or "=" in name or "\0" in name or "\0" in (given.env or {})[name]:
            raise InvalidArgument(f"environment.env: {name!r} is no variable", param="environment.env")
    open_ = network.access == "enabled"
    held = given.network is not None and not open_
    return Plan(True, open_, allowed, denied, held, installed, shown, dict(given.env or {}), files, uploads)


def _hosts(network: Network, reach: Sequence[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Those that are allowed and those that are not. InvalidArgument."""
    at = "environment.network"
    given, blocked = network.allowed_domains or [], network.blocked_domains or []
    if blocked and (network.access != "restricted" or given):
        raise InvalidArgument(
            f"{at}.blocked_domains: they need access restricted, and no allowed_domains", param=f"{at}.blocked_domains"
        )
    if given and network.access != "restricted":
        raise InvalidArgument(f"{at}.allowed_domains: they need access restricted", param=f"{at}.allowed_domains")
    if any("*" in one for one in blocked):
        raise InvalidArgument(
            f"{at}.blocked_domains: name domains without *; all below them are blocked as well",
            param=f"{at}.blocked_domains",
        )
    allowed = hosts_of(given, reach=reach, param=f"{at}.allowed_domains")
    denied = hosts_of(blocked, reach=None, param=f"{at}.blocked_domains")
    if not denied:
        return allowed, ()
    return (ANY,), (*denied, *(f"*.{one}" for one in denied if entry(one).name is not None))


_MANAGERS: Mapping[str, Manager] = {"system": "apt", "npm": "npm", "python": "pip"}


def _packages(given: Packages) -> tuple[dict[str, list[str]], tuple[str, ...]]:
    """What is shown of them, and what is installed. InvalidArgument."""
    found: list[str] = []
    for kind, manager in _MANAGERS.items():
        specs: list[str] = getattr(given, kind) or []
        if len(specs) > MOST:
            raise InvalidArgument(f"environment.packages.{kind}: more than {MOST}", param=f"environment.packages.{kind}")
        for number, spec in enumerate(specs):
            try:
                package(f"{manager}:{spec}")
            except ConfigurationError as error:
                at = f"environment.packages.{kind}.{number}"
                raise InvalidArgument(f"{at}: {error.message}", param=at) from None
            found.append(f"{manager}:{spec}")
    return {kind: getattr(given, kind) or [] for kind in ("npm", "python", "system")}, tuple(found)


def _path(given: str, param: str) -> str:
    """The path within the folder."""
    parts = given.removeprefix(f"{ROOT}/").split("/")
    if not given.startswith(f"{ROOT}/") or "\0" in given or "\\" in given or any(p in ("", ".", "..") for p in parts):
        raise InvalidArgument(f"{param}: {given[:200]!r} is no absolute path of a file below {ROOT}", param=param)
    return "/".join(parts)


def _decoded(data: str, param: str) -> bytes:
    try:
        return base64.b64decode(data, validate=True)
    except (binascii.Error, ValueError):
        raise InvalidArgument(f"{param}: it is no base64", param=param) from None


def with_environment(spec: AgentSpec, plan: Plan, environment: str, hidden: str | None) -> AgentSpec:
    """The spec as it works there. `environment`: its id. `hidden`: the folder that holds the folders of all sessions."""
    if not plan.hosted:
        return msgspec.structs.replace(spec, tools=tuple(name for name in spec.tools if name not in WORKSPACE_TOOLS))
    tools = spec.tools if any(name in WORKSPACE_TOOLS for name in spec.tools) else ("bash", "files", *spec.tools)
    paths = spec.sandbox.hidden if hidden is None or hidden in spec.sandbox.hidden else (*spec.sandbox.hidden, hidden)
    links = spec.sandbox.links if LINK in spec.sandbox.links else (*spec.sandbox.links, LINK)
    own = spec.sandbox
    network, allowed = plan.network, plan.allowed
    if network and (own.allowed_hosts or own.denied_hosts):  # the agent's own list limits it here as well
        network, allowed = False, own.allowed_hosts or (ANY,)
    elif allowed and own.allowed_hosts:
        allowed = both(allowed, own.allowed_hosts)
    require = own.require
    if plan.held and ("bash" in tools or spec.verification is not None):
        require = tuple(dict.fromkeys((*require, "network_limited" if allowed else "network_off")))
    sandbox = msgspec.structs.replace(
        own,
        network=network,
        allowed_hosts=allowed,
        denied_hosts=tuple(dict.fromkeys((*own.denied_hosts, *plan.denied))),
        unix_sockets=own.unix_sockets and not allowed and not plan.held,
        require=require,
        packages=tuple(dict.fromkeys((*own.packages, *plan.packages))),
        hidden=paths,
        links=links,
    )
    shown = [
        {
            **({"type": "file_id", "file_id": plan.uploads[path]} if path in plan.uploads else {"type": "inline"}),
            "id": f"{environment}_file_{n}",
            "path": f"{ROOT}/{path}",
            "size_bytes": len(content),
        }
        for n, (path, content) in enumerate(plan.files.items())
    ]
    said = {**spec.extensions.get(SURFACE, {}), **plan.shown, "files": shown}
    if not shown:
        said.pop("files")
    extensions = {**spec.extensions, SURFACE: said} if said else spec.extensions
    return msgspec.structs.replace(spec, tools=tools, sandbox=sandbox, extensions=extensions)
