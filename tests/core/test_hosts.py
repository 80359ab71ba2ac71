"""Lists of hosts: what an entry names, what becomes of a name's addresses, what two lists allow together."""

from __future__ import annotations

from ipaddress import ip_address

import pytest
from hypothesis import given, strategies as st

from godwit.core.errors import ConfigurationError
from godwit.core.hosts import Hosts, both, entry, target

PUBLIC = ip_address("93.184.216.34")


def may(hosts: Hosts, host: str, port: int, *addresses: str) -> bool:
    wanted = target(host, port)
    if wanted is None or hosts.refusal(wanted) is not None:
        return False
    literal = wanted.address
    found = [literal] if literal is not None else [ip_address(one) for one in addresses] or [PUBLIC]
    return hosts.verdict(wanted, found) is None


@pytest.mark.parametrize(
    ("text", "host", "port", "named"),
    [
        ("a.example", "a.example", 443, True),
        ("a.example", "a.example", 80, True),
        ("a.example", "A.Example.", 443, True),
        ("A.example", "a.example", 443, True),
        ("a.example", "a.example", 22, False),
        ("a.example", "b.a.example", 443, False),
        ("a.example", "aa.example", 443, False),
        ("a.example:22", "a.example", 22, True),
        ("a.example:22", "a.example", 443, False),
        ("*.example", "a.example", 443, True),
        ("*.example", "a.b.example", 443, True),
        ("*.example", "example", 443, False),
        ("*.example", "aexample", 443, False),
        ("*", "a.example", 443, True),
        ("*", "a.example", 22, False),
        ("*:22", "a.example", 22, True),
        ("*", "10.0.0.1", 80, False),
        ("*", "2130706433", 80, True),  # a name, whose addresses are judged
        ("93.184.216.34", "93.184.216.34", 80, True),
        ("93.184.216.34", "a.example", 80, False),
        ("10.1.0.0/16", "10.1.2.3", 443, True),
        ("10.1.0.0/16", "10.2.2.3", 443, False),
        ("10.1.2.3:8080", "10.1.2.3", 8080, True),
        ("10.1.2.3:8080", "10.1.2.3", 80, False),
        ("[::1]:8080", "::1", 8080, True),
        ("127.0.0.1", "::1", 80, False),
        ("127.0.0.1", "fe80::1%lo", 80, False),
        ("224.0.0.1", "224.0.0.1", 80, False),
        ("169.254.169.254", "169.254.169.254", 80, False),
    ],
)
def test_what_an_entry_names(text: str, host: str, port: int, named: bool) -> None:
    assert may(Hosts((text,)), host, port) is named


def test_a_name_is_as_bad_as_its_worst_address() -> None:
    hosts = Hosts(("git.corp", "10.1.0.0/16", "localhost:3000"), ("10.1.9.0/24", "no.example"))
    assert may(hosts, "git.corp", 443, "10.1.2.3")
    assert may(hosts, "git.corp", 443, "10.1.2.3", "93.184.216.34")
    for addresses in (["10.2.0.1"], ["10.1.2.3", "10.2.0.1"], ["127.0.0.1"], ["10.1.9.7"], ["169.254.169.254"]):
        assert not may(hosts, "git.corp", 443, *addresses), addresses
    assert may(hosts, "localhost", 3000, "127.0.0.1", "::1")
    assert not may(hosts, "localhost", 3000, "10.9.9.9"), "localhost names the loopback alone"
    assert not may(hosts, "localhost", 80, "127.0.0.1")


def test_what_is_denied_is_denied() -> None:
    hosts = Hosts(("*", "*:8080"), ("b.example", "*.c.example", "d.example:8080", "203.0.113.0/24"))
    assert may(hosts, "a.example", 443)
    assert not may(hosts, "b.example", 443)
    assert not may(hosts, "x.c.example", 8080)
    assert may(hosts, "d.example", 443)
    assert not may(hosts, "d.example", 8080)


@pytest.mark.parametrize(
    "text", ["", "http://a.example", "a.example/x", "a b", "a.example:0", "a.example:99999", "*.*", "*.2", "1.2"]
)
def test_what_is_no_entry(text: str) -> None:
    with pytest.raises(ConfigurationError, match="neither a host name"):
        entry(text)


@pytest.mark.parametrize("host", ["", "a b", "a/b", "a@b", "a..b", "a\nb", "[::1", "x" * 254, "ä.example"])
def test_what_is_no_host(host: str) -> None:
    assert target(host, 80) is None


def test_what_two_lists_allow_together() -> None:
    assert both(("a.example",), ("a.example", "b.example")) == ("a.example",)
    assert both(("*.example",), ("a.example", "b.other")) == ("a.example",)
    assert both(("*",), ("a.example:22", "10.0.0.1")) == ()
    assert both(("*:22",), ("a.example:22",)) == ("a.example:22",)
    assert both(("a.example:443",), ("*",)) == ("a.example:443",)
    assert both(("a.example",), ("a.example:8080",)) == ()
    assert both(("10.0.0.0/8",), ("10.1.2.3", "11.0.0.1", "::1")) == ("10.1.2.3",)
    assert both(("[::1]:80",), ("::1",)) == ("[::1]:80",)
    assert both((), ("*",)) == ()


ENTRIES = st.sampled_from(
    ["a.example", "b.a.example", "*.example", "*.a.example", "*", "*:8080", "a.example:8080", "a.example:443", "10.0.0.0/8",
     "10.1.2.3", "10.1.2.3:8080", "127.0.0.1", "localhost", "93.184.216.34"]
)  # fmt: skip
LISTS = st.lists(ENTRIES, max_size=4).map(tuple)
WANTED = st.tuples(
    st.sampled_from(
        ["a.example", "b.a.example", "c.example", "x.other", "10.1.2.3", "127.0.0.1", "localhost", "93.184.216.34"]
    ),
    st.sampled_from([80, 443, 8080]),
)
LEADS = st.lists(
    st.sampled_from(["93.184.216.34", "10.1.2.3", "10.9.9.9", "127.0.0.1", "169.254.169.254"]), min_size=1, max_size=2
)


@given(LISTS, LISTS, WANTED, LEADS)
def test_both_is_never_more_than_either(
    one: tuple[str, ...], other: tuple[str, ...], wanted: tuple[str, int], leads: list[str]
) -> None:
    if may(Hosts(both(one, other)), *wanted, *leads):
        assert may(Hosts(one), *wanted, *leads)
        assert may(Hosts(other), *wanted, *leads)


@given(LISTS, WANTED, LEADS)
def test_a_list_with_itself_is_itself(one: tuple[str, ...], wanted: tuple[str, int], leads: list[str]) -> None:
    assert may(Hosts(both(one, one)), *wanted, *leads) is may(Hosts(one), *wanted, *leads)
