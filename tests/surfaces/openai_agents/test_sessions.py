"""Sessions: made, read, changed, listed and deleted, with the official client in its strictest mode."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import openai
import pytest

from godwit.models.script import call, say
from godwit.surfaces.server import ServerSettings
from godwit.workspaces.sandboxes.bubblewrap import Bubblewrap
from tests.surfaces.server.running import RunningServer

from .conftest import ANY, HOSTED, NONE, WEATHER, Shared, Start, client_of


def finished(client: openai.OpenAI, session: str) -> None:
    """Wait until the session rests."""
    with client.beta.agents.sessions.events.stream(session) as events:
        for event in events:
            if event.type == "agent.session.idle":
                return


def test_a_session_with_an_agent_of_its_own(start: Start) -> None:
    client = client_of(start("Hello."))
    made = client.beta.agents.sessions.create(
        agent={"model": "gpt-6-astra", "instructions": "Be brief.", "tools": [WEATHER]},
        environment=NONE,
        input="Hi",
        metadata={"k": "v"},
    )
    assert (made.object, made.metadata, made.environment.type) == ("agent.session", {"k": "v"}, "none")
    assert (made.agent.model, made.agent.instructions, made.agent.name) == ("gpt-6-astra", "Be brief.", None)
    assert made.status in ("in_progress", "idle")
    finished(client, made.id)
    read = client.beta.agents.sessions.retrieve(made.id)
    assert (read.status, read.required_actions, read.error) == ("idle", [], None)
    assert read.usage is not None
    assert read.usage.total_tokens == read.usage.input_tokens + read.usage.output_tokens > 0
    assert client.beta.agents.list().data == [], "an agent that was given inline is none of the reusable ones"


def test_a_session_of_a_saved_agent_keeps_it_as_it_was(client: openai.OpenAI) -> None:
    agent = client.beta.agents.create(model="m", name="One", instructions="First.")
    plain = client.beta.agents.sessions.create(agent_id=agent.id, environment=NONE)
    other = client.beta.agents.sessions.create(
        agent_id=agent.id, agent={"instructions": "Second.", "model": "other"}, environment=NONE
    )
    client.beta.agents.update(agent.id, name="Two", instructions="Third.")
    seen = [client.beta.agents.sessions.retrieve(one.id).agent for one in (plain, other)]
    assert [(one.id, one.name, one.instructions, one.model) for one in seen] == [
        (agent.id, "One", "First.", "m"),
        (agent.id, "One", "Second.", "other"),
    ]
    listed = client.beta.agents.sessions.list(agent_id=agent.id, order="asc")
    assert [one.id for one in listed] == [plain.id, other.id]
    client.beta.agents.delete(agent.id)
    with pytest.raises(openai.NotFoundError):
        client.beta.agents.sessions.create(agent_id=agent.id, environment=NONE)
    assert client.beta.agents.sessions.retrieve(plain.id).agent.id == agent.id


def test_a_hosted_session_has_a_folder_of_its_own(start: Start, tmp_path: Path) -> None:
    server = start(
        call("bash", command="cat in/note.txt; echo $WHO > out.txt"), say("Done."), settings=_in(tmp_path / "all")
    )
    client = client_of(server)
    environment: Any = {
        **HOSTED,
        "env": {"WHO": "me"},
        "files": [
            {"type": "inline", "path": "/workspace/in/note.txt", "data": base64.b64encode(b"a note").decode()},
        ],
    }
    with client.beta.agents.sessions.create(
        agent={"model": "m"}, environment=environment, input="go", stream=True
    ) as events:
        seen = list(events)
    names = [event.type for event in seen]
    assert names[:2] == ["agent.session.created", "agent.session.environment.ready"]
    assert "agent.session.environment.connected" in names
    (done,) = [
        event for event in seen if event.type == "agent.session.turn.item.done" and event.item.type == "command_execution"
    ]
    assert done.type == "agent.session.turn.item.done"
    assert done.item.type == "command_execution"
    assert (done.item.output, done.item.exit_code, done.item.status) == ("a note", 0, "completed")
    (session,) = client.beta.agents.sessions.list().data
    assert session.environment.type == "openai_hosted"
    assert session.environment.network.access == "disabled"
    assert [(file.path, file.size_bytes) for file in session.environment.files] == [("/workspace/in/note.txt", 6)]
    folder = tmp_path / "all" / session.id
    assert (folder / "out.txt").read_text() == "me\n"
    client.beta.agents.sessions.delete(session.id)
    assert not folder.exists()


def test_its_folder_is_the_workspace_of_the_protocol(start: Start, tmp_path: Path) -> None:
    """Instructions and files speak of /workspace: file tools find it there, and commands where bubblewrap can show it."""
    by_command = call("bash", command="cat /workspace/in.txt > /workspace/outputs/by-command.txt")
    shown = Bubblewrap().problem() is None and not Path("/workspace").exists()
    server = start(
        call("write", file_path="/workspace/outputs/by-tool.txt", content="made")
        + call("read", file_path="/workspace/in.txt"),
        *([by_command] if shown else []),
        say("Done."),
        settings=_in(tmp_path / "all"),
    )
    client = client_of(server)
    given = {"type": "inline", "path": "/workspace/in.txt", "data": base64.b64encode(b"a note").decode()}
    environment: Any = {**HOSTED, "files": [given]}
    agent: Any = {"model": "m", "instructions": "Leave what you make in /workspace/outputs."}
    with client.beta.agents.sessions.create(agent=agent, environment=environment, input="go", stream=True) as events:
        items = [event.item for event in events if event.type == "agent.session.turn.item.done"]
    assert {getattr(item, "status", None) for item in items} == {"completed"}
    (session,) = client.beta.agents.sessions.list().data
    artifacts = {one.path: one.id for one in client.beta.agents.sessions.artifacts.list(session.id)}
    contents = {
        path: client.beta.agents.sessions.artifacts.content(artifact, session_id=session.id).read()
        for path, artifact in artifacts.items()
    }
    expected = {"/workspace/outputs/by-tool.txt": b"made"}
    assert contents == (expected | {"/workspace/outputs/by-command.txt": b"a note"} if shown else expected)


def test_one_session_does_not_see_the_folder_of_another(start: Start, tmp_path: Path) -> None:
    server = start(
        call("read", file_path=str(tmp_path / "all" / "other" / "secret")), say("No."), settings=_in(tmp_path / "all")
    )
    (tmp_path / "all" / "other").mkdir(parents=True)
    (tmp_path / "all" / "other" / "secret").write_text("hidden")
    client = client_of(server)
    with client.beta.agents.sessions.create(agent={"model": "m"}, environment=HOSTED, input="go", stream=True) as events:
        items = [event.item for event in events if event.type == "agent.session.turn.item.done"]
    (looked,) = [item for item in items if item.type == "mcp_call"]
    assert (looked.server_label, looked.name, looked.status, looked.output) == ("godwit", "read", "failed", None)
    assert "outside the workspace" in str(looked.error)
    assert "hidden" not in str(looked.error)


def _in(folder: Path) -> ServerSettings:
    return ServerSettings(port=0, models=ANY.models, folder=str(folder))


def test_a_session_is_changed(start: Start) -> None:
    server = start("One.", "Two.")
    client = client_of(server)
    agent = client.beta.agents.create(model="m", reasoning={"effort": "low", "summary": "auto"})
    made = client.beta.agents.sessions.create(agent_id=agent.id, environment=NONE, input="hi", metadata={"a": "1"})
    finished(client, made.id)
    changed = client.beta.agents.sessions.update(
        made.id,
        agent={"model": "other", "tools": [WEATHER], "reasoning": {"effort": "high"}},
        metadata={"b": "2"},
    )
    assert (changed.metadata, changed.agent.model, changed.agent.id) == ({"b": "2"}, "other", agent.id)
    assert (changed.agent.reasoning.effort, changed.agent.reasoning.summary) == ("high", "auto")
    assert [getattr(tool, "name", None) for tool in changed.agent.tools] == ["weather"]
    assert client.beta.agents.sessions.update(made.id) == changed
    cleared = client.beta.agents.sessions.update(made.id, agent={"tools": None}, metadata=None)
    assert (cleared.agent.tools, cleared.metadata) == ([], {})
    with client.beta.agents.sessions.stream(made.id, input="again") as events:
        assert events.get_final_result().output_text == "Two."
    assert client.beta.agents.retrieve(agent.id).model == "m", "the saved agent stays as it was"
    assert client.beta.agents.sessions.list(agent_id=agent.id).data[0].id == made.id


def test_sessions_are_listed_in_pages_and_by_their_metadata(client: openai.OpenAI) -> None:
    made = [
        client.beta.agents.sessions.create(
            agent={"model": "m"}, environment=NONE, metadata={"n": str(n % 2), "all": "yes"}
        ).id
        for n in range(5)
    ]
    sessions = client.beta.agents.sessions
    assert [one.id for one in sessions.list(limit=2)] == made[::-1]
    assert [one.id for one in sessions.list(limit=2, order="asc")] == made
    assert [one.id for one in sessions.list(limit=1, order="asc", metadata={"n": "0", "all": "yes"})] == made[::2]
    assert sessions.list(metadata={"n": "2"}).data == []
    sessions.update(made[0], metadata={"n": "9"})
    assert [one.id for one in sessions.list(metadata={"n": "9"})] == [made[0]]
    with pytest.raises(openai.NotFoundError):
        sessions.list(after="ses_none")


def test_a_deleted_session_is_gone(client: openai.OpenAI) -> None:
    sessions = client.beta.agents.sessions
    made = sessions.create(agent={"model": "m"}, environment=NONE)
    deleted = sessions.delete(made.id)
    assert (deleted.id, deleted.deleted, deleted.object) == (made.id, True, "agent.session.deleted")
    calls: list[Any] = [sessions.retrieve, sessions.delete, sessions.update, sessions.events.stream, sessions.items.list]
    for gone in [*calls, sessions.turns.list, sessions.artifacts.list, sessions.subagents.list]:
        with pytest.raises(openai.NotFoundError):
            gone(made.id)
    assert sessions.list().data == []


def test_an_archived_session_says_that_it_takes_nothing_more(client: openai.OpenAI, server: RunningServer) -> None:
    made = client.beta.agents.sessions.create(agent={"model": "m"}, environment=NONE)
    server.call(lambda: server.runtime.archive(made.id))
    read = client.beta.agents.sessions.retrieve(made.id)
    assert read.status == "failed"
    assert "archived" in (read.error or "")
    with pytest.raises(openai.ConflictError) as caught:
        client.beta.agents.sessions.events.create(
            made.id,
            events=[
                {
                    "type": "agent.session.input.message",
                    "input": [{"role": "user", "content": [{"type": "input_text", "text": "hi"}]}],
                }
            ],
        )
    assert caught.value.code == "session_archived"


@pytest.mark.parametrize(
    "given",
    [
        {"environment": {"type": "self_hosted", "workspace_directory": "/workspace"}},
        {"environment": {**HOSTED, "environment_id": "env_1"}},
        {"environment": {**HOSTED, "environment_template_id": "tmpl_1"}},
        {"environment": {**HOSTED, "setup_commands": [{"command": "make"}]}},
        {"environment": {**HOSTED, "desktop": {"enabled": True}}},
        {"environment": NONE, "review": "auto_review"},
        {"environment": NONE, "prompt_cache_options": {"ttl": "12h"}},
    ],
)
def test_what_a_session_cannot_have_says_so_and_leaves_nothing(shared: Shared, given: dict[str, Any]) -> None:
    client = shared.client
    with pytest.raises(openai.InternalServerError) as caught:
        client.beta.agents.sessions.create(agent={"model": "m"}, **given)
    assert (caught.value.status_code, caught.value.code) == (501, "not_supported")
    assert client.beta.agents.sessions.list().data == []
    assert not (shared.folder / "g.db.workspaces").exists()


@pytest.mark.parametrize(
    ("given", "param"),
    [
        ({"environment": NONE}, "agent"),
        ({"environment": NONE, "agent": {"instructions": "no model"}}, "agent.model"),
        ({"environment": {"type": "moon"}, "agent": {"model": "m"}}, "environment"),
        ({"environment": NONE, "agent": {"model": "m"}, "stream_options": {"include_obfuscation": False}}, "stream_options"),
        ({"environment": NONE, "agent": {"model": "m"}, "input": [{"role": "user", "content": []}]}, None),
        ({"environment": NONE, "agent": {"model": "m"}, "input": "   "}, None),
        (
            {
                "environment": {**HOSTED, "files": [{"type": "inline", "path": "/workspace/../etc/x", "data": ""}]},
                "agent": {"model": "m"},
            },
            "environment.files.0.path",
        ),
        (
            {
                "environment": {**HOSTED, "files": [{"type": "inline", "path": "/workspace/a", "data": "?"}]},
                "agent": {"model": "m"},
            },
            "environment.files.0.data",
        ),
    ],
)
def test_what_cannot_be_is_refused_and_leaves_nothing(shared: Shared, given: dict[str, Any], param: str | None) -> None:
    client = shared.client
    with pytest.raises(openai.BadRequestError) as caught:
        client.beta.agents.sessions.create(**given)
    if param is not None:
        assert caught.value.param == param
    assert client.beta.agents.sessions.list().data == []
    assert not (shared.folder / "g.db.workspaces").exists()


def test_a_model_that_is_not_there_is_told_at_once(start: Start) -> None:
    client = client_of(start(settings=ServerSettings(port=0)))
    with pytest.raises(openai.NotFoundError) as caught:
        client.beta.agents.sessions.create(agent={"model": "nobody"}, environment=NONE, input="hi")
    assert caught.value.code == "model_not_found"
    assert client.beta.agents.sessions.list().data == []
