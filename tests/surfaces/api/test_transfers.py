"""Sessions in and out over HTTP: sent as files, given as files, each tenant's its own."""

from __future__ import annotations

import json
from pathlib import Path

import httpx2
import pytest

import godwit
from godwit.client import connect
from godwit.core.errors import InvalidArgument, SessionNotFound, TooLarge
from godwit.core.events import Labels
from godwit.host.api_keys import ApiKeys
from godwit.surfaces.server import ServerSettings
from tests.engine.conftest import MODEL
from tests.host.session_files import PiFile, pi_call, write

from .remote import RemoteBench, served


def _file(text: str = "hello") -> PiFile:
    file = PiFile(cwd="/")
    file.user(text)
    file.answer("hi", pi_call("t1", command="ls"))
    file.result("t1", "a.txt")
    return file


def _bytes(file: PiFile) -> bytes:
    return b"".join(json.dumps(line).encode() + b"\n" for line in file.lines)


async def test_a_file_is_sent_and_the_session_goes_on(bench: RemoteBench, tmp_path: Path) -> None:
    client = await bench.runtime(["one", "Gone on."])
    agent = godwit.Agent("tester", model=MODEL)
    path = write(tmp_path / "s.jsonl", _file().lines)
    seen: list[int] = []
    report = await client.import_session(path, agent=agent, model=MODEL, name="brought", progress=seen.append)
    assert (report.new, report.format, report.source, report.counts) == (
        True, "pi", "s.jsonl", {"user": 1, "agent": 1, "results": 1},
    )  # fmt: skip
    assert seen == [path.stat().st_size]
    again = await client.import_session(path.read_bytes(), agent=agent)
    assert (again.new, again.session) == (False, report.session)
    session = await client.open_session(report.session)
    assert (session.workspace, (await client.row(report.session)).name) == (None, "brought")
    assert (await session.send("And now?")).text == "Gone on."
    assert len(await session.history()) == 5


BEGINNINGS = {"html": b"<!DOCTYPE html>", "md": b"# hello", "pi": b'{"type":"session"', "jsonl": b'{"godwit":"session"'}


@pytest.mark.parametrize(("format_", "begins"), BEGINNINGS.items())
async def test_a_session_is_given_out(bench: RemoteBench, format_: str, begins: bytes) -> None:
    client = await bench.runtime()
    report = await client.import_session(_bytes(_file()))
    session = await client.open_session(report.session)
    data = await session.export(format_)
    assert data.startswith(begins)
    assert b"".join([piece async for piece in client.export_session(report.session, format_)]) == data
    url = f"{client.connection.url}/godwit/v1/sessions/{report.session}/export"
    async with httpx2.AsyncClient() as http:
        answered = await http.get(url, params={"format": format_})
    assert answered.content == data
    assert answered.headers["content-disposition"].startswith(f'attachment; filename="{report.session}.')
    assert answered.headers["content-security-policy"].startswith("sandbox;")


async def test_what_is_no_session_file_is_refused(bench: RemoteBench, tmp_path: Path) -> None:
    client = await bench.runtime()
    for content in (b"hello", b""):
        with pytest.raises(InvalidArgument):
            await client.import_session(content)
    with pytest.raises(InvalidArgument, match="is not a file"):
        await client.import_session(tmp_path / "missing")
    with pytest.raises(InvalidArgument, match="no folder"):
        await client.import_session(_bytes(_file()), workspace=tmp_path)
    with pytest.raises(SessionNotFound):
        await client.export_session("nobody").__anext__()
    url = f"{client.connection.url}/godwit/v1/imports"
    async with httpx2.AsyncClient() as http:
        assert (await http.post(url, params={"format": "word"}, content=_bytes(_file()))).status_code == 400


async def test_uploads_are_limited_and_each_tenant_has_its_own(tmp_path: Path) -> None:
    async with await godwit.Runtime.open(tmp_path / "godwit.db", check_models=False) as runtime:
        keys = ApiKeys(runtime.store, runtime.clock, runtime.ids)
        first = (await keys.create("a", tenant="one", scopes=("operate",)))[0]
        second = (await keys.create("b", tenant="two", scopes=("operate",)))[0]
        reader = (await keys.create("c", tenant="two", scopes=("read",)))[0]
        async with (
            served(runtime, ServerSettings(port=0, max_upload=100_000, keys=True)) as url,
            connect(url, key=first) as one,
            connect(url, key=second) as two,
            connect(url, key=reader) as three,
        ):
            mine = await one.import_session(_bytes(_file()))
            theirs = await two.import_session(_bytes(_file()))
            assert (mine.new, theirs.new, mine.session == theirs.session) == (True, True, False)
            assert (await runtime.row(mine.session)).labels == Labels(
                "one", (await runtime.row(mine.session)).labels.principal
            )
            with pytest.raises(SessionNotFound):
                await (await two.open_session(mine.session)).export()
            assert b"hello" in await (await three.open_session(theirs.session)).export("md")
            with pytest.raises(godwit.GodwitError) as refused:
                await three.import_session(_bytes(_file("other")))
            assert refused.value.code == "permission_denied"
            with pytest.raises(TooLarge):
                await one.import_session(_bytes(_file("x" * 200_000)))
