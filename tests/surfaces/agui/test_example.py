"""The front end in `examples/agui`: its server as a person starts it, and its page, through which `page.mjs` walks."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx2
import pytest

from tests.patience import PATIENCE_S
from tests.surfaces.terminal import environment

from .front import CLIENTS, driver_in
from .wire import Wire, asking, said, text_of

EXAMPLE = Path(__file__).parents[3] / "examples" / "agui"
WALK = Path(__file__).parents[2] / "clients" / "page.mjs"


@contextmanager
def serving(folder: Path, *page: str) -> Iterator[str]:
    """Its server's address, for the page at this one."""
    process = subprocess.Popen(
        [sys.executable, os.fspath(EXAMPLE / "server.py"), "0", *page],
        cwd=folder,
        env=environment(),
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    with process, process.stdout:
        try:
            told = process.stdout.readline()
            found = re.match(r"AG-UI at (http://127\.0\.0\.1:\d+)/agui/helper", told)
            assert found, told
            yield found[1]
        finally:
            process.terminate()
            process.wait(PATIENCE_S)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[str]:
    with serving(tmp_path) as url:
        yield url


async def test_its_server_answers(server: str) -> None:
    async with Wire(f"{server}/agui/helper") as wire:
        events = await wire.run(asking("t1", said("Paint the barn.")))
        assert events[-1]["outcome"]["type"] == "interrupt"
        assert "May I look around?" in text_of(events)
        again = await wire.run(asking("t1", said("Paint the barn."), run="run_2"), "/connect")
        assert again[-1]["outcome"] == events[-1]["outcome"]


async def test_its_page_may_ask_and_no_other(server: str) -> None:
    async with httpx2.AsyncClient() as client:
        for origin, status in (("http://127.0.0.1:5173", 200), ("http://127.0.0.1:9", 403)):
            asked = await client.get(f"{server}/agui/helper/capabilities", headers={"origin": origin})
            assert asked.status_code == status


def bundled(folder: Path) -> Path:
    """The page as `npm start` would serve it."""
    node = CLIENTS / "node"
    if shutil.which("node") is None or not (node / ".made").exists():
        pytest.skip("there is no node, or scripts/clients has not made its clients")
    shutil.copytree(EXAMPLE, folder, ignore=shutil.ignore_patterns("node_modules"))
    done = subprocess.run(
        [
            node / "node_modules/.bin/esbuild",
            "page.js",
            "--bundle",
            "--format=esm",
            "--outfile=page.bundle.mjs",
            "--log-level=warning",
        ],
        cwd=folder,
        env={**os.environ, "NODE_PATH": os.fspath(node / "node_modules")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    shutil.copy(folder / "page.bundle.mjs", folder / "page.bundle.js")
    return node


def walk(page: Path, node: Path, *where: str) -> dict[str, Any]:
    driver_in(node, WALK)
    done = subprocess.run(
        ["node", WALK.name, os.fspath(page), *where],
        cwd=node,
        env={**os.environ, "NO_PROXY": "127.0.0.1"},
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stderr == ""
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def check(out: dict[str, Any]) -> None:
    for moment in ("asked", "reloaded"):
        assert out[moment].count("May I look around?") == 1
        assert out[moment].count("First I want to know where I am.") == 1
        assert "do not ask again" in out[moment]
    assert "I was changed" in out["done"]
    assert out["done"].count("Paint the barn.") == 1
    for shown in ("Paint the barn.", "I make a plan.", "I was changed", "So it is settled"):
        assert out["again"].count(shown) == out["done"].count(shown)
    assert re.fullmatch(r"http://127\.0\.0\.1:\d+/\?server=.*#[0-9a-f-]{36}", out["at"])


def test_its_page_over_a_document(server: str, tmp_path: Path) -> None:
    node = bundled(tmp_path / "page")
    check(walk(tmp_path / "page", node, "http://127.0.0.1:5173/", server))


class Files(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


@pytest.mark.slow
def test_its_page_in_a_browser(tmp_path: Path) -> None:
    browser = shutil.which("chromium") or shutil.which("google-chrome")
    if browser is None:
        pytest.skip("there is no Chromium")
    node = bundled(tmp_path / "page")
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Files, directory=tmp_path / "page")) as files:
        threading.Thread(target=files.serve_forever, name="page").start()
        try:
            page = f"http://127.0.0.1:{files.server_port}"
            with serving(tmp_path, page) as server:
                check(walk(tmp_path / "page", node, f"{page}/", server, browser))
        finally:
            files.shutdown()


def test_its_packages_are_those_that_are_tested() -> None:
    wanted = json.loads((EXAMPLE / "package.json").read_text())
    tested = json.loads((WALK.parent / "package.json").read_text())["dependencies"]
    for name, version in {**wanted["dependencies"], **wanted["devDependencies"]}.items():
        assert tested[name] == version
