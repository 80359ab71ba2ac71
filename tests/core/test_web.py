"""What an agent's web tools may look at: which addresses domains cover, and the narrower of two policies."""

from __future__ import annotations

import pytest
from hypothesis import given, strategies as st

from godwit import Agent
from godwit.core.errors import ConfigurationError
from godwit.core.web import Domains, FetchPolicy, SearchPolicy, UrlSources, UserLocation, WebPolicy, below, both, domain

NAMES = ("example.com", "docs.example.com", "a.docs.example.com", "ample.com", "example.org", "org", "example.com/a")
PATHS = ("/", "/a", "/a/b", "/ab")
names = st.lists(st.sampled_from((*NAMES, "docs.example.com/a/b")), max_size=3, unique=True).map(tuple)
lists = st.builds(Domains, st.none() | names, names)


@pytest.mark.parametrize(
    ("given", "host", "path", "covered"),
    [
        ("example.com", "example.com", "/", True),
        ("example.com", "docs.example.com", "/any", True),
        ("EXAMPLE.com", "example.com", "/", True),
        ("example.com", "badexample.com", "/", False),
        ("docs.example.com", "example.com", "/", False),
        ("example.com", "example.com.evil.net", "/", False),
        ("example.com/blog", "example.com", "/blog", True),
        ("example.com/blog/", "example.com", "/blog/post", True),
        ("example.com/blog", "www.example.com", "/blog/post", True),
        ("example.com/blog", "example.com", "/blogs", False),
        ("example.com/blog", "example.com", "/", False),
        ("example.com/Blog", "example.com", "/blog", False),
        ("example.com/", "example.com", "/any", True),
        ("127.0.0.1", "127.0.0.1", "/", True),
    ],
)
def test_what_a_domain_covers(given: str, host: str, path: str, covered: bool) -> None:
    assert domain(given).covers(host, path) is covered
    assert Domains((given,)).cover(host, path) is covered
    assert Domains(None, (given,)).cover(host, path) is not covered


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("https://example.com", "has a scheme"),
        ("example.com:8080", "has a port"),
        ("*.example.com", "without the star"),
        ("exa mple.com", "no host name"),
        ("", "no host name"),
        (".example.com", "no host name"),
        ("bücher.example", "not in ASCII"),
        ("example.com/a?b=c", "no plain one"),
        ("example.com/a#b", "no plain one"),
        ("user@example.com", "no host name"),
    ],
)
def test_what_is_no_domain(given: str, said: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        Domains((given,))
    assert said in caught.value.message


def test_a_path_only_where_it_may_be() -> None:
    with pytest.raises(ConfigurationError):
        domain("example.com/blog", paths=False)


def test_none_allowed_is_not_any_allowed() -> None:
    assert not Domains(()).cover("example.com")
    assert Domains().cover("example.com")


@given(lists, lists, st.sampled_from(NAMES[:6]), st.sampled_from(PATHS))
def test_of_two_both_hold(one: Domains, other: Domains, host: str, path: str) -> None:
    made = both(WebPolicy(FetchPolicy(one), SearchPolicy(other)), WebPolicy(FetchPolicy(other), SearchPolicy(one)))
    held = one.cover(host, path) and other.cover(host, path)
    assert made.fetch.domains.cover(host, path) is held
    assert made.search.domains.cover(host, path) is held


def test_the_rest_of_two() -> None:
    one = WebPolicy(FetchPolicy(max_content_tokens=10, sources=UrlSources(True, ("web_search", "crm"))))
    other = WebPolicy(FetchPolicy(max_content_tokens=20, sources=UrlSources(False, ("crm", "web_fetch"))))
    made = both(one, other)
    assert made == both(other, one)
    assert made.fetch == FetchPolicy(Domains(), 10, UrlSources(False, ("crm",)))
    assert both(one, WebPolicy()) == one


def test_a_child_is_shown_nothing_by_its_prompt() -> None:
    parent = WebPolicy(FetchPolicy(sources=UrlSources(True, ("web_search", "crm"))))
    child = below(None, parent)
    assert child == WebPolicy(FetchPolicy(sources=UrlSources(False, ("web_search",))))
    assert below(child, parent) == child
    assert below(None, None) is None
    own = WebPolicy(FetchPolicy(sources=UrlSources()))
    assert below(own, None) == own


@pytest.mark.parametrize("wrong", [{"country": "USA"}, {"city": ""}, {"city": "a\nb"}, {"timezone": "x" * 256}])
def test_what_is_no_place(wrong: dict[str, str]) -> None:
    with pytest.raises(ConfigurationError):
        UserLocation(**wrong)


def test_a_limit_that_is_not_known_is_an_error() -> None:
    with pytest.raises(ConfigurationError, match="allowed_domains"):
        Agent("a", model="m:1", web={"fetch": {"allowed_domains": ["a.example"]}})
    made = Agent("a", model="m:1", web={"fetch": {"domains": {"allowed": ["a.example"]}}})
    assert made.spec.web == WebPolicy(FetchPolicy(Domains(("a.example",))))


def test_what_models_are_told() -> None:
    assert UserLocation("Oslo", None, "NO", "Europe/Oslo").told == "Oslo, NO (time zone Europe/Oslo)"
    assert Domains().told == ""
    many = Domains(tuple(f"a{n}.example" for n in range(20)), ("evil.example",))
    assert many.told.endswith("and 8 more. None of these domains: evil.example.")
