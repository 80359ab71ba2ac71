"""Attachments over HTTP: a client reads its own files, the server fetches addresses by its rules, and nobody makes it read a
path."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator
from pathlib import Path

import httpx2
import pytest

import godwit
from godwit.client import RemoteRuntime, RemoteSession, connect
from godwit.core.errors import AttachmentRefused
from godwit.core.events import UserMessage
from godwit.core.messages import Document, Image, Text, UserBlock
from godwit.host.runtime import Runtime
from godwit.models.script import ScriptedModel
from tests.files import pdf, png
from tests.parts.web_site import page, site
from tests.surfaces.api.remote import served

MODEL = "scripted:m"


@pytest.fixture
async def place(tmp_path: Path) -> AsyncIterator[tuple[RemoteRuntime, str]]:
    models = {MODEL: ScriptedModel(["One.", "Two.", "Three."], MODEL)}
    async with (
        await Runtime.open(tmp_path / "g.db", models=models) as runtime,
        served(runtime) as url,
        connect(url) as client,
    ):
        yield client, url


async def opened(client: RemoteRuntime) -> RemoteSession:
    session = await client.start_session(godwit.Agent("a", model=MODEL))
    assert isinstance(session, RemoteSession)
    return session


async def said(session: RemoteSession) -> list[tuple[UserBlock, ...]]:
    return [e.data.content for e in await session.events() if isinstance(e.data, UserMessage)]


async def test_a_client_sends_its_own_files(place: tuple[RemoteRuntime, str], tmp_path: Path) -> None:
    session = await opened(place[0])
    (tmp_path / "a b.png").write_bytes(png(2, 2))
    await session.send("See.", attachments=[tmp_path / "a b.png", pdf(1), godwit.file(b"text", name="n")])
    await session.follow_up("", attachments=[png(1, 1)])
    await session.wait()
    async for _ in session.stream("/help", attachments=[png(3, 3)]):
        pass
    first, second, third = await said(session)
    assert first == (
        Image("image/png", png(2, 2), name="a b.png"),
        Document("application/pdf", pdf(1)),
        Document("text/plain", b"text", name="n"),
        Text("See."),
    )
    assert second == (Image("image/png", png(1, 1)),)
    assert third == (Image("image/png", png(3, 3)), Text("/help"))
    head = len(await session.events())
    for wrong, words in ((tmp_path / "gone", "cannot be read"), (Image("image/png", b"no"), "no image that models see")):
        with pytest.raises(AttachmentRefused, match=words) as raised:
            await session.send("See.", attachments=[png(1, 1), wrong])
        assert {"field": "attachments", "index": 1}.items() <= raised.value.details.items()
    assert len(await session.events()) == head


async def test_the_server_reads_no_path_and_reaches_no_private_address(place: tuple[RemoteRuntime, str]) -> None:
    client, url = place
    session = await opened(client)
    before = await session.events()
    async with httpx2.AsyncClient(base_url=f"{url}/godwit/v1/sessions/{session.id}") as http, site() as own:
        own.answers["/secret"] = page(png(1, 1), "image/png")
        for attachment in (
            "/etc/passwd",
            {"type": "link", "url": "/etc/passwd"},
            {"type": "link", "url": "../../etc/passwd"},
            {"type": "link", "url": "file:///etc/passwd"},
            {"type": "image", "media_type": "image/png", "url": "file:///etc/passwd"},
            {"type": "document", "media_type": "text/plain", "url": "/etc/passwd"},
            {"type": "document", "media_type": "text/plain", "path": "/etc/passwd"},
            {"type": "link", "url": own.url("/secret")},
            {"type": "link", "url": url + "/godwit/v1/sessions"},
            {"type": "link", "url": "http://169.254.169.254/latest/meta-data/"},
            {"type": "text", "text": "no attachment"},
        ):
            for path, field in (("/prompt", "prompt"), ("/follow_up", "message")):
                answered = await http.post(path, json={field: "See.", "attachments": [attachment]})
                assert answered.status_code in (400, 422), (attachment, answered.text)
                assert answered.json()["error"]["code"] in ("attachment_refused", "invalid_argument"), answered.text
                assert "root:" not in answered.text
        assert own.connections == 0
        assert await session.events() == before
        sent = {"type": "image", "media_type": "image/png", "data": base64.b64encode(png(1, 1)).decode()}
        answered = await http.post("/prompt", json={"prompt": "", "attachments": [sent]})
        assert answered.status_code == 200, answered.text
        assert (await http.post("/prompt", json={"prompt": ""})).status_code in (400, 422)
    assert await said(session) == [(Image("image/png", png(1, 1)),)]


async def test_the_server_fetches_what_it_may_reach(tmp_path: Path) -> None:
    models = {MODEL: ScriptedModel(["One."], MODEL)}
    async with site() as own:
        own.answers["/a"] = page(png(4, 4), "text/html")
        async with (
            await Runtime.open(tmp_path / "g.db", models=models, link_reach=[own.here]) as runtime,
            served(runtime) as url,
            connect(url) as client,
        ):
            session = await opened(client)
            await session.send("See.", attachments=[own.url("/a")])
            assert await said(session) == [(Image("image/png", png(4, 4), own.url("/a"), "a"), Text("See."))]
            assert len(own.requests) == 1
