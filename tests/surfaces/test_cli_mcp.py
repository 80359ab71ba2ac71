"""`godwit mcp`: what would be used in a folder, adding and removing it in files, and how it is with each server."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

from godwit import Agent, Runtime
from godwit.core.errors import ConfigurationError, Conflict
from godwit.core.mcp import McpServer
from godwit.host.mcp.editing import add_to_config, add_to_mcp_json, remove_from_config, remove_from_mcp_json
from godwit.models.script import ScriptedModel
from tests.parts import mcp_library, mcp_program
from tests.parts.mcp_site import mcp_site
from tests.patience import PATIENCE_S
from tests.surfaces.terminal import MODEL, Command, Ended

PROGRAM = mcp_program.__file__


class Place:
    def __init__(self, command: Command, path: Path) -> None:
        self.command = command
        self.own = path / "home" / "config.toml"
        self.own.parent.mkdir()
        self.own.write_text("")
        self.json = command.folder / ".mcp.json"
        self.env = {"GODWIT_CONFIG": str(self.own), "GODWIT_TRUST": str(path / "home" / "trusted.json")}

    async def run(self, *words: str) -> Ended:
        return await self.command.run(*words, **self.env)


@pytest.fixture
def place(command: Command, tmp_path: Path) -> Place:
    return Place(command, tmp_path)


async def test_a_server_is_added_listed_used_and_removed(place: Place) -> None:
    place.command.database.parent.mkdir()
    async with await Runtime.open(place.command.database, models={MODEL: ScriptedModel([], MODEL)}) as runtime:
        await runtime.start_session(Agent("tester", model=MODEL), workspace=place.command.folder)
    added = await place.run("mcp", "add", "prog", "--", sys.executable, PROGRAM)
    assert added.code == 0, added.err
    called = await place.run("tool", "last", "mcp__prog__echo", '{"text": "hello"}')
    assert (called.code, "hello" in called.out) == (0, True), called.err
    (listed,) = (await place.run("mcp", "list", "--json")).lines
    assert listed["place"] == f"{place.own}:1"
    assert (listed["name"], listed["server"], listed["used"]) == ("prog", f"{sys.executable} {PROGRAM}", True)
    removed = await place.run("mcp", "remove", "prog")
    assert (removed.code, place.own.read_text()) == (0, "")


async def test_status_connects_and_says_why_not(place: Place) -> None:
    with mcp_site() as site:
        host = site.url.split("/")[2]
        place.own.write_text(
            f'[mcp]\nreach = ["{host}"]\n[mcp.servers.site]\nurl = "{site.url}"\n'
            '[mcp.servers.gone]\ncommand = "no-such-program"\n[mcp.servers.off]\ncommand = "x"\nenabled = false\n'
        )
        place.json.write_text(json.dumps({"mcpServers": {"theirs": {"command": "touch", "args": ["started"]}}}))
        shown = await place.run("mcp", "status", "--json")
    assert shown.code == 1
    found = {one["name"]: one for one in shown.lines}
    assert set(found) == {"site", "gone", "off"}, "of a folder that is not trusted nothing is started"
    assert not (place.command.folder / "started").exists()
    assert (found["site"]["health"], found["site"]["transport"]) == ("connected", "http")
    assert found["site"]["tool_count"] > 0
    assert found["gone"]["health"] == "failed"
    assert "no-such-program" in found["gone"]["error"]
    assert found["off"]["health"] == "disabled"
    assert "'theirs' is not used" in shown.err


async def test_a_folders_file_is_changed_with_project_and_has_to_be_trusted(place: Place) -> None:
    place.json.write_text('{\n    "inputs": [],\n    "mcpServers": {"a": {"command": "x", "alwaysAllow": ["y"]}}\n}\n')
    added = await place.run("mcp", "add", "b", "https://b.example/mcp", "--header", "X-Api-Key: ${KEY}", "--project")
    assert added.code == 0, added.err
    assert "not used before godwit trust" in added.err
    entry = {"type": "http", "url": "https://b.example/mcp", "headers": {"X-Api-Key": "${KEY}"}}
    assert json.loads(place.json.read_text()) == {
        "inputs": [],
        "mcpServers": {"a": {"command": "x", "alwaysAllow": ["y"]}, "b": entry},
    }
    line = (await place.run("mcp")).out.splitlines()[0]
    why = "this folder may not say which MCP servers there are, unless you trust it"
    assert line == f"a                 x  ({place.json}:4; not used: {why})"
    assert (await place.run("trust")).code == 0
    assert [one["used"] for one in (await place.run("mcp", "list", "--json")).lines] == [True, True]


async def test_settings_that_are_typed_stand_in_both_files(place: Place) -> None:
    words = ["https://a.example/mcp", "--sampling", "deny", "--no-defer", "--always", "find", "--always", "get"]
    words += ["--timeout", "5", "--log-level", "info", "--without", "drop"]
    more = {"without": ["drop"], "timeout_s": 5.0, "log_level": "info", "defer": False, "always": ["find", "get"]}
    more["sampling"] = "deny"
    assert (await place.run("mcp", "add", "a", *words)).code == 0
    assert tomllib.loads(place.own.read_text())["mcp"]["servers"]["a"] == {"url": "https://a.example/mcp", **more}
    assert (await place.run("mcp", "add", "a", *words, "--project")).code == 0
    entry = {"type": "http", "url": "https://a.example/mcp", "godwit": more}
    assert json.loads(place.json.read_text()) == {"mcpServers": {"a": entry}}
    wrong = await place.run("mcp", "add", "b", "https://b.example/mcp", "--sampling", "perhaps")
    assert (wrong.code, "'perhaps'" in wrong.err) == (2, True)


async def test_what_cannot_be_added_is_refused_and_nothing_is_written(place: Place) -> None:
    secret = await place.run("mcp", "add", "a", "--env", "API_KEY=sk-literal", "--", "x")
    assert secret.code == 2
    assert "write ${NAME}" in secret.err
    assert "sk-literal" not in secret.err
    nothing = await place.run("mcp", "add", "a")
    assert (nothing.code, "type its address" in nothing.err) == (2, True)
    assert place.own.read_text() == ""


TEXT = """\
# mine
[budget]  # what I spend
usd = 5

[mcp]
idle_s = 60

# the docs
[mcp.servers.docs]
url = "https://docs.example/mcp"

[mcp.servers.docs.headers]
X-A = "b"

# hooks of mine
[[hooks]]
point = "before_run"
command = "true"
"""


def test_the_rest_of_a_configuration_file_stays_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    path.write_text(TEXT)
    path.chmod(0o600)
    server = McpServer(
        "my tool", command="x", args=('say "hi"', "back\\slash", "über"), env={"A.B": "1", "C": "${D}"}, timeout_s=5
    )
    add_to_config(str(path), server)
    assert path.read_text().startswith(TEXT)
    assert tomllib.loads(path.read_text())["mcp"]["servers"]["my tool"] == {
        "command": "x",
        "args": ['say "hi"', "back\\slash", "über"],
        "env": {"A.B": "1", "C": "${D}"},
        "timeout_s": 5,
    }
    with pytest.raises(Conflict, match="remove it first"):
        add_to_config(str(path), server)
    assert remove_from_config(str(path), "my tool")
    assert path.read_text().rstrip() == TEXT.rstrip()
    assert remove_from_config(str(path), "docs")
    left = path.read_text()
    assert "docs.example" not in left
    assert "# hooks of mine\n[[hooks]]" in left
    assert tomllib.loads(left) == {k: {"idle_s": 60} if k == "mcp" else v for k, v in tomllib.loads(TEXT).items()}
    assert path.stat().st_mode & 0o777 == 0o600
    assert remove_from_config(str(path), "docs") is False


@pytest.mark.parametrize("text", ['[mcp]\nservers = { a = { command = "x" } }\n', '[mcp.servers]\na.command = "x"\n'])
def test_what_is_written_otherwise_is_left_to_its_owner(tmp_path: Path, text: str) -> None:
    path = tmp_path / "config.toml"
    path.write_text(text)
    with pytest.raises(ConfigurationError, match="by hand"):
        remove_from_config(str(path), "a")
    assert path.read_text() == text
    assert [one.name for one in tmp_path.iterdir()] == ["config.toml"]


def test_a_link_stays_one_and_a_file_is_made_where_there_is_none(tmp_path: Path) -> None:
    real, link = tmp_path / "real.json", tmp_path / ".mcp.json"
    real.write_text('{"servers": {}}')
    link.symlink_to(real)
    server: Any = McpServer("a", command="x", enabled=False)
    add_to_mcp_json(str(link), server)
    assert link.is_symlink()
    assert json.loads(real.read_text()) == {"servers": {"a": {"command": "x", "disabled": True}}}
    assert remove_from_mcp_json(str(link), "a")
    assert remove_from_mcp_json(str(link), "a") is False
    add_to_config(str(tmp_path / "new" / "config.toml"), server)
    assert (tmp_path / "new" / "config.toml").read_text() == '[mcp.servers.a]\ncommand = "x"\nenabled = false\n'


@pytest.mark.parametrize("name", ["config.toml", ".mcp.json"])
def test_several_that_write_at_once_lose_nothing(tmp_path: Path, name: str) -> None:
    file = tmp_path / name
    change = "add_to_mcp_json" if name == ".mcp.json" else "add_to_config"
    script = f"""
import sys
from godwit import McpServer
from godwit.host.mcp import editing

print("ready", flush=True)
sys.stdin.readline()
for n in range(12):
    editing.{change}({str(file)!r}, McpServer(f"s{{sys.argv[1]}}-{{n}}", command="true"))
"""
    command = [sys.executable, "-c", script]
    writers = [
        subprocess.Popen([*command, str(n)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for n in range(4)
    ]
    for one in writers:
        assert one.stdout is not None
        one.stdout.readline()
    for one in writers:
        assert one.stdin is not None
        one.stdin.write("go\n")
        one.stdin.flush()
    for one in writers:
        one.communicate(timeout=PATIENCE_S)
        assert one.returncode == 0
    text = file.read_text()
    servers = json.loads(text)["mcpServers"] if name == ".mcp.json" else tomllib.loads(text)["mcp"]["servers"]
    assert sorted(servers) == sorted(f"s{writer}-{n}" for writer in range(4) for n in range(12))
    assert [path.name for path in tmp_path.iterdir()] == [name]


async def test_the_file_of_a_folder_is_told_with_the_others(place: Place) -> None:
    place.json.write_text("{}")
    told = await place.run("config", "path", "--json")
    (one,) = [line for line in map(json.loads, told.out.splitlines()) if line["name"] == "MCP servers"]
    assert one == {"name": "MCP servers", "path": str(place.json), "found": True}


async def test_what_servers_have_beside_tools_is_shown(place: Place) -> None:
    paths = f"PYTHONPATH={mcp_library_paths()}"
    added = await place.run("mcp", "add", "lib", "--env", paths, "--", sys.executable, mcp_library.__file__)
    assert added.code == 0, added.err
    listed = await place.run("mcp", "resources")
    assert "docs://guide  guide; text/plain; About docs://guide." in listed.out
    assert "docs://pages/{page} (template)" in listed.out
    as_json = (await place.run("mcp", "resources", "lib", "--json")).lines
    assert [one["uri"] for one in as_json if "uri" in one] == list(mcp_library.Library().contents)
    read = await place.run("mcp", "read", "lib", "docs://guide")
    assert (read.code, read.out) == (0, "Read me.\n"), read.err
    none = await place.run("mcp", "read", "lib", "docs://none")
    assert (none.code != 0, "there is no docs://none" in none.err) == (True, True)
    prompts = await place.run("mcp", "prompts")
    assert "/mcp__lib__review work [style]  Review a piece of work." in prompts.out
    status = await place.run("mcp", "status", "--log", "--json")
    assert status.lines[0]["log"] == []


async def test_what_a_server_says_moves_no_terminal(place: Place) -> None:
    assert (await place.run("mcp", "add", "wares", "--", sys.executable, PROGRAM, "wares")).code == 0
    listed = await place.run("mcp", "resources", "wares")
    assert "red" in listed.out
    assert "\x1b" not in listed.out
    assert max(map(len, listed.out.splitlines())) < 600


def mcp_library_paths() -> str:
    return os.pathsep.join(path for path in sys.path if path)
