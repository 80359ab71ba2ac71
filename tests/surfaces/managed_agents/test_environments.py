"""Environments, as the official client makes, changes and lists them."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import anthropic
import pytest

from tests.surfaces.server.running import RunningServer

from .conftest import client_of


async def test_an_environment_shows_all_its_defaults(async_client: anthropic.AsyncAnthropic) -> None:
    made = await async_client.beta.environments.create(name="field")
    shown: Any = made.to_dict(mode="json")
    assert shown | {"id": "", "created_at": "", "updated_at": ""} == {
        "id": "",
        "type": "environment",
        "name": "field",
        "description": "",
        "config": {
            "type": "cloud",
            "networking": {"type": "unrestricted"},
            "packages": {"type": "packages", "apt": [], "cargo": [], "gem": [], "go": [], "npm": [], "pip": []},
        },
        "metadata": {},
        "scope": "organization",
        "created_at": "",
        "updated_at": "",
        "archived_at": None,
    }
    assert await async_client.beta.environments.retrieve(made.id) == made


def test_an_environment_changes_all_but_its_kind(client: anthropic.Anthropic) -> None:
    environments = client.beta.environments
    made = environments.create(name="field", config={"type": "cloud", "networking": {"type": "limited"}})
    changed = environments.update(made.id, name="wood", metadata={"a": "1"}, description="d")
    assert (changed.name, changed.metadata, changed.description, changed.config) == ("wood", {"a": "1"}, "d", made.config)
    assert environments.update(made.id, metadata={"a": None}, description=None).description == ""
    opened: Any = environments.update(made.id, config={"type": "cloud", "networking": {"type": "unrestricted"}})
    assert opened.config.networking.type == "unrestricted"
    with pytest.raises(anthropic.BadRequestError) as refused:
        environments.update(made.id, config={"type": "self_hosted"})
    assert code(refused.value) == "invalid_config_type_change"
    assert environments.create(name="field").name == "field"


def test_a_limited_network_and_packages_are_shown_as_they_were_given(client: anthropic.Anthropic) -> None:
    """And what an update leaves out stays."""
    environments = client.beta.environments
    networking: Any = {
        "type": "limited",
        "allowed_hosts": ["api.example.com", "https://b.example", "*.example.org"],
        "allow_package_managers": True,
    }
    packages: Any = {"pip": ["pandas==2.2.0"], "npm": ["express@4.18.0"], "apt": ["ffmpeg"]}
    made: Any = environments.create(name="field", config={"type": "cloud", "networking": networking, "packages": packages})
    shown: Any = made.config.to_dict(mode="json")
    assert shown["networking"] == {**networking, "allow_mcp_servers": False}
    assert shown["packages"] == {"type": "packages", "cargo": [], "gem": [], "go": [], **packages}
    assert environments.update(made.id, name="wood").config == made.config
    changed: Any = environments.update(
        made.id, config={"type": "cloud", "networking": {"type": "limited", "allow_mcp_servers": True}}
    )
    assert changed.config.to_dict(mode="json")["networking"] == {**networking, "allow_mcp_servers": True}
    assert changed.config.packages == made.config.packages
    with pytest.raises(anthropic.BadRequestError, match="allow_package_managers"):
        environments.update(
            made.id, config={"type": "cloud", "networking": {"type": "limited", "allow_package_managers": False}}
        )
    fewer: Any = environments.update(made.id, config={"type": "cloud", "packages": {"pip": []}})
    assert (fewer.config.packages.pip, fewer.config.packages.npm) == ([], ["express@4.18.0"])


def test_of_many_changes_at_once_none_is_lost(server: RunningServer, client: anthropic.Anthropic) -> None:
    made = client.beta.environments.create(name="field")

    def change(number: int) -> None:
        with client_of(server) as own:
            own.beta.environments.update(made.id, metadata={str(number): "x"})

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(change, range(8)))
    assert client.beta.environments.retrieve(made.id).metadata == {str(number): "x" for number in range(8)}


def test_a_name_is_there_once(client: anthropic.Anthropic) -> None:
    environments = client.beta.environments
    environments.create(name="field")
    other = environments.create(name="wood")
    asks: list[Callable[[], object]] = [
        lambda: environments.create(name="field"),
        lambda: environments.update(other.id, name="field"),
    ]
    for ask in asks:
        with pytest.raises(anthropic.ConflictError, match="field") as refused:
            ask()
        assert refused.value.response.headers["x-should-retry"] == "false"


def test_archived_and_deleted(client: anthropic.Anthropic) -> None:
    environments = client.beta.environments
    one, two = environments.create(name="one"), environments.create(name="two", config={"type": "self_hosted"})
    assert environments.archive(one.id).archived_at is not None
    assert [e.id for e in environments.list()] == [two.id]
    assert len(list(environments.list(include_archived=True, limit=1))) == 2
    with pytest.raises(anthropic.BadRequestError) as refused:
        environments.update(one.id, name="three")
    assert code(refused.value) == "environment_archived"
    assert environments.delete(two.id).type == "environment_deleted"
    for ask in (environments.retrieve, environments.delete, environments.archive):
        with pytest.raises(anthropic.NotFoundError) as gone:
            ask(two.id)
        assert code(gone.value) == "environment_not_found"
    assert environments.create(name="two").name == "two"


@pytest.mark.parametrize(
    ("options", "status"),
    [
        ({"name": ""}, 400),
        ({"metadata": {str(n): "" for n in range(17)}}, 400),
        ({"config": {"type": "moon"}}, 400),
        ({"config": {"type": "cloud", "networking": {"type": "unrestricted", "allowed_hosts": ["a"]}}}, 400),
        ({"config": {"type": "self_hosted", "networking": {}}}, 400),
        ({"config": {"type": "cloud", "networking": {"type": "limited", "allowed_hosts": ["http://a.example"]}}}, 400),
        ({"config": {"type": "cloud", "networking": {"type": "limited", "allowed_hosts": ["https://a.example/x"]}}}, 400),
        ({"config": {"type": "cloud", "networking": {"type": "limited", "allowed_hosts": ["10.0.0.1"]}}}, 400),
        ({"config": {"type": "cloud", "networking": {"type": "limited", "allowed_hosts": ["localhost:80"]}}}, 400),
        ({"config": {"type": "cloud", "networking": {"type": "limited", "allowed_hosts": ["0.0.0.0/0"]}}}, 400),
        ({"config": {"type": "cloud", "networking": {"type": "limited"}, "packages": {"pip": ["x"]}}}, 400),
        ({"config": {"type": "cloud", "packages": {"pip": ["-r/etc/passwd"]}}}, 400),
        ({"config": {"type": "cloud", "packages": {"pip": ["x"] * 201}}}, 400),
        ({"config": {"type": "cloud", "packages": {"brew": ["x"]}}}, 400),
    ],
)
def test_what_does_not_fit_is_refused(shared_client: anthropic.Anthropic, options: dict[str, Any], status: int) -> None:
    given: dict[str, Any] = {"name": "field", **options}
    with pytest.raises(anthropic.APIStatusError) as refused:
        shared_client.beta.environments.create(**given)
    assert refused.value.status_code == status
    assert list(shared_client.beta.environments.list()) == []


def code(error: anthropic.APIStatusError) -> str:
    body: Any = error.body
    return str(body["error"]["details"]["error_code"])
