"""Sessions, as the official client makes, lists, changes and ends them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import anthropic
import pytest

from godwit.contracts import SessionRow
from godwit.core.agent import AgentSpec
from godwit.core.budget import Price
from godwit.core.events import Labels
from godwit.core.ids import AgentName, RunId, SessionId
from godwit.core.messages import Usage
from godwit.core.sandbox import SandboxPolicy
from godwit.models.script import call, end, hold, say
from godwit.surfaces.server import ServerSettings
from tests.surfaces.server.running import RunningServer

from .conftest import Start, client_of

TOOLSET: Any = {"type": "agent_toolset_20260401"}
ASK: Any = {"type": "always_ask"}
SELF_HOSTED: Any = {"type": "self_hosted"}


def custom(name: str) -> Any:
    return {"type": "custom", "name": name, "description": "", "input_schema": {"type": "object", "properties": {}}}


class Field:
    """A client, and what sessions need: an agent and an environment."""

    def __init__(self, server: RunningServer, client: anthropic.Anthropic, **options: Any) -> None:
        self.server = server
        self.client = client
        self.sessions = client.beta.sessions
        config = options.pop("config", None)
        given: Any = {"name": "Bird", "model": "claude-opus-5", **options}
        self.agent = client.beta.agents.create(**given)
        self.environment = client.beta.environments.create(name="field", config=config)

    def session(self, **options: Any) -> Any:
        given: Any = {"agent": self.agent.id, "environment_id": self.environment.id, **options}
        return self.sessions.create(**given)

    def prompt(self, session: str, text: str = "Go.") -> str:
        """Start a run, as another surface would."""

        async def prompt() -> str:
            return await (await self.server.runtime.desk.session(session)).prompt(text)

        return self.server.call(prompt)

    def wait(self, session: str, run: str) -> str:
        async def wait() -> str:
            return (await (await self.server.runtime.desk.session(session)).wait(RunId(run))).outcome

        return self.server.call(wait)

    def until(self, session: str, *statuses: str) -> None:
        async def until() -> None:
            store = self.server.runtime.store
            while (row := await store.session(SessionId(session))).status not in statuses:
                await store.wait(row.id, row.head)

        self.server.call(until)

    def until_last(self, session: str, kind: str, *, reason: str) -> None:
        """Until the newest of its events is of this kind, with this stop reason."""

        runtime, seq = self.server.runtime, 0

        async def grown() -> int:
            return await runtime.store.wait(SessionId(session), seq, 10)

        while True:
            found = self.server.call(grown)
            assert found > seq
            seq = found
            newest: Any = next(iter(self.sessions.events.list(session, order="desc", limit=1)))
            if newest.type == kind and newest.stop_reason.type == reason:
                return

    def row(self, session: str) -> SessionRow:
        return self.server.call(lambda: self.server.runtime.store.session(SessionId(session)))

    def spec(self, session: str) -> AgentSpec:
        agent = self.row(session).agent
        return self.server.call(lambda: self.server.runtime.store.get_agent(agent.name, agent.version))[1]

    def results(self, session: str) -> str:
        """What its tools gave back."""
        store = self.server.runtime.store
        events = self.server.call(lambda: store.read(SessionId(session), types=["tool.finished"]))
        return "".join(str(event.data) for event in events)

    def tools(self, session: str) -> dict[str, bool]:
        """The tools that the session's model is shown, and whether a client answers them."""

        found = self.server.runtime.tools_of(self.spec(session))
        return {tool.definition.name: tool.traits.external for tool in found}


@pytest.fixture
def field(server: RunningServer, client: anthropic.Anthropic) -> Field:
    return Field(server, client, system="Fly.", tools=[TOOLSET, custom("weather")], metadata={"not": "shown"})


async def test_a_new_session_shows_its_resolved_agent(async_client: anthropic.AsyncAnthropic, server: RunningServer) -> None:
    beta = async_client.beta
    agent = await beta.agents.create(name="Bird", model={"id": "m", "effort": "low"}, description="d", tools=[TOOLSET])
    await beta.agents.update(agent.id, name="Other")
    environment = await beta.environments.create(name="field")
    session = await beta.sessions.create(
        agent={"type": "agent", "id": agent.id, "version": 1},
        environment_id=environment.id,
        title="First",
        metadata={"a": "1"},
    )
    shown: Any = session.to_dict(mode="json")
    hidden = {"id": "", "created_at": "", "updated_at": "", "stats": {}}
    assert shown | hidden == {
        "type": "session",
        "status": "idle",
        "agent": {
            "type": "agent",
            "id": agent.id,
            "version": 1,
            "name": "Bird",
            "model": {"id": "m", "speed": "standard", "effort": {"type": "low"}},
            "description": "d",
            "system": None,
            "tools": [
                {
                    **TOOLSET,
                    "default_config": {"enabled": True, "permission_policy": {"type": "always_allow"}},
                    "configs": [],
                }
            ],
            "mcp_servers": [],
            "skills": [],
            "multiagent": None,
            "execution_identity": {"type": "service_account"},
        },
        "environment_id": environment.id,
        "title": "First",
        "metadata": {"a": "1"},
        "vault_ids": [],
        "resources": [],
        "outcome_evaluations": [],
        "usage": {
            "input_tokens": 0,
            "output_tokens": 0,
            "cache_read_input_tokens": 0,
            "cache_creation": {"ephemeral_5m_input_tokens": 0, "ephemeral_1h_input_tokens": 0},
            "list_cost": {"amount": "0", "currency": "USD"},
            "active_seconds": 0.0,
            "server_tool_use": None,
        },
        "budget": None,
        "deployment_id": None,
        "archived_at": None,
        **hidden,
    }
    assert session.id.startswith("ses_")
    again = await beta.sessions.retrieve(session.id)
    assert (again.agent, again.created_at) == (session.agent, session.created_at)
    row = server.call(lambda: server.runtime.store.session(SessionId(session.id)))
    assert row.labels == Labels(None, "local", agent.id)


def test_the_agent_of_a_session_stays_when_the_agent_changes(field: Field) -> None:
    session = field.session()
    field.client.beta.agents.update(field.agent.id, system="Rest.", tools=[])
    assert field.sessions.retrieve(session.id).agent == session.agent
    assert field.session().agent.version == 2


def test_overrides_take_the_place_of_what_they_name(field: Field) -> None:
    base: Any = {"type": "agent_with_overrides", "id": field.agent.id}
    plain = field.session(agent=base)
    assert plain.agent == field.session().agent
    other = field.session(agent={**base, "model": "gpt-6", "system": None, "tools": [custom("x")]})
    assert (other.agent.id, other.agent.version, other.agent.model.id) == (field.agent.id, 1, "gpt-6")
    assert (other.agent.system, [t.name for t in other.agent.tools]) == (None, ["x"])
    assert field.tools(other.id) == {"x": True}
    assert field.session(agent={**base, "tools": None}).agent.tools == []
    assert field.client.beta.agents.retrieve(field.agent.id).version == 1
    assert len(list(field.sessions.list(agent_id=field.agent.id, agent_version=1))) == 4


def test_tools_are_where_the_environment_is(start: Start) -> None:
    server = start()
    with client_of(server) as client:
        configs: Any = [{"name": "bash", "permission_policy": ASK}, {"name": "edit", "enabled": False}]
        tools = [{**TOOLSET, "configs": configs}, custom("weather")]
        cloud = Field(server, client, tools=tools)
        session = cloud.session()
        assert cloud.tools(session.id) == {
            "bash": False, "read": False, "write": False, "glob": False, "grep": False, "web_fetch": False,
            "weather": True,
        }  # fmt: skip
        hosted = client.beta.environments.create(name="hosted", config=SELF_HOSTED)
        session = cloud.session(environment_id=hosted.id)
        assert cloud.tools(session.id) == {
            "web_fetch": False, "bash": True, "read": True, "write": True, "glob": True, "grep": True, "weather": True
        }  # fmt: skip


def test_each_session_works_in_a_folder_of_its_own(start: Start, tmp_path: Path) -> None:
    server = start(call("write", file_path="nest.txt", content="egg") + say("I lay."), "Done.")
    with client_of(server) as client:
        field = Field(server, client, tools=[TOOLSET])
        one, two = field.session(), field.session()
        assert field.wait(one.id, field.prompt(one.id)) == "done"
        folder = tmp_path / "g.db.workspaces"
        assert (folder / one.id / "nest.txt").read_text() == "egg"
        assert [path for path in (folder / two.id).rglob("*") if not path.is_dir()] == []
        assert folder.stat().st_mode & 0o077 == 0
        client.beta.sessions.delete(one.id)
        assert not (folder / one.id).exists()


@pytest.mark.parametrize(("networking", "network"), [("unrestricted", True), ("limited", False)])
def test_the_environment_says_whether_commands_have_a_network(start: Start, networking: Any, network: bool) -> None:
    server = start()
    with client_of(server) as client:
        config: Any = {"type": "cloud", "networking": {"type": networking}}
        field = Field(server, client, config=config, tools=[TOOLSET])
        sandbox = field.spec(field.session().id).sandbox
        assert (sandbox.network, "network_off" in sandbox.require) == (network, not network)


def test_a_session_whose_sandbox_cannot_keep_its_promise_is_refused(start: Start) -> None:
    server = start(sandbox=SandboxPolicy(backend="none", require=("network_off",)))
    with client_of(server) as client:
        field = Field(server, client, config={"type": "cloud", "networking": {"type": "limited"}}, tools=[TOOLSET])
        with pytest.raises(anthropic.BadRequestError, match="network_off"):
            field.session()
        assert list(field.sessions.list()) == []


def test_where_people_have_keys_their_sessions_are_kept_apart(start: Start) -> None:
    server = start(settings=ServerSettings(port=0, keys=True, models={"*": "scripted:any"}))
    with client_of(server, api_key=server.key) as client:
        field = Field(server, client, tools=[TOOLSET])
        assert set(field.spec(field.session().id).sandbox.require) == {"writes_confined", "secrets_hidden"}


def test_no_command_sees_the_folder_of_another_session(start: Start) -> None:
    looks = "ls ..; cat ../*/nest.txt; echo egg > nest.txt"
    server = start(call("bash", command=looks), "Looked.")
    with client_of(server) as client:
        field = Field(server, client, tools=[TOOLSET])
        one, two = field.session(), field.session()
        root = str(Path(field.row(one.id).workspace or "").parent)
        assert field.spec(one.id).sandbox.hidden == (root,)
        for session in (one, two):
            field.wait(session.id, field.prompt(session.id))
        assert two.id in field.results(two.id)
        assert "egg" not in field.results(two.id)
        assert one.id not in field.results(two.id)


def test_usage_is_that_of_the_log(start: Start) -> None:
    used = Usage(1000, 50, cache_read_tokens=600, cache_write_tokens=300, requests=1, cost_usd=0.25)
    server = start(say("Hi.") + end(usage=used), say("Again.") + end(usage=used))
    with client_of(server) as client:
        field = Field(server, client)
        session = field.session()
        for _ in range(2):
            field.wait(session.id, field.prompt(session.id))
        shown: Any = field.sessions.retrieve(session.id).to_dict(mode="json")
        assert shown["usage"] | {"active_seconds": 0} == {
            "input_tokens": 200,
            "output_tokens": 100,
            "cache_read_input_tokens": 1200,
            "cache_creation": {"ephemeral_5m_input_tokens": 600, "ephemeral_1h_input_tokens": 0},
            "list_cost": {"amount": "50", "currency": "USD"},
            "server_tool_use": None,
            "active_seconds": 0,
        }
        assert 0 < shown["stats"]["active_seconds"] <= shown["stats"]["duration_seconds"]


def test_statuses(start: Start) -> None:
    release, reached = asyncio.Event(), asyncio.Event()
    server = start(hold(release, reached=reached) + call("weather"), "Done.")
    with client_of(server) as client:
        field = Field(server, client, tools=[custom("weather")])
        other = field.session()
        session = field.session()
        run = field.prompt(session.id)
        server.call(reached.wait)

        def listed(*statuses: Any) -> list[str]:
            return [one.id for one in field.sessions.list(statuses=list(statuses))]

        assert field.sessions.retrieve(session.id).status == "running"
        assert (listed("running"), listed("idle")) == ([session.id], [other.id])
        assert sorted(listed("idle", "running")) == sorted([session.id, other.id])
        for ask in (field.sessions.archive, field.sessions.delete):
            with pytest.raises(anthropic.BadRequestError, match='its status is "running"'):
                ask(session.id)

        async def let_go() -> None:
            release.set()

        server.call(let_go)
        field.until(session.id, "waiting")
        assert field.sessions.retrieve(session.id).status == "idle"
        assert sorted(listed("idle")) == sorted([session.id, other.id])
        archived = field.sessions.archive(session.id)
        assert (archived.status, archived.archived_at is not None) == ("terminated", True)
        assert field.sessions.archive(session.id) == archived.model_copy(update={"stats": archived.stats})
        assert field.wait(session.id, run) == "interrupted"
        assert listed("terminated") == [session.id]
        assert [one.id for one in field.sessions.list()] == [other.id]
        assert sorted(one.id for one in field.sessions.list(include_archived=True)) == sorted([session.id, other.id])
        with pytest.raises(anthropic.BadRequestError, match="archived"):
            field.sessions.update(session.id, title="x")
        assert field.sessions.delete(session.id).type == "session_deleted"


def test_after_a_delete_it_is_nowhere(field: Field) -> None:
    session = field.session()
    field.sessions.delete(session.id)
    asks: list[Callable[[], object]] = [
        lambda: field.sessions.retrieve(session.id),
        lambda: field.sessions.update(session.id, title="x"),
        lambda: field.sessions.archive(session.id),
        lambda: field.sessions.delete(session.id),
    ]
    for ask in asks:
        with pytest.raises(anthropic.NotFoundError):
            ask()
    assert list(field.sessions.list(include_archived=True)) == []


def test_title_and_metadata_change(field: Field) -> None:
    session = field.session(title="One", metadata={"a": "1", "b": "2"})
    changed = field.sessions.update(session.id, title="Two", metadata={"a": None, "c": "3"})
    assert (changed.title, changed.metadata) == ("Two", {"b": "2", "c": "3"})
    assert changed.updated_at >= session.updated_at
    cleared = field.sessions.update(session.id, title=None)
    assert (cleared.title, cleared.metadata) == (None, {"b": "2", "c": "3"})
    with pytest.raises(anthropic.BadRequestError, match="metadata"):
        field.sessions.update(session.id, title="Three", metadata={str(n): "" for n in range(17)})
    with pytest.raises(anthropic.BadRequestError, match="vault_ids"):
        field.sessions.update(session.id, vault_ids=["vlt_1"])
    assert field.sessions.retrieve(session.id).title is None


def test_of_many_changes_at_once_none_is_lost(field: Field) -> None:
    session = field.session()

    def change(number: int) -> None:
        with client_of(field.server, max_retries=2) as client:
            client.beta.sessions.update(session.id, metadata={str(number): "x"}, title=f"{number}")

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(change, range(8)))
    assert field.sessions.retrieve(session.id).metadata == {str(number): "x" for number in range(8)}


def test_a_sessions_own_tools(start: Start) -> None:
    server = start(call("weather"), "Done.")
    with client_of(server) as client:
        field = Field(server, client, system="Fly.", tools=[TOOLSET])
        session = field.session()
        changed = field.sessions.update(session.id, agent={"tools": [custom("weather")]})
        assert [tool.type for tool in changed.agent.tools] == ["custom"]
        assert (changed.agent.version, changed.agent.system) == (1, "Fly.")
        assert [tool.type for tool in client.beta.agents.retrieve(field.agent.id).tools] == [TOOLSET["type"]]
        assert field.session().agent.tools[0].type == TOOLSET["type"]
        field.prompt(session.id)
        field.until(session.id, "waiting")  # so the tool is there, and a client is to answer it
        with pytest.raises(anthropic.BadRequestError, match="agent"):
            field.sessions.update(session.id, agent={"tools": []})
        with pytest.raises(anthropic.BadRequestError, match="mcp"):
            field.sessions.update(
                field.session().id, agent={"mcp_servers": [{"type": "url", "name": "a", "url": "https://a"}]}
            )


def limit(cents: str) -> Any:
    return {"type": "limit", "max_list_cost": {"amount": cents, "currency": "USD"}}


@pytest.mark.parametrize("more", ["2500", None])
def test_a_run_that_met_its_budget_goes_on_when_it_is_raised(start: Start, more: str | None) -> None:
    dear = end(usage=Usage(10, 1, cost_usd=0.5))
    server = start(call("weather") + dear, say("It rains.") + dear, prices={"scripted:any": Price(1, 1)})
    with client_of(server) as client:
        field = Field(server, client, tools=[custom("weather")])
        events = client.beta.sessions.events
        session = field.session(budget=limit("50"))
        assert session.budget.to_dict(mode="json") == limit("50")
        run = field.prompt(session.id)
        field.until(session.id, "waiting")
        (asked,) = [e for e in events.list(session.id) if e.type == "agent.custom_tool_use"]
        events.send(session.id, events=[{"type": "user.custom_tool_result", "custom_tool_use_id": asked.id}])
        field.until_last(session.id, "session.status_idle", reason="budget_reached")
        message: Any = {"type": "user.message", "content": [{"type": "text", "text": "Go on."}]}
        with pytest.raises(anthropic.BadRequestError, match="budget"):
            events.send(session.id, events=[message])
        assert field.sessions.update(session.id, budget=limit("40")).status == "idle"
        raised: Any = field.sessions.update(session.id, budget=None if more is None else limit(more)).budget
        assert (None if raised is None else raised.max_list_cost.amount) == more
        assert field.wait(session.id, run) == "done"
        assert field.sessions.retrieve(session.id).budget == raised
        if more is not None:
            field.sessions.update(session.id, budget=None)
        assert field.sessions.retrieve(session.id).budget is None


def test_a_budget_is_in_whole_cents(field: Field) -> None:
    for amount in ("-1", "0.5", "007", ""):
        with pytest.raises(anthropic.BadRequestError, match="amount"):
            field.session(budget=limit(amount))


def test_lists_go_both_ways(field: Field) -> None:
    made = [field.session().id for _ in range(5)]
    both = field.sessions.list(limit=2, order="asc")
    assert ([one.id for one in both.data], both.prev_page) == (made[:2], None)
    second = both.get_next_page()
    third = second.get_next_page()
    assert ([one.id for one in second.data], [one.id for one in third.data]) == (made[2:4], made[4:])
    assert third.next_page is None
    assert third.prev_page is not None
    back = field.sessions.list(limit=2, order="asc", page=third.prev_page)
    assert [one.id for one in back.data] == made[2:4]
    assert (back.next_page, back.prev_page) != (None, None)
    first = field.sessions.list(limit=2, order="asc", page=back.prev_page or "")
    assert ([one.id for one in first.data], first.prev_page) == (made[:2], None)
    assert [one.id for one in field.sessions.list(limit=3)] == made[::-1]
    assert both.next_page is not None
    with pytest.raises(anthropic.BadRequestError, match="order"):
        field.sessions.list(limit=2, order="desc", page=both.next_page)


def test_lists_with_filters(field: Field) -> None:
    one = field.session()
    field.client.beta.agents.update(field.agent.id, system="Rest.")
    two = field.session()
    other = field.client.beta.agents.create(name="Other", model="m")
    three = field.session(agent=other.id)

    def listed(**options: Any) -> list[str]:
        return [found.id for found in field.sessions.list(order="asc", **options)]

    assert listed() == [one.id, two.id, three.id]
    assert listed(agent_id=field.agent.id) == [one.id, two.id]
    assert listed(agent_id=field.agent.id, agent_version=2) == [two.id]
    assert listed(created_at_gt=two.created_at) == [three.id]
    assert listed(created_at_gte=two.created_at, created_at_lt=three.created_at) == [two.id]
    assert listed(created_at_lte=one.created_at) == [one.id]
    assert listed(deployment_id="depl_1") == listed(memory_store_id="memstore_1") == []
    with pytest.raises(anthropic.BadRequestError, match="statuses"):
        listed(statuses=["asleep"])
    with pytest.raises(anthropic.BadRequestError, match="order"):
        field.sessions.list(extra_query={"order": "up"})


def test_what_cannot_start_leaves_nothing(field: Field, tmp_path: Path) -> None:
    gone = field.client.beta.environments.create(name="gone")
    field.client.beta.environments.archive(gone.id)
    archived = field.client.beta.agents.create(name="Old", model="m")
    field.client.beta.agents.archive(archived.id)
    server: Any = {"type": "url", "name": "docs", "url": "https://example.org"}
    tools: Any = [{"type": "mcp_toolset", "mcp_server_name": "docs"}]
    mcp = field.client.beta.agents.create(name="Mcp", model="m", tools=tools, mcp_servers=[server])
    network: Any = {"type": "cloud", "networking": {"type": "limited"}}
    limited = field.client.beta.environments.create(name="limited", config=network)
    search: Any = [{**TOOLSET, "configs": [{"name": "web_search", "enabled": True}]}]
    wrong: list[tuple[dict[str, Any], int, str]] = [
        ({"agent": "agent_none"}, 404, "agent_none"),
        ({"agent": {"type": "agent", "id": field.agent.id, "version": 7}}, 404, "7"),
        ({"agent": archived.id}, 400, "archived"),
        ({"agent": {"type": "other", "id": "x"}}, 400, "agent"),
        ({"agent": 7}, 400, "agent"),
        ({"environment_id": "env_none"}, 404, "env_none"),
        ({"environment_id": gone.id}, 400, "environment_archived"),
        ({"metadata": {"x": "y" * 513}}, 400, "metadata"),
        ({"agent": mcp.id, "environment_id": limited.id}, 400, "allow_mcp_servers"),
        ({"agent": {"type": "agent_with_overrides", "id": field.agent.id, "tools": search}}, 501, "web_search"),
        ({"resources": [{"type": "file", "file_id": "file_1"}]}, 404, "file_1"),
        ({"vault_ids": ["vlt_1"]}, 404, "vlt_1"),
    ]
    for options, status, words in wrong:
        with pytest.raises(anthropic.APIStatusError, match=words) as refused:
            field.session(**options)
        assert refused.value.status_code == status
    assert list(field.sessions.list(include_archived=True)) == []
    assert not (tmp_path / "g.db.workspaces").exists()


def test_a_session_that_was_made_elsewhere_is_shown_as_well(field: Field) -> None:
    async def make() -> str:
        spec = AgentSpec(AgentName("coder"), ("scripted:any",), "Code.", tools=("files", "bash"))
        session = await field.server.runtime.start_session(spec, metadata={"a": "1"}, name="Elsewhere")
        return session.id

    made = field.server.call(make)
    (shown,) = field.sessions.list()
    assert (shown.id, shown.title, shown.metadata, shown.environment_id) == (made, "Elsewhere", {"a": "1"}, "")
    assert (shown.agent.id, shown.agent.name, shown.agent.system) == ("coder", "coder", "Code.")
    toolset: Any = shown.agent.tools[0]
    assert [one.name for one in toolset.configs] == ["bash", "edit", "read", "write", "glob", "grep"]
    assert field.sessions.update(made, metadata={"b": "2"}).metadata == {"a": "1", "b": "2"}
    assert field.sessions.delete(made).id == made


def test_a_session_begins_with_its_initial_events(start: Start) -> None:
    server = start("One.", "Two.")
    with client_of(server) as client:
        field = Field(server, client)

        def message(text: str) -> Any:
            return {"type": "user.message", "content": [{"type": "text", "text": text}]}

        session = field.session(initial_events=[message("First."), message("Second.")])
        assert session.status == "running"
        field.until(session.id, "idle")
        events: list[Any] = list(client.beta.sessions.events.list(session.id))
        said = [e.content[0].text for e in events if e.type in ("user.message", "agent.message")]
        assert said == ["First.", "One.", "Second.", "Two."]
        assert field.session(initial_events=[]).status == "idle"
        wrong: list[tuple[Any, int]] = [
            ([message("Fine."), {"type": "user.message", "content": []}], 400),
            ([message("Fine."), {"type": "user.interrupt"}], 400),
            ([{"type": "user.define_outcome", "description": "", "rubric": {"type": "text", "content": "x"}}], 501),
            ([message(str(n)) for n in range(51)], 400),
        ]
        count = len(list(field.sessions.list()))
        for given, status in wrong:
            with pytest.raises(anthropic.APIStatusError, match="initial_events") as refused:
                field.session(initial_events=given)
            assert refused.value.status_code == status
        assert len(list(field.sessions.list())) == count


@pytest.mark.parametrize("version", [2, 1 << 62, 1 << 63, 1 << 70])
def test_a_version_that_no_agent_has_is_not_there(client: anthropic.Anthropic, version: int) -> None:
    agent = client.beta.agents.create(name="a", model="m")
    environment = client.beta.environments.create(name="e")
    with pytest.raises(anthropic.NotFoundError, match="no version"):
        client.beta.sessions.create(
            agent={"type": "agent", "id": agent.id, "version": version}, environment_id=environment.id
        )
