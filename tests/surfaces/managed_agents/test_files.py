"""Files: uploaded, listed in both styles of pages, mounted into sessions, and left by them."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import anthropic
import httpx
import pytest

import godwit
from godwit.core.events import ToolFinished
from godwit.core.ids import SessionId
from godwit.core.messages import Text
from godwit.host.api_keys import ApiKeys
from godwit.models.script import call, say
from godwit.surfaces.server import ServerSettings
from tests.surfaces.managed_agents.conftest import Start, client_of
from tests.surfaces.server.clocks import SteppedClock
from tests.surfaces.server.running import RunningServer

TOOLS: Any = [{"type": "agent_toolset_20260401"}]


def a_session(client: anthropic.Anthropic, kind: Any = "cloud", **fields: Any) -> Any:
    agent = client.beta.agents.create(name="a", model="m", tools=TOOLS)
    name = f"{kind}{len(list(client.beta.environments.list()))}"
    environment = client.beta.environments.create(name=name, config={"type": kind})
    return client.beta.sessions.create(agent=agent.id, environment_id=environment.id, **fields)


def folder_of(server: RunningServer, session: str) -> Path:
    async def get() -> Path:
        return Path((await server.runtime.store.session(SessionId(session))).workspace or "")

    return server.call(get)


def prompted(server: RunningServer, session: str) -> list[str]:
    """The results of the calls that a prompt leads to."""

    async def go() -> list[str]:
        handle = await server.runtime.desk.session(session)
        await handle.send("go")
        finished = [event.data for event in await handle.events() if isinstance(event.data, ToolFinished)]
        return ["".join(block.text for block in data.content or () if isinstance(block, Text)) for data in finished]

    return server.call(go)


# --- uploading ----------------------------------------------------------------------------------------------------------


def test_a_file_is_kept_as_it_was_uploaded(client: anthropic.Anthropic) -> None:
    content = bytes(range(256)) * 8192
    made = client.beta.files.upload(file=("data.bin", content, "application/x-thing"))
    shown: Any = made.to_dict(mode="json")
    assert shown | {"id": "", "created_at": ""} == {
        "type": "file",
        "id": "",
        "filename": "data.bin",
        "mime_type": "application/x-thing",
        "size_bytes": len(content),
        "created_at": "",
        "expires_at": None,
        "downloadable": True,
        "scope": None,
    }
    assert client.beta.files.retrieve_metadata(made.id) == made
    downloaded = client.beta.files.download(made.id)
    assert downloaded.read() == content
    assert downloaded.headers["content-type"] == "application/x-thing"
    assert downloaded.headers["content-disposition"] == "attachment; filename*=UTF-8''data.bin"
    assert client.files.retrieve_metadata(made.id).filename == "data.bin"
    assert client.beta.files.delete(made.id).id == made.id
    for ask in (client.beta.files.retrieve_metadata, client.beta.files.download, client.beta.files.delete):
        with pytest.raises(anthropic.NotFoundError):
            ask(made.id)


@pytest.mark.parametrize(
    ("given", "name", "kind"),
    [
        (("/home/me/notes.md", b"x"), "notes.md", "text/markdown"),
        (("C:\\me\\notes.txt", b"x"), "notes.txt", "text/plain"),
        (("größe €.csv", b"x"), "größe €.csv", "text/csv"),
        (("", b"x", "application/pdf"), "unnamed.pdf", "application/pdf"),
        (("empty", b""), "empty", "application/octet-stream"),
    ],
)
def test_names_and_types_of_files(client: anthropic.Anthropic, given: Any, name: str, kind: str) -> None:
    made = client.beta.files.upload(file=given)
    assert (made.filename, made.mime_type) == (name, kind)
    assert client.beta.files.download(made.id).read() == given[1]


def test_a_file_may_go_by_itself(client: anthropic.Anthropic) -> None:
    made = client.beta.files.upload(file=("a", b"x"), expires_in_seconds=3600)
    assert made.expires_at is not None
    assert abs((made.expires_at - made.created_at).total_seconds() - 3600) < 1
    for wrong in (0, 3599, 7_776_001):
        with pytest.raises(anthropic.BadRequestError, match="expires_in_seconds"):
            client.beta.files.upload(file=("a", b"x"), expires_in_seconds=wrong)


def test_forms_that_cannot_be_used(server: RunningServer) -> None:
    at = f"{server.url}/v1/files"
    asks: list[dict[str, Any]] = [
        {"json": {"file": "x"}},
        {"data": {"file": "a text"}},
        {"files": {"other": ("a", b"x")}},
        {"files": [("file", ("a", b"x")), ("file", ("b", b"x"))]},
        {"files": {"file": ("a", b"x", "nonsense")}},
        {"content": b"--x\r\nno", "headers": {"content-type": "multipart/form-data; boundary=x"}},
        {"content": b"x", "headers": {"content-type": "multipart/form-data"}},
    ]
    for ask in asks:
        answer = httpx.post(at, **ask)
        assert (answer.status_code, answer.json()["error"]["type"]) == (400, "invalid_request_error"), ask


def test_a_file_that_is_too_large_is_refused(start: Start) -> None:
    server = start(settings=ServerSettings(port=0, models={"*": "scripted:any"}, max_upload=100_000))
    with client_of(server) as client:
        with pytest.raises(anthropic.APIStatusError) as refused:
            client.beta.files.upload(file=("a", b"x" * 100_001))
        assert refused.value.status_code == 413
        assert client.beta.files.upload(file=("a", b"x" * 90_000)).size_bytes == 90_000


# --- listing ------------------------------------------------------------------------------------------------------------


def test_lists_in_pages_and_by_ids(client: anthropic.Anthropic) -> None:
    made = [client.beta.files.upload(file=(f"{n}.txt", b"x")).id for n in range(5)]
    assert [one.id for one in client.beta.files.list(limit=2)] == made[::-1]
    some = client.beta.files.list(ids=[made[1], "file_none", made[3], made[1]])
    assert [one.id for one in some] == [made[3], made[1]]
    with pytest.raises(anthropic.BadRequestError, match="limit"):
        client.beta.files.list(ids=made, limit=2)
    with pytest.raises(anthropic.BadRequestError, match="101 are more"):
        client.beta.files.list(ids=[str(n) for n in range(101)])


def test_pages_of_older_clients(server: RunningServer, client: anthropic.Anthropic) -> None:
    made = [client.beta.files.upload(file=(f"{n}.txt", b"x")).id for n in range(5)][::-1]

    def page(**query: str) -> tuple[list[str], bool, str | None, str | None]:
        answer = httpx.get(f"{server.url}/v1/files", params=query, headers={"anthropic-version": "2023-06-01"}).json()
        assert "next_page" not in answer
        return [one["id"] for one in answer["data"]], answer["has_more"], answer["first_id"], answer["last_id"]

    assert page(limit="2") == (made[:2], True, made[0], made[1])
    assert page(limit="2", after_id=made[1]) == (made[2:4], True, made[2], made[3])
    assert page(limit="2", after_id=made[3]) == (made[4:], False, made[4], made[4])
    assert page(limit="2", before_id=made[4]) == (made[2:4], True, made[2], made[3])
    assert page(limit="9", before_id=made[2]) == (made[:2], False, made[0], made[1])
    assert page(before_id=made[0]) == ([], False, None, None)
    refused = httpx.get(
        f"{server.url}/v1/files", params={"after_id": "file_none"}, headers={"anthropic-version": "2023-06-01"}
    )
    assert refused.status_code == 400


# --- mounts -------------------------------------------------------------------------------------------------------------


def test_files_are_mounted_where_they_are_asked_for(server: RunningServer, client: anthropic.Anthropic) -> None:
    file = client.beta.files.upload(file=("a.txt", b"some words")).id
    paths = [None, "data/a.txt", "/b.txt", "/mnt/session/uploads/deep/c.txt"]
    asked: list[Any] = [{"type": "file", "file_id": file, "mount_path": path} for path in paths]
    session = a_session(client, resources=asked)
    expected = [f"/mnt/session/uploads/{path}" for path in (file, "data/a.txt", "b.txt", "deep/c.txt")]
    assert [one.mount_path for one in session.resources] == expected
    folder = folder_of(server, session.id)
    for path in expected:
        assert (folder / path.lstrip("/")).read_bytes() == b"some words"
    resources: Any = client.beta.sessions.resources
    assert list(resources.list(session.id, limit=3)) == session.resources
    added = resources.add(session.id, type="file", file_id=file, mount_path="later.txt")
    assert resources.retrieve(added.id, session_id=session.id) == added
    assert client.beta.sessions.retrieve(session.id).resources[-1] == added
    assert (folder / "mnt/session/uploads/later.txt").is_file()
    gone = resources.delete(added.id, session_id=session.id)
    assert (gone.id, gone.type) == (added.id, "session_resource_deleted")
    assert not (folder / "mnt/session/uploads/later.txt").exists()
    assert [one.id for one in resources.list(session.id)] == [one.id for one in session.resources]
    with pytest.raises(anthropic.NotFoundError):
        resources.retrieve(added.id, session_id=session.id)
    with pytest.raises(anthropic.BadRequestError, match="authorization_token"):
        resources.update(session.resources[0].id, session_id=session.id, authorization_token="t")
    client.beta.files.delete(file)
    assert (folder / expected[1].lstrip("/")).read_bytes() == b"some words", "a copy"


@pytest.mark.parametrize(
    "paths",
    [
        ["../a"],
        ["a/../../b"],
        ["/mnt/session/uploads/../outputs/a"],
        ["/"],
        [""],
        ["a/"],
        ["/mnt/session/uploads"],
        ["a\n"],
        ["x" * 256],
        ["a", "a"],
        ["a/b", "/mnt/session/uploads/a"],
        ["a", "./a/b"],
    ],
)
def test_paths_that_cannot_be_mounted(client: anthropic.Anthropic, paths: list[str]) -> None:
    file = client.beta.files.upload(file=("a.txt", b"x")).id
    asked: list[Any] = [{"type": "file", "file_id": file, "mount_path": path} for path in paths]
    with pytest.raises(anthropic.BadRequestError, match="mount_path"):
        a_session(client, resources=asked)
    session = a_session(client, resources=asked[:-1])
    with pytest.raises(anthropic.BadRequestError, match="mount_path"):
        client.beta.sessions.resources.add(session.id, **asked[-1])
    assert len(client.beta.sessions.retrieve(session.id).resources) == len(paths) - 1


def test_what_cannot_be_mounted(client: anthropic.Anthropic) -> None:
    file = client.beta.files.upload(file=("a.txt", b"x")).id
    mounted: Any = [{"type": "file", "file_id": file}]
    with pytest.raises(anthropic.NotFoundError, match="no file 'file_none'"):
        a_session(client, resources=[{"type": "file", "file_id": "file_none"}])
    with pytest.raises(anthropic.BadRequestError, match="self_hosted"):
        a_session(client, "self_hosted", resources=mounted)
    far = a_session(client, "self_hosted")
    with pytest.raises(anthropic.BadRequestError, match="no files here"):
        client.beta.sessions.resources.add(far.id, **mounted[0])
    for kind in ("github_repository", "memory_store"):
        with pytest.raises(anthropic.APIStatusError) as refused:
            a_session(client, resources=[{"type": kind}])
        assert refused.value.status_code == 501
    ended = a_session(client)
    client.beta.sessions.archive(ended.id)
    with pytest.raises(anthropic.BadRequestError, match="archived"):
        client.beta.sessions.resources.add(ended.id, **mounted[0])


def test_a_mount_follows_no_link_out_of_the_folder(
    server: RunningServer, client: anthropic.Anthropic, tmp_path: Path
) -> None:
    file = client.beta.files.upload(file=("a.txt", b"x")).id
    session = a_session(client)
    uploads = folder_of(server, session.id) / "mnt/session/uploads"
    outside = tmp_path / "outside"
    outside.mkdir()
    (uploads / "away").symlink_to(outside)
    (uploads / "folder").mkdir()
    for path in ("away/a.txt", "folder"):
        with pytest.raises(anthropic.APIStatusError) as refused:
            client.beta.sessions.resources.add(session.id, type="file", file_id=file, mount_path=path)
        assert refused.value.status_code in (400, 409)
    assert not list(outside.iterdir())
    assert list(client.beta.sessions.resources.list(session.id)) == [], "what could not be mounted is none of its resources"


# --- what a session sees, and leaves ------------------------------------------------------------------------------------


@pytest.fixture
def working(start: Start) -> RunningServer:
    return start(
        say("Reading.") + call("read", file_path="/mnt/session/uploads/in.txt"),
        say("Working.")
        + call("bash", command="tr a-z A-Z < /mnt/session/uploads/in.txt > /mnt/session/outputs/out.txt; pwd"),
        say("Writing.") + call("write", file_path="/mnt/session/outputs/more/notes.md", content="# Notes\n"),
        "Done.",
    )


@pytest.mark.skipif(not os.path.exists("/usr/bin/bwrap"), reason="a sandbox has to show the folder to commands")
def test_a_session_reads_what_it_was_given_and_its_outputs_are_files(working: RunningServer) -> None:
    with client_of(working) as client:
        file = client.beta.files.upload(file=("in.txt", b"words\n")).id
        session = a_session(client, resources=[{"type": "file", "file_id": file, "mount_path": "in.txt"}])
        results = prompted(working, session.id)
        assert "words" in results[0]
        assert str(folder_of(working, session.id)) in results[1]
        listed = list(client.beta.files.list(scope_id=session.id))
        assert {one.filename: client.beta.files.download(one.id).read() for one in listed} == {
            "out.txt": b"WORDS\n",
            "more/notes.md": b"# Notes\n",
        }
        assert all(one.scope is not None and one.scope.id == session.id for one in listed)
        assert {one.mime_type for one in listed} == {"text/plain", "text/markdown"}


def test_outputs_keep_their_ids_and_show_what_is_there_now(server: RunningServer, client: anthropic.Anthropic) -> None:
    session = a_session(client)
    outputs = folder_of(server, session.id) / "mnt/session/outputs"
    (outputs / "a.txt").write_text("one")
    (outputs / "leads-away").symlink_to("/etc/passwd")
    (outputs / "loop").symlink_to(outputs)
    os.mkfifo(outputs / "pipe")
    listed = list(client.beta.files.list(scope_id=session.id))
    assert [one.filename for one in listed] == ["a.txt"]
    assert list(client.beta.files.list(scope_id=session.id)) == listed
    (outputs / "a.txt").write_text("another")
    (changed,) = client.beta.files.list(scope_id=session.id)
    assert (changed.id, changed.size_bytes, client.beta.files.download(changed.id).read()) == (listed[0].id, 7, b"another")
    (outputs / "a.txt").unlink()
    assert [one.id for one in client.beta.files.list(scope_id=session.id)] == [changed.id], "it was delivered"
    client.beta.files.delete(changed.id)
    (outputs / "b.txt").write_text("b")
    (other,) = client.beta.files.list(scope_id=session.id)
    client.beta.files.delete(other.id)
    assert list(client.beta.files.list(scope_id=session.id)) == [], "it stays away while it is the same"
    (outputs / "b.txt").write_text("new")
    assert [one.id for one in client.beta.files.list(scope_id=session.id)] == [other.id]
    again = client.beta.sessions.create(agent=session.agent.id, environment_id=session.environment_id)
    assert list(client.beta.files.list(scope_id=again.id)) == []
    assert list(client.beta.files.list(scope_id="ses_none")) == []
    client.beta.sessions.delete(session.id)
    assert list(client.beta.files.list()) == []


@pytest.mark.parametrize("way", ["godwit", "runtime", "retention"])
def test_outputs_go_with_their_session_whoever_deletes_it(start: Start, way: str) -> None:
    clock = SteppedClock()
    settings = ServerSettings(port=0, models={"*": "scripted:any"}, archived_days=1.0)
    server = start(settings=settings, clock=clock)
    with client_of(server) as client:
        uploaded = client.beta.files.upload(file=("mine.txt", b"stays"))
        session = a_session(client)
        (folder_of(server, session.id) / "mnt/session/outputs/a.txt").write_text("one")
        (output,) = client.beta.files.list(scope_id=session.id)
        match way:
            case "godwit":
                assert httpx.delete(f"{server.url}/godwit/v1/sessions/{session.id}").status_code in (200, 204)
            case "runtime":
                server.call(lambda: server.runtime.delete_session(session.id))
            case _:
                client.beta.sessions.archive(session.id)
                clock.advance(2 * 86_400)
                assert server.call(server.app.upkeep.delete_archived) == 1
        assert [one.id for one in client.beta.files.list()] == [uploaded.id]
        with pytest.raises(anthropic.NotFoundError):
            client.beta.files.download(output.id)

        async def left() -> int:
            store, every = server.runtime.store, ("file", "managed_agents.session")
            return sum([len(await store.documents(kind, tenant=None)) for kind in every])

        assert server.call(left) == 1


def test_an_output_can_be_mounted_elsewhere(server: RunningServer, client: anthropic.Anthropic) -> None:
    first = a_session(client)
    (folder_of(server, first.id) / "mnt/session/outputs/a.txt").write_text("handed on")
    (output,) = client.beta.files.list(scope_id=first.id)
    second = a_session(client, resources=[{"type": "file", "file_id": output.id, "mount_path": "a.txt"}])
    assert (folder_of(server, second.id) / "mnt/session/uploads/a.txt").read_text() == "handed on"


# --- content that names files -------------------------------------------------------------------------------------------

PIXEL = b"\x89PNG\r\n\x1a\n"


def named(kind: str, file: str, **fields: Any) -> Any:
    return {"type": kind, "source": {"type": "file", "file_id": file}, **fields}


def message(*blocks: Any) -> Any:
    return {"type": "user.message", "content": list(blocks)}


def test_content_names_files(start: Start) -> None:
    server = start(say("A bird.") + call("look"), "Seen.")
    with client_of(server) as client:
        image = client.beta.files.upload(file=("bird.png", PIXEL)).id
        notes = client.beta.files.upload(file=("birds.csv", "größe\n1\n".encode())).id
        paper = client.beta.files.upload(file=("bird.pdf", b"%PDF-")).id
        look: Any = {"type": "custom", "name": "look", "description": "", "input_schema": {"type": "object"}}
        agent = client.beta.agents.create(name="a", model="m", tools=[look])
        environment = client.beta.environments.create(name="here")
        first = message(named("image", image), named("document", notes), named("document", paper, title="Paper"))
        session = client.beta.sessions.create(agent=agent.id, environment_id=environment.id, initial_events=[first])
        with client.beta.sessions.events.stream(session.id) as stream:
            listed: list[Any] = list(client.beta.sessions.events.list(session.id))
            if not any(event.type == "session.status_idle" for event in listed):
                next(event for event in stream if event.type == "session.status_idle")
        listed = list(client.beta.sessions.events.list(session.id))
        (said,) = (event for event in listed if event.type == "user.message")
        assert [block.to_dict() for block in said.content] == [
            {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "iVBORw0KGgo="}},
            {
                "type": "document",
                "source": {"type": "text", "media_type": "text/plain", "data": "größe\n1\n"},
                "title": "birds.csv",
            },
            {
                "type": "document",
                "source": {"type": "base64", "media_type": "application/pdf", "data": "JVBERi0="},
                "title": "Paper",
            },
        ]
        use = next(event for event in listed if event.type == "agent.custom_tool_use")
        result: Any = {
            "type": "user.custom_tool_result",
            "custom_tool_use_id": use.id,
            "content": [named("document", notes)],
        }
        (answered,) = client.beta.sessions.events.send(session.id, events=[result]).data or []
        shown: Any = answered
        assert shown.content[0].source.data == "größe\n1\n"


def test_content_that_names_what_cannot_be_used(client: anthropic.Anthropic) -> None:
    session = a_session(client).id
    binary = client.beta.files.upload(file=("a.bin", b"\xff\x00")).id
    text = client.beta.files.upload(file=("a.txt", b"\xff\xff")).id
    empty = client.beta.files.upload(file=("a.png", b"")).id
    wrong = [
        (named("image", "file_none"), "no file 'file_none'"),
        (named("image", binary), "no image"),
        (named("document", binary), "PDF or text|application/pdf or text"),
        (named("document", text), "UTF-8"),
        (named("image", empty), "nothing in the file"),
        ({"type": "image", "source": {"type": "file", "file_id": 1}}, "file_id"),
        ({"type": "image", "source": {"type": "file", "file_id": text, "more": 1}}, "more"),
    ]
    for block, words in wrong:
        with pytest.raises(anthropic.BadRequestError, match=words):
            client.beta.sessions.events.send(session, events=[message(block)])
    many = [named("image", f"file_{n}") for n in range(101)]
    with pytest.raises(anthropic.BadRequestError, match="more than 100"):
        client.beta.sessions.events.send(session, events=[message(*many)])
    assert list(client.beta.sessions.events.list(session)) == []


# --- tenants ------------------------------------------------------------------------------------------------------------


def test_a_tenant_meets_nothing_of_anothers_files(start: Start) -> None:
    keys: list[str] = []

    async def prepare(runtime: godwit.Runtime) -> None:
        made = ApiKeys(runtime.store, runtime.clock, runtime.ids)
        for tenant, scope in (("t", "operate"), ("u", "admin"), ("t", "read")):
            keys.append((await made.create(tenant, tenant=tenant, scopes=[scope]))[0])

    settings = ServerSettings(port=0, models={"*": "scripted:any"}, keys=True)
    server = start(settings=settings, prepare=prepare)
    with (
        client_of(server, api_key=keys[0]) as ours,
        client_of(server, api_key=keys[1]) as theirs,
        client_of(server, api_key=keys[2]) as eye,
    ):
        file = ours.beta.files.upload(file=("a.txt", b"x")).id
        resources: Any = [{"type": "file", "file_id": file}]
        session = a_session(ours, resources=resources)
        (folder_of(server, session.id) / "mnt/session/outputs/out.txt").write_text("x")
        (output,) = ours.beta.files.list(scope_id=session.id)
        for id_ in (file, output.id):
            for ask in (theirs.beta.files.retrieve_metadata, theirs.beta.files.download, theirs.beta.files.delete):
                with pytest.raises(anthropic.NotFoundError, match="there is no file"):
                    ask(id_)
        assert list(theirs.beta.files.list()) == []
        assert list(theirs.beta.files.list(ids=[file, output.id])) == []
        assert list(theirs.beta.files.list(scope_id=session.id)) == []
        own = a_session(theirs)
        with pytest.raises(anthropic.NotFoundError):
            theirs.beta.sessions.resources.add(own.id, type="file", file_id=file)
        with pytest.raises(anthropic.BadRequestError, match="there is no file"):
            theirs.beta.sessions.events.send(own.id, events=[message(named("document", file))])
        with pytest.raises(anthropic.NotFoundError, match="there is no session"):
            theirs.beta.sessions.resources.list(session.id)
        assert eye.beta.files.retrieve_metadata(file).id == file
        for refused in (lambda: eye.beta.files.upload(file=("a", b"x")), lambda: eye.beta.files.delete(file)):
            with pytest.raises(anthropic.PermissionDeniedError):
                refused()
