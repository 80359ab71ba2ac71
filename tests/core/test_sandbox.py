"""What a sandbox policy may say, and how a table of a configuration file becomes one."""

from __future__ import annotations

import tomllib
from typing import Any

import msgspec
import pytest

from godwit.core.errors import ConfigurationError
from godwit.core.sandbox import (
    ENVIRONMENT,
    HIDDEN,
    PROMISES,
    SandboxPolicy,
    combined,
    only_stricter,
    sandbox_policy,
    tightened,
)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"memory_bytes": 0}, "memory_bytes=0 must be more than 0"),
        ({"processes": -1}, "processes=-1 must be more than 0"),
        ({"writable": ("relative",)}, "writable path 'relative' is not absolute"),
        ({"readable": ("/a\0b",)}, "readable path '/a\\x00b' is not absolute"),
        ({"hidden": ("./x",)}, "hidden path './x' is not absolute"),
        ({"environment": ("A-B",)}, "environment 'A-B' is no name"),
        ({"environment": ("",)}, "environment '' is no name"),
        ({"environment": ("A*B",)}, "environment 'A*B' is no name"),
        ({"links": (("/", "a"),)}, "links place '/' is not a plain absolute path"),
        ({"links": (("mnt/a", "a"),)}, "links place 'mnt/a' is not a plain absolute path"),
        ({"links": (("/mnt/../etc", "a"),)}, "links place '/mnt/../etc' is not a plain absolute path"),
        ({"links": (("/mnt/a", "../b"),)}, "links folder '../b' is not a path within the workspace"),
        ({"links": (("/mnt/a", "/etc"),)}, "links folder '/etc' is not a path within the workspace"),
        ({"allowed_hosts": ("https://a.example",)}, "'https://a.example' is neither a host name"),
        ({"denied_hosts": ("a b",)}, "'a b' is neither a host name"),
        ({"allowed_hosts": ("a.example",), "network": True}, "has allowed_hosts and network=True (the whole network)"),
        ({"denied_hosts": ("a.example",), "network": True}, "has denied_hosts and network=True (the whole network)"),
        ({"allowed_hosts": ("a.example",), "unix_sockets": True}, "has allowed_hosts and unix_sockets=True"),
        ({"allowed_hosts": ("a.example",), "require": ("network_off",)}, "requires network_off and has allowed_hosts"),
        ({"network": True, "require": ("network_limited",)}, "requires network_limited and has network=True"),
        ({"require": ("safety",)}, "requires 'safety', which is no promise: take writes_confined, "),
        ({"require": ("network_off",), "network": True}, "requires network_off and has network=True: choose one"),
        ({"require": ("network_off",), "unix_sockets": True}, "requires network_off and has unix_sockets=True"),
    ],
)
def test_what_cannot_be_is_refused(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        SandboxPolicy(**fields)
    assert message in caught.value.message


def test_a_table_becomes_a_policy() -> None:
    table = tomllib.loads("""
        backend = "bubblewrap"
        network = true
        writable = ["~/.cache", "/srv/out"]
        environment = ["PATH", "LC_*"]
        memory_bytes = 2_000_000_000
        require = ["writes_confined", "no_survivors"]
    """)
    policy = sandbox_policy(table)
    assert policy == SandboxPolicy(
        backend="bubblewrap",
        network=True,
        writable=("~/.cache", "/srv/out"),
        environment=("PATH", "LC_*"),
        memory_bytes=2_000_000_000,
        require=("writes_confined", "no_survivors"),
    )
    assert msgspec.convert(msgspec.to_builtins(policy), SandboxPolicy) == policy
    assert sandbox_policy({}) == SandboxPolicy()


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"netwrok": True}, "godwit.toml [sandbox]: unknown key 'netwrok'; known are backend, network, "),
        ({"backend": "docker"}, "godwit.toml [sandbox] backend: Invalid enum value 'docker'"),
        ({"network": "yes"}, "godwit.toml [sandbox] network: Expected `bool`, got `str`"),
        ({"writable": ["a"]}, "godwit.toml [sandbox]: sandbox writable path 'a' is not absolute"),
        ({"require": ["x"]}, "godwit.toml [sandbox] require: Invalid enum value 'x'"),
        ({"cpu_s": 0}, "godwit.toml [sandbox]: sandbox cpu_s=0 must be more than 0"),
    ],
)
def test_a_table_that_is_wrong_says_where(table: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        sandbox_policy(table, "godwit.toml [sandbox]")
    assert caught.value.message.startswith(message)


def test_a_folder_can_only_make_it_stricter() -> None:
    given = SandboxPolicy(
        backend="none",
        network=True,
        writable=("/",),
        environment=("*",),
        hidden=("~/x",),
        cpu_s=5,
        require=("no_survivors",),
    )
    stricter, left_out = only_stricter(given)
    assert stricter == SandboxPolicy(hidden=("~/x",), cpu_s=5, require=("no_survivors",))
    assert left_out == ("backend", "network", "writable", "environment")
    assert only_stricter(SandboxPolicy()) == (SandboxPolicy(), ())
    base = SandboxPolicy(network=True, writable=("/out",), hidden=("~/y", "~/x"), cpu_s=3, memory_bytes=9)
    assert tightened(base, stricter) == SandboxPolicy(
        network=True,
        writable=("/out",),
        hidden=("~/y", "~/x"),
        cpu_s=3,
        memory_bytes=9,
        require=("no_survivors",),
    )
    assert tightened(base, SandboxPolicy()) == base
    with pytest.raises(ConfigurationError, match="choose one"):
        tightened(base, SandboxPolicy(require=("network_off",)))


def test_a_person_adds_to_an_agents_own() -> None:
    own = SandboxPolicy(writable=("/out",), hidden=("~/x",), cpu_s=9, environment=("PATH",))
    standing = SandboxPolicy(network=True, writable=("~/.cache",), backend="landlock", cpu_s=5, environment=("*",))
    assert combined(own, standing) == SandboxPolicy(
        backend="landlock",
        network=True,
        writable=("/out", "~/.cache"),
        hidden=("~/x",),
        cpu_s=5,
        environment=("PATH",),
    )
    closed = SandboxPolicy(backend="bubblewrap", require=("network_off",))
    assert combined(closed, standing).network is False
    assert combined(closed, standing).backend == "bubblewrap"
    assert combined(own, SandboxPolicy()) == own
    with pytest.raises(ConfigurationError, match="choose one"):
        combined(SandboxPolicy(network=True), SandboxPolicy(require=("network_off",)))


def test_a_list_of_hosts_limits_whoever_writes_it() -> None:
    one, other = SandboxPolicy(allowed_hosts=("a.example",)), SandboxPolicy(allowed_hosts=("b.example",))
    whole, none = SandboxPolicy(network=True, unix_sockets=True), SandboxPolicy()
    assert combined(one, other) == SandboxPolicy(allowed_hosts=("a.example", "b.example"))
    for limited in (combined(one, whole), combined(whole, one), combined(one, none), combined(none, one)):
        assert limited == one
    assert combined(SandboxPolicy(require=("network_off",)), one) == SandboxPolicy(require=("network_off",))
    assert combined(SandboxPolicy(require=("network_limited",)), whole).network is False
    kept = SandboxPolicy(allowed_hosts=("a.example",), require=("network_limited",))
    assert combined(kept, other) == combined(kept, whole) == kept
    denying = SandboxPolicy(denied_hosts=("c.example",))
    others = SandboxPolicy(allowed_hosts=("*",), denied_hosts=("c.example",))
    assert combined(whole, denying) == combined(denying, whole) == others
    assert combined(one, denying) == SandboxPolicy(allowed_hosts=("a.example",), denied_hosts=("c.example",))
    assert tightened(whole, denying) == others
    assert only_stricter(SandboxPolicy(allowed_hosts=("a.example",))) == (none, ("allowed_hosts",))
    assert only_stricter(denying) == (denying, ())
    assert one.demands == ("network_limited",)
    assert none.demands == ()


def test_the_defaults_say_what_they_mean() -> None:
    SandboxPolicy(hidden=HIDDEN, environment=ENVIRONMENT)
    assert len(set(HIDDEN)) == len(HIDDEN)
    assert len(set(ENVIRONMENT)) == len(ENVIRONMENT)
    assert SandboxPolicy().network is False
    assert set(PROMISES) >= {"writes_confined", "secrets_hidden", "network_off", "no_survivors"}
