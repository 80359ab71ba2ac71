"""Files: uploaded by the official client, put into environments, read again and removed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import openai
import pytest

from godwit.models.script import call, say
from godwit.surfaces.server import ServerSettings

from .conftest import HOSTED, Shared, Start, client_of


def test_files_are_prepared_by_the_sdk_s_own_helper_and_found_by_the_agent(start: Start, tmp_path: Path) -> None:
    client = client_of(start(call("bash", command="cat in/note.txt"), say("Done.")))
    (tmp_path / "note.txt").write_text("a note")
    prepared = client.beta.agents.environments.files.prepare({"/workspace/in/note.txt": tmp_path / "note.txt"})
    (uploaded,) = prepared.uploaded_file_ids
    given: Any = {**HOSTED, "files": prepared.files}
    with client.beta.agents.sessions.create(agent={"model": "m"}, environment=given, input="go", stream=True) as events:
        done = [e.item for e in events if e.type == "agent.session.turn.item.done" and e.item.type == "command_execution"]
    assert [item.output for item in done] == ["a note"]
    (session,) = client.beta.agents.sessions.list().data
    assert session.environment.type == "openai_hosted"
    shown = [(f.type, getattr(f, "file_id", None), f.path, f.size_bytes) for f in session.environment.files]
    assert shown == [("file_id", uploaded, "/workspace/in/note.txt", 6)]


def test_a_file_is_kept_listed_read_and_deleted(start: Start) -> None:
    client = client_of(start())
    made = client.files.create(
        file=("a.txt", b"one"), purpose="user_data", expires_after={"anchor": "created_at", "seconds": 3600}
    )
    assert (made.object, made.bytes, made.filename, made.purpose) == ("file", 3, "a.txt", "user_data")
    assert made.expires_at == made.created_at + 3600
    other = client.files.create(file=("b.txt", b"two"), purpose="user_data")
    assert client.files.retrieve(made.id) == made
    assert [one.id for one in client.files.list(order="asc", limit=1)] == [made.id, other.id]
    assert client.files.list(purpose="assistants_output").data == []
    assert client.files.content(made.id).read() == b"one"
    assert client.files.delete(made.id).deleted
    for gone in (client.files.retrieve, client.files.content, client.files.delete):
        with pytest.raises(openai.NotFoundError):
            gone(made.id)


def test_what_is_no_file_is_refused_and_leaves_nothing(shared: Shared) -> None:
    client = shared.client
    with pytest.raises(openai.InternalServerError) as caught:
        client.files.create(file=("a.jsonl", b"{}"), purpose="batch")
    assert (caught.value.status_code, caught.value.param) == (501, "purpose")
    with pytest.raises(openai.BadRequestError):
        client.files.create(file=("a", b""), purpose="user_data", expires_after={"anchor": "created_at", "seconds": 5})
    assert client.files.list().data == []
    environment: Any = {**HOSTED, "files": [{"type": "file_id", "path": "/workspace/a", "file_id": "file_none"}]}
    with pytest.raises(openai.NotFoundError):
        client.beta.agents.sessions.create(agent={"model": "m"}, environment=environment)
    assert client.beta.agents.sessions.list().data == []


def test_a_file_may_be_larger_than_other_bodies(start: Start) -> None:
    client = client_of(start(settings=ServerSettings(port=0, max_body=1000, max_upload=5000)))
    assert client.files.create(file=("a.bin", b"x" * 4000), purpose="user_data").bytes == 4000
    with pytest.raises(openai.APIStatusError) as caught:
        client.files.create(file=("b.bin", b"x" * 6000), purpose="user_data")
    assert caught.value.status_code == 413
