"""The reference servers of the protocol, over stdio and over HTTP, as tools of sessions whose scripted models use them in
earnest; what the servers keep is looked at afterwards. `scripts/conformance` installs them."""

from __future__ import annotations

import asyncio
import base64
import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
from tests.conformance import real_servers
from tests.conformance.real_servers import Served, served
from tests.engine.conftest import MODEL, Bench, bench, data, within

from godwit import Agent
from godwit.core.events import ArtifactStored, Delta, ToolFinished, ToolStarted
from godwit.core.messages import Image, text_of
from godwit.engine.session import Session
from godwit.models.script import call, say

__all__ = ["bench"]

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(real_servers.absent() is not None, reason=real_servers.absent() or ""),
    # The streams of the bridge's servers are left open when their client goes.
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]
both = pytest.mark.parametrize("way", ["stdio", "http"])
PIXEL = base64.b64decode("iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNkYPhfDwAChwGA60e6kgAAAABJRU5ErkJggg==")


def asks(tool: str, **arguments: Any) -> Any:
    return call(f"mcp__real__{tool}", **arguments)


async def session_of(bench: Bench, of: Served, *steps: Any, workspace: Path | None = None) -> Session:
    runtime = await bench.runtime([*steps, say("Done.")], mcp=of.settings)
    return await runtime.start_session(Agent("tester", model=MODEL, mcp_servers=[of.server]), workspace=workspace)


async def ran(session: Session) -> list[ToolFinished]:
    """The results of a run's calls, in their order."""
    result = await within(session.prompt_and_wait("Go."))
    assert result.text == "Done.", result
    order = [started.call for started in await data(session, ToolStarted)]
    ended: dict[Any, ToolFinished] = {one.call: one for one in await data(session, ToolFinished)}
    return [ended[one] for one in order] + [one for name, one in ended.items() if name not in order]


def texts(results: list[ToolFinished]) -> list[str]:
    return [text_of(one.content) for one in results]


@pytest.mark.parametrize("way", ["stdio", "http", "sse"])
async def test_everything(bench: Bench, way: str) -> None:
    steps = [
        asks("echo", message="hello") + asks("get-sum", a=2, b=40),
        asks("get-tiny-image"),
        asks("get-structured-content", location="Chicago"),
        asks("get-annotated-message", messageType="error", includeImage=True),
        asks("get-resource-links", count=3),
        asks("get-resource-reference", resourceType="Text", resourceId=1),
        asks("get-resource-reference", resourceType="Blob", resourceId=2),
        asks("get-structured-content", location="Rome"),
        asks("get-resource-reference", resourceType="Text", resourceId=-1),
        asks("echo"),
        asks("trigger-long-running-operation", duration=1, steps=4),
    ]
    with served("everything", way) as of:
        session = await session_of(bench, of, *steps)
        shown: list[str] = []

        async def watch() -> None:
            async for one in session.watch():
                if isinstance(one, Delta) and one.kind == "progress":
                    shown.append(one.text)

        watching = asyncio.create_task(watch())
        results = await ran(session)
        watching.cancel()
        by_name: dict[str, list[ToolFinished]] = {}
        for one in results:
            by_name.setdefault(one.name.removeprefix("mcp__real__"), []).append(one)
        echo, no_echo = by_name["echo"]
        assert (echo.status, text_of(echo.content)) == ("ok", "Echo: hello")
        assert no_echo.status == "invalid"  # by its schema, before the server is asked
        assert texts(by_name["get-sum"]) == ["The sum of 2 and 40 is 42."]
        (image,) = [block for block in by_name["get-tiny-image"][0].content if isinstance(block, Image)]
        assert image.data is not None
        assert image.data.startswith(b"\x89PNG")
        chicago, rome = by_name["get-structured-content"]
        assert set(chicago.metadata["structured"]) == {"temperature", "conditions", "humidity"}
        assert rome.status == "invalid"
        (told,) = by_name["get-annotated-message"]
        assert any(isinstance(block, Image) for block in told.content)
        (links,) = texts(by_name["get-resource-links"])
        assert len(re.findall(r"\[resource [^]]+, demo://resource/", links)) == 3
        text, blob, wrong = by_name["get-resource-reference"]
        assert "[resource demo://resource/dynamic/text/1]\nResource 1: This is a plaintext resource" in text_of(text.content)
        assert "demo://resource/dynamic/blob/2" in text_of(blob.content)
        assert wrong.status == "error"
        assert "Invalid resourceId: -1" in text_of(wrong.content)
        (long,) = texts(by_name["trigger-long-running-operation"])
        assert long == "Long running operation completed. Duration: 1 seconds, Steps: 4."
        assert shown[0] == "1 of 4"


@pytest.mark.parametrize("way", ["stdio", "http", "sse"])
async def test_everything_is_interrupted_and_goes_on(bench: Bench, way: str) -> None:
    with served("everything", way) as of:
        session = await session_of(
            bench, of, asks("trigger-long-running-operation", duration=600, steps=6000), asks("echo", message="still here")
        )

        async def progress() -> None:
            async for one in session.watch():
                if isinstance(one, Delta) and one.kind == "progress":
                    return

        under_way = asyncio.create_task(progress())
        running = asyncio.create_task(session.prompt_and_wait("Go."))
        await within(under_way)
        await session.interrupt()
        assert (await within(running)).outcome == "interrupted"
        assert texts(await ran(session))[-1] == "Echo: still here"


@both
async def test_filesystem(bench: Bench, tmp_path: Path, way: str) -> None:
    (tmp_path / "picture.png").write_bytes(PIXEL)
    (tmp_path / "large.txt").write_text("\n".join(f"line {n}" for n in range(40_000)))
    note, moved = str(tmp_path / "sub" / "note.txt"), str(tmp_path / "sub" / "moved.txt")
    steps = [
        asks("create_directory", path=str(tmp_path / "sub")),
        asks("write_file", path=note, content="one\ntwo\nzwölf 🐦\n"),
        asks("edit_file", path=note, edits=[{"oldText": "two", "newText": "three"}]),
        asks("move_file", source=note, destination=moved),
        asks("read_text_file", path=moved) + asks("get_file_info", path=moved) + asks("list_directory", path=str(tmp_path)),
        asks("read_text_file", path=str(tmp_path / "large.txt")),
        asks("read_text_file", path=str(tmp_path / "large.txt"), head=2, tail=None),
        asks("read_media_file", path=str(tmp_path / "picture.png")),
        asks("search_files", path=str(tmp_path), pattern="**/*.txt", excludePatterns=None),
        asks("read_text_file", path="/etc/hostname"),
        asks("edit_file", path=moved, edits=[{"oldText": "nowhere", "newText": "x"}]),
    ]
    with served("filesystem", way, str(tmp_path)) as of:
        session = await session_of(bench, of, *steps)
        results = await ran(session)
        said = texts(results)
        assert [one.status for one in results] == ["ok"] * 11 + ["error"] * 2
        assert "zwölf 🐦" in said[4]
        assert "[FILE] large.txt" in said[6]
        assert len(said[7]) < 200_000
        assert await data(session, ArtifactStored)
        assert said[8] == "line 0\nline 1"
        (image,) = [block for block in results[9].content if isinstance(block, Image)]
        assert image.data == PIXEL
        assert "moved.txt" in said[10]
        assert "outside allowed directories" in said[11]
    assert Path(moved).read_text() == "one\nthree\nzwölf 🐦\n"
    assert not Path(note).exists()


@both
async def test_memory(bench: Bench, tmp_path: Path, way: str) -> None:
    file = tmp_path / "graph.jsonl"
    birds = [
        {"name": name, "entityType": "bird", "observations": [f"{name} wades"]} for name in ("godwit", "curlew", "dodo")
    ]
    steps = [
        asks("create_entities", entities=birds),
        asks("create_relations", relations=[{"from": "godwit", "to": "curlew", "relationType": "is like"}]),
        asks("add_observations", observations=[{"entityName": "godwit", "contents": ["flies far"]}]),
        asks("delete_entities", entityNames=["dodo"]),
        asks("search_nodes", query="far") + asks("open_nodes", names=["curlew"]) + asks("read_graph"),
        asks("add_observations", observations=[{"entityName": "nobody", "contents": ["x"]}]),
    ]
    with served("memory", way, env={"MEMORY_FILE_PATH": str(file)}) as of:
        session = await session_of(bench, of, *steps)
        results = await ran(session)
        assert [one.status for one in results] == ["ok"] * 7 + ["error"]
        found, opened, graph = (json.loads(text) for text in texts(results)[4:7])
        assert [one["name"] for one in found["entities"]] == ["godwit"]
        assert opened["entities"][0]["observations"] == ["curlew wades"]
        assert sorted(one["name"] for one in graph["entities"]) == ["curlew", "godwit"]
    kept = [json.loads(line) for line in file.read_text().splitlines()]
    assert [one["observations"] for one in kept if one.get("name") == "godwit"] == [["godwit wades", "flies far"]]
    assert [one["relationType"] for one in kept if one["type"] == "relation"] == ["is like"]


@both
async def test_sequential_thinking(bench: Bench, way: str) -> None:
    thoughts = [
        {"thought": f"Thought {n}.", "nextThoughtNeeded": n < 3, "thoughtNumber": n, "totalThoughts": 3} for n in (1, 2, 3)
    ]
    with served("sequential-thinking", way) as of:
        session = await session_of(bench, of, *(asks("sequentialthinking", **thought) for thought in thoughts))
        results = await ran(session)
        assert [json.loads(text)["thoughtHistoryLength"] for text in texts(results)] == [1, 2, 3]
        assert [json.loads(text)["nextThoughtNeeded"] for text in texts(results)] == [True, True, False]


@both
async def test_git(bench: Bench, tmp_path: Path, way: str) -> None:
    repository = tmp_path / "repository"
    repository.mkdir()

    def git(*words: str) -> str:
        settings = ["-c", "user.name=T", "-c", "user.email=t@example.com"]
        return subprocess.run(
            ["git", *settings, *words], cwd=repository, check=True, capture_output=True, text=True
        ).stdout.strip()

    git("init", "-q", "-b", "main")
    (repository / "a.txt").write_text("one\n")
    git("add", ".")
    git("commit", "-q", "-m", "The first")
    for key, value in (("user.name", "Tester"), ("user.email", "t@example.com")):
        git("config", key, value)
    (repository / "a.txt").write_text("one\ntwo\n")
    (repository / "b.txt").write_text("new\n")
    here = {"repo_path": str(repository)}
    steps = [
        asks("git_status", **here) + asks("git_diff_unstaged", **here),
        asks("git_create_branch", **here, branch_name="work", base_branch=None),
        asks("git_checkout", **here, branch_name="work"),
        asks("git_add", **here, files=["a.txt", "b.txt"]),
        asks("git_diff_staged", **here, context_lines=0),
        asks("git_commit", **here, message="The second, of a model"),
        asks("git_log", **here, max_count=1),
        asks("git_show", **here, revision="HEAD"),
        asks("git_branch", **here, branch_type="local"),
        asks("git_checkout", **here, branch_name="no-such-branch"),
        asks("git_add", **here, files=["../outside.txt"]),
        asks("git_status", repo_path=str(tmp_path)),
    ]
    with served("git", way, "--repository", str(repository)) as of:
        session = await session_of(bench, of, *steps)
        results = await ran(session)
        said = texts(results)
        assert [one.status for one in results] == ["ok"] * 10 + ["error"] * 3
        assert "modified:   a.txt" in said[0]
        assert "+two" in said[1]
        assert "+new" in said[5]
        assert "committed successfully" in said[6]
        assert "The second, of a model" in said[7]
        assert "+two" in said[8]
        assert "work" in said[9]
    assert git("log", "--format=%s|%an", "-1") == "The second, of a model|Tester"
    assert git("branch", "--show-current") == "work"
    assert git("status", "--porcelain") == ""


@both
async def test_time(bench: Bench, way: str) -> None:
    steps = [
        asks("get_current_time", timezone="Asia/Tokyo"),
        asks("convert_time", source_timezone="Etc/UTC", time="12:30", target_timezone="Asia/Kolkata"),
        asks("get_current_time", timezone="Nowhere/Atlantis"),
        asks("convert_time", source_timezone="Etc/UTC", time="25:99", target_timezone="Asia/Kolkata"),
    ]
    with served("time", way) as of:
        session = await session_of(bench, of, *steps)
        now, converted, nowhere, never = await ran(session)
        assert json.loads(text_of(now.content))["timezone"] == "Asia/Tokyo"
        assert "T18:00" in json.loads(text_of(converted.content))["target"]["datetime"]
        assert (nowhere.status, never.status) == ("error", "error")
        assert "Nowhere/Atlantis" in text_of(nowhere.content)
