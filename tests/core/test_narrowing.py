"""An agent that works for another one is allowed no more than that one, nor than itself, in any field."""

from __future__ import annotations

import itertools
import posixpath
from ipaddress import ip_address
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings, strategies as st

from godwit.core.agent import AgentSpec, Limits
from godwit.core.checkpoint import CheckpointPolicy
from godwit.core.hosts import Hosts, target
from godwit.core.ids import AgentName
from godwit.core.mcp import McpServer
from godwit.core.narrowing import INHERIT, narrowed
from godwit.core.rules import ApprovalPolicy
from godwit.core.sandbox import ENVIRONMENT, HIDDEN, SandboxPolicy
from godwit.workspaces.sandboxes.enclosure import access_of

PATHS = (
    "/",
    "/a",
    "/a/b",
    "/a/b/c",
    "/a/../etc",
    "/ab",
    "~",
    "~/.ssh",
    "/home/u",
    "/home/u/.ssh",
    "/home/u/.ssh/id",
    "/etc/shadow",
)
NAMES = ("*", "PATH", "LC_*", "LC_ALL", "AWS_*", "AWS_SECRET_ACCESS_KEY", "MY_TOKEN", "MY_*", "MINE")
HOME = "/home/u"
CREDENTIALS = {"AWS_SECRET_ACCESS_KEY", "MY_TOKEN"}
paths = st.lists(st.sampled_from(PATHS), max_size=3, unique=True).map(tuple)
limit = st.none() | st.integers(1, 9)
HOSTS = ("a.example", "*.example", "*", "10.0.0.0/8", "10.1.2.3", "b.other:8080")
hosts = st.lists(st.sampled_from(HOSTS), max_size=3, unique=True).map(tuple)
networks: st.SearchStrategy[dict[str, Any]] = (
    st.builds(dict, network=st.booleans(), unix_sockets=st.booleans())
    | st.builds(dict, allowed_hosts=hosts, denied_hosts=hosts)
    | st.just({})
)


def policy(network: dict[str, Any], **rest: Any) -> SandboxPolicy:
    return SandboxPolicy(**network, **rest)


sandboxes = st.builds(
    policy,
    network=networks,
    backend=st.sampled_from(("auto", "bubblewrap", "landlock", "none")),
    writable=paths,
    readable=paths,
    hidden=paths,
    environment=st.none() | st.lists(st.sampled_from(NAMES), max_size=4, unique=True).map(tuple),
    links=st.sampled_from(((), (("/mnt/x", "x"),))),
    memory_bytes=limit,
    processes=limit,
    file_bytes=limit,
    cpu_s=limit,
    require=st.sampled_from(((), ("writes_confined",))),
) | st.just(SandboxPolicy(require=("network_off",)))
lanes = st.lists(st.sampled_from(("query", "execute", "generate")), max_size=3, unique=True).map(tuple)
approvals = st.builds(ApprovalPolicy, st.none() | st.floats(1, 9), st.sampled_from(("deny", "approve")), lanes)
of_children = {name: st.integers(1, 9) for name in ("max_depth", "max_children", "max_descendants", "max_turns")}
specs = st.builds(
    AgentSpec,
    st.just(AgentName("a")),
    st.sampled_from((("m:1",), ("m:2", "m:3"), (INHERIT,))),
    limits=st.builds(Limits, **of_children),
    approvals=approvals,
    sandbox=sandboxes,
    checkpoints=st.builds(CheckpointPolicy, enabled=st.booleans()),
)


def reaches(policy: SandboxPolicy, host: str, port: int) -> bool:
    """Whether commands come to a host that has this address, or this name and a public address."""
    if policy.network:
        return True
    wanted = target(host, port)
    assert wanted is not None
    lists = Hosts(policy.allowed_hosts, policy.denied_hosts)
    addresses = [wanted.address or ip_address("93.184.216.34")]
    return lists.refusal(wanted) is None and lists.verdict(wanted, addresses) is None


def passes(names: tuple[str, ...] | None, variable: str) -> bool:
    """Whether a sandbox of these names would pass the variable on, by the rule of the policy's own words."""
    listed = ENVIRONMENT if names is None else names
    starred = any(n.endswith("*") and variable.startswith(n[:-1]) for n in listed)
    return variable in listed or (starred and variable not in CREDENTIALS)


def access(policy: SandboxPolicy, path: str) -> str:
    """What becomes of a path, as `enclosure` says: the innermost counts, and of one path the later."""
    found = {"/": "read"}
    for group, what in (
        (("/home", "/root"), "hidden"),
        (("~",), "read"),
        (HIDDEN, "hidden"),
        (policy.readable, "read"),
        (policy.writable, "write"),
        (policy.hidden, "hidden"),
    ):
        for one in group:
            found[posixpath.normpath(one.replace("~", HOME))] = what
    return access_of(path, found)  # type: ignore[arg-type]


@settings(max_examples=400, deadline=None)
@given(specs, specs)
def test_no_more_than_either(child: AgentSpec, parent: AgentSpec) -> None:
    made = narrowed(child, parent, home=HOME)
    for name in of_children:
        if name != "max_turns":
            assert getattr(made.limits, name) == min(getattr(child.limits, name), getattr(parent.limits, name))
    assert made.limits.max_turns == child.limits.max_turns
    assert made.models == (parent.models if child.models == (INHERIT,) else child.models)
    assert set(made.approvals.auto) == set(child.approvals.auto) & set(parent.approvals.auto)
    if made.approvals.on_timeout == "approve" and made.approvals.timeout_s is not None:
        assert parent.approvals.on_timeout == "approve"
        assert parent.approvals.timeout_s is not None
        assert child.approvals.timeout_s is None or child.approvals.on_timeout == "approve"
    assert made.checkpoints.enabled == (child.checkpoints.enabled and parent.checkpoints.enabled)
    ours, own, theirs = made.sandbox, child.sandbox, parent.sandbox
    if not {*own.denied_hosts, *theirs.denied_hosts}:
        assert ours.network == (own.network and theirs.network)
    for place in itertools.product(("a.example", "b.other", "c.other", "10.1.2.3", "10.9.9.9"), (443, 8080)):
        if reaches(ours, *place):
            assert reaches(own, *place), place
            assert reaches(theirs, *place), place
    limited = bool(ours.allowed_hosts)
    assert ours.unix_sockets == (own.unix_sockets and theirs.unix_sockets and not limited)
    assert ours.links == theirs.links
    if ours.backend == "none":
        assert own.backend == theirs.backend == "none"
    if "bubblewrap" in (own.backend, theirs.backend):
        assert ours.backend == "bubblewrap"
    for name in ("memory_bytes", "processes", "file_bytes", "cpu_s"):
        given_ = [v for one in (own, theirs) if (v := getattr(one, name)) is not None]
        assert getattr(ours, name) == min(given_, default=None)
    assert {*own.require, *theirs.require} == set(ours.require)
    assert {*own.hidden, *theirs.hidden} <= set(ours.hidden)
    for variable in ("PATH", "LC_ALL", "AWS_REGION", "AWS_SECRET_ACCESS_KEY", "MY_TOKEN", "MINE", "OTHER"):
        if passes(ours.environment, variable):
            assert passes(theirs.environment, variable), variable
            assert own.environment is None or passes(own.environment, variable), variable
    order = ("hidden", "read", "write")
    for path in (
        "/a",
        "/a/b",
        "/a/b/c",
        "/a/b/c/d",
        "/etc",
        "/ab",
        "/home/u",
        "/home/u/x",
        "/home/u/.ssh",
        "/home/u/.ssh/id",
    ):
        assert order.index(access(ours, path)) <= order.index(access(own, path)), path
        assert order.index(access(ours, path)) <= order.index(access(theirs, path)), path


@given(specs.filter(lambda spec: spec.approvals.timeout_s is not None or spec.approvals.on_timeout == "deny"))
def test_one_that_works_for_its_like_stays_as_it_is(spec: AgentSpec) -> None:
    assert narrowed(spec, spec, home=HOME) == spec
    assert narrowed(spec, spec, home=HOME, max_turns=3).limits.max_turns == min(3, spec.limits.max_turns)


@pytest.mark.parametrize("field", AgentSpec.__struct_fields__)
def test_every_field_was_thought_of(field: str) -> None:
    """A new field that opens something belongs in `core.narrowing`; one that does not is named here."""
    narrows = {
        "models",
        "limits",
        "approvals",
        "sandbox",
        "checkpoints",
        "confirmation_inheritance",
        "web",
        "mcp_servers",
        "memory",
    }
    asked_of_all_above = {"permissions", "hooks", "budgets"}
    opens_nothing = {
        "name", "instructions", "description", "tools", "external_tools", "settings", "metadata", "verification", "title",
        "extensions", "subagents", "subagent_specs", "subagent_ids", "hidden", "context", "context_files", "skills", "modes",
        "output", "nudges", "tool_search", "client_tools",
    }  # fmt: skip
    assert field in narrows | asked_of_all_above | opens_nothing


servers = st.lists(
    st.builds(
        McpServer,
        st.sampled_from(("a", "b")),
        st.sampled_from(("https://a.example", "https://b.example")),
        st.none() | st.lists(st.sampled_from("xyz"), unique=True).map(tuple),
        st.lists(st.sampled_from("xyz"), unique=True).map(tuple),
        st.sampled_from((1.0, 9.0)),
    ),
    max_size=2,
    unique_by=lambda server: server.name,
).map(tuple)


@given(servers, servers)
def test_a_child_has_no_tool_of_a_server_that_not_both_have(
    own: tuple[McpServer, ...], theirs: tuple[McpServer, ...]
) -> None:
    child = AgentSpec(AgentName("c"), ("m:1",), mcp_servers=own)
    parent = AgentSpec(AgentName("p"), ("m:1",), mcp_servers=theirs)

    def tools(of: tuple[McpServer, ...]) -> set[tuple[str, str, str]]:
        return {(server.name, server.url, tool) for server in of for tool in "xyz" if server.has(tool)}

    made = narrowed(child, parent, home=HOME).mcp_servers
    assert tools(made) == tools(own) & tools(theirs)
    assert {(s.name, s.url) for s in made} == {(s.name, s.url) for s in own} & {(s.name, s.url) for s in theirs}
    assert all(server.timeout_s <= of.timeout_s for server in made for of in (*own, *theirs) if of.name == server.name)


def test_what_is_stored_is_the_same_for_the_same_two() -> None:
    child, parent = AgentSpec(AgentName("c"), (INHERIT,)), AgentSpec(AgentName("p"), ("m:1",))
    assert msgspec.json.encode(narrowed(child, parent, home=HOME)) == msgspec.json.encode(narrowed(child, parent, home=HOME))
