"""MCP servers of configuration files and of a folder's `.mcp.json`: whose count, which sessions have them, what is told."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests.engine.conftest import Bench, data, within
from tests.parts import mcp_program
from tests.parts.mcp_site import mcp_site

from godwit import Labels, McpServer, McpSettings
from godwit.core.errors import ConfigurationError
from godwit.core.events import ToolFinished
from godwit.core.messages import text_of
from godwit.host import trust
from godwit.host.brought import brings
from godwit.host.config import Config, load
from godwit.host.config_choices import choices
from godwit.host.config_origins import origins
from godwit.models.script import call, say

PROGRAM = mcp_program.__file__
ENTRY = {"command": sys.executable, "args": [PROGRAM]}
TABLE = f"[mcp.servers.prog]\ncommand = {json.dumps(sys.executable)}\nargs = [{json.dumps(PROGRAM)}]\n"


class Files:
    """A person's file, and a folder with its own."""

    def __init__(self, path: Path, folder: Path) -> None:
        self.user = path / "home" / "config.toml"
        self.folder = folder
        self.project = folder / ".godwit" / "config.toml"
        self.json = folder / ".mcp.json"
        self.user.parent.mkdir()
        self.project.parent.mkdir()
        self.user.write_text("")
        self.environment = {"GODWIT_CONFIG": str(self.user), "GODWIT_TRUST": str(self.user.parent / "trusted.json")}

    def servers(self, **entries: Any) -> None:
        self.json.write_text(json.dumps({"mcpServers": entries}, indent=1))

    def load(self, **options: Any) -> Config:
        return load(self.folder, environment=self.environment, options=options or None)

    def trust(self) -> None:
        trust.say(self.folder, True, environment=self.environment)


@pytest.fixture
def files(tmp_path: Path) -> Files:
    folder = tmp_path / "workspace"
    folder.mkdir(exist_ok=True)
    return Files(tmp_path, folder)


def names(config: Config) -> list[str]:
    return [server.name for server in config.mcp_servers]


def own(listed: Sequence[str]) -> set[str]:
    return {name for name in listed if name.startswith("mcp__")}


def test_a_folders_servers_count_once_it_is_trusted_and_until_they_change(files: Files) -> None:
    files.user.write_text('[mcp.servers.mine]\nurl = "https://mine.example/mcp"\n')
    files.servers(theirs=ENTRY)
    files.project.write_text("[mcp.servers.ours]\ncommand = 'x'\n")
    found = files.load()
    assert names(found) == ["mine"]
    assert [str(notice) for notice in found.notices] == [
        f"{files.json}:3: the MCP server 'theirs' is not used: this folder may not say which MCP servers there are,"
        " unless you trust it",
        f"{files.project}:1: the MCP server 'ours' is not used: this folder may not say which MCP servers there are,"
        " unless you trust it",
    ]
    assert brings(files.folder, environment=files.environment) == [
        "settings: mcp.servers.theirs",
        "settings: mcp.servers.ours",
    ]
    files.trust()
    assert (names(files.load()), files.load().notices) == (["mine", "theirs", "ours"], ())
    files.servers(theirs=ENTRY, more=ENTRY)
    assert trust.state_of(files.folder, environment=files.environment) == "changed"
    assert names(files.load()) == ["mine"]
    files.json.unlink()
    assert names(files.load()) == ["mine"], "it is not what was trusted either"


def test_one_of_a_folder_is_in_place_of_the_persons_of_its_name(files: Files) -> None:
    files.user.write_text('[mcp]\nidle_s = 9\n[mcp.servers.docs]\nurl = "https://one.example/mcp"\n')
    files.servers(docs={"url": "https://two.example/mcp"})
    files.trust()
    assert [server.url for server in files.load().mcp_servers] == ["https://two.example/mcp"]
    files.project.write_text('[mcp.servers.docs]\nurl = "https://three.example/mcp"\n')
    files.trust()
    config = files.load()
    assert [server.url for server in config.mcp_servers] == ["https://three.example/mcp"]
    assert config.mcp is not None
    assert config.mcp.idle_s == 9, "of the rest of [mcp] it says nothing"
    said = [
        (Path(one.file).name, one.why)
        for one in choices(files.folder, environment=files.environment).choices
        if one.key == "mcp.servers.docs.url"
    ]
    assert said == [
        ("config.toml", f"{files.project} says otherwise, and counts"),
        (".mcp.json", f"{files.project} says otherwise, and counts"),
        ("config.toml", None),
    ]
    assert [one.url for one in files.load(**{"mcp.servers.docs.url": "https://four.example/mcp"}).mcp_servers] == [
        "https://four.example/mcp"
    ]


def test_a_setting_above_the_files_is_laid_over_an_entry_of_mcp_json(files: Files) -> None:
    files.servers(prog=ENTRY, docs={"url": "${BASE:-https://docs.example}/mcp"})
    files.trust()
    config = files.load(**{"mcp.servers.prog.enabled": False, "mcp.servers.docs.timeout_s": 5.0})
    assert config.mcp_servers == (
        McpServer("prog", command=sys.executable, args=(PROGRAM,), enabled=False),
        McpServer("docs", "https://docs.example/mcp", timeout_s=5.0),
    )


def test_settings_of_ours_in_a_file_of_other_tools_are_settings_like_others(files: Files) -> None:
    files.servers(a={"command": "x", "tools": ["*"], "godwit": {"sampling": "deny", "always": ["b"], "without": ["c"]}})
    files.trust()
    server = McpServer("a", command="x", sampling="deny", always=("b",), without=("c",))
    assert files.load().mcp_servers == (server,)
    listed = origins(files.folder, environment=files.environment)
    found = {one.key: one.origin for one in listed if one.key.startswith("mcp.servers.a.")}
    assert set(found) == {"mcp.servers.a.command", *(f"mcp.servers.a.{one}" for one in ("sampling", "always", "without"))}
    at = next(number for number, line in enumerate(files.json.read_text().splitlines(), 1) if "sampling" in line)
    assert found["mcp.servers.a.sampling"] == f"{files.json}:{at}"
    laid_over = files.load(**{"mcp.servers.a.sampling": "allow"})
    assert laid_over.mcp_servers == (msgspec.structs.replace(server, sampling="allow"),)


def test_a_wrong_entry_is_told_with_its_line_and_the_others_are_used(files: Files) -> None:
    files.user.write_text(
        '[mcp.servers.good]\nurl = "https://a.example"\n[mcp.servers.typo]\nurll = "https://b.example"\n'
        "[mcp.servers.key]\ncommand = 'x'\n\n[mcp.servers.key.env]\nAPI_KEY = 'sk-literal'\n"
    )
    files.json.write_text('{"mcpServers": {\n "fine": {"command": "x"},\n "bad": {\n  "command": 5}\n}}')
    files.trust()
    config = files.load()
    assert names(config) == ["good", "fine"]
    told = [str(notice) for notice in config.notices]
    assert len(told) == 3
    assert told[0].startswith(f"{files.user}:4: it is not used: there is no setting 'urll' in [mcp.servers.typo]: did you")
    assert told[1].startswith(f"{files.user}:")
    assert "API_KEY looks like a credential" in told[1]
    assert told[2].startswith(f"{files.json}:3: it is not used: MCP server 'bad': Expected `str`")
    assert "sk-literal" not in "".join(told)


@pytest.mark.parametrize(
    ("text", "told"),
    [('{"mcpServers":\n', "2: it is not used: this is no JSON"), ("[]", "1: it is not used: MCP servers are an object")],
)
def test_a_file_of_other_tools_that_cannot_be_read_is_told_and_stops_nobody(files: Files, text: str, told: str) -> None:
    files.user.write_text('[mcp.servers.good]\nurl = "https://a.example"\n')
    files.json.write_text(text)
    config = files.load()
    assert names(config) == ["good"]
    assert str(config.notices[0]).startswith(f"{files.json}:{told}")


def test_a_server_that_is_set_above_the_files_and_wrong_is_an_error(files: Files) -> None:
    with pytest.raises(ConfigurationError, match=r"option mcp\.servers\.docs\.url: .*https://"):
        files.load(**{"mcp.servers.docs.url": "docs.example"})


def test_what_may_be_secret_is_not_shown(files: Files) -> None:
    files.user.write_text(
        '[mcp.servers.a]\ncommand = "x"\n'
        'args = ["--api-key", "sk-1", "--token=sk-2", "--api-key", "${KEY}", "--port", "80"]\n'
        'env = { DSN = "sk-3", PLACE = "${PLACE}" }\n'
        '[mcp.servers."b.c"]\nurl = "https://me:sk-4@b.example/mcp?key=sk-5"\nheaders = { X-A = "sk-6" }\n'
    )
    environment = {**files.environment, "GODWIT_MCP__SERVERS__D__URL": "https://d.example/?sk-7"}
    shown = {one.key: one.value for one in origins(files.folder, environment=environment)}
    assert "sk-" not in str(shown)
    assert shown["mcp.servers.a.args"] == '["--api-key", "***", "--token=***", "--api-key", "${KEY}", "--port", "80"]'
    assert (shown["mcp.servers.a.env.DSN"], shown["mcp.servers.a.env.PLACE"]) == ('"***"', '"${PLACE}"')
    assert shown['mcp.servers."b.c".url'] == '"https://***@b.example/mcp?***"'
    assert shown["mcp.servers.d.url"] == '"https://d.example/?***"'


async def test_sessions_of_a_runtime_have_them_live_and_tenants_and_subagents_have_not(bench: Bench, files: Files) -> None:
    files.servers(prog=ENTRY)
    files.trust()

    def here(folder: str | None) -> Config:
        return load(folder, environment=files.environment)

    runtime = await bench.runtime([], config=here)
    session = await bench.start([call("mcp__prog__echo", text="hello"), say("Done.")], runtime=runtime)
    await within(session.prompt_and_wait("Go."))
    (echo,) = await data(session, ToolFinished)
    assert text_of(echo.content) == "hello"
    assert (await session.mcp_status())["prog"].health == "connected"
    assert (await session.tool("mcp__prog__echo", {"text": "again"})).output == "again"
    assert own(session.tool_names()) == {f"mcp__prog__{tool}" for tool in mcp_program.TOOLS}
    assert await session.remove_mcp_server("prog") is False, "it stands in the file"
    stored = await runtime.store.get_agent(session.agent.name, session.agent.version)
    assert stored[1].mcp_servers == ()

    theirs = await runtime.start_session(session.agent.name, workspace=bench.workspace, labels=Labels(tenant="t"))
    below = await runtime.start_session(session.agent.name, workspace=bench.workspace, parent=session)
    for other in (theirs, below):
        assert await other.mcp_status() == {}
    files.json.unlink()
    opened = await runtime.open_session(session.id)
    assert await opened.mcp_status() == {}
    assert bench.model is not None
    bench.model._turns = [say("Without.")]
    again = await runtime.start_session(session.agent.name, workspace=bench.workspace)
    await within(again.prompt_and_wait("Go."))
    assert own([tool.name for tool in bench.model.requests[-1].tools]) == set()


async def test_the_agents_own_server_of_the_same_name_counts(bench: Bench, files: Files) -> None:
    with mcp_site() as site:
        files.user.write_text(f'[mcp.servers.site]\nurl = "{site.url}"\n[mcp.servers.prog]\nurl = "https://no.example"\n')
        runtime = await bench.runtime([], config=files.load(), mcp=McpSettings(reach=(site.url.split("/")[2],)))
        server = McpServer("prog", command=sys.executable, args=(PROGRAM,))
        session = await bench.start([say("Done.")], runtime=runtime, mcp_servers=(server,))
        await within(session.prompt_and_wait("Go."))
        health = {name: one.health for name, one in (await session.mcp_status()).items()}
    assert health == {"prog": "connected", "site": "connected"}
