"""How tools are found: those of well-known servers by what people and models would ask, among five hundred others."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, strategies as st

from godwit.core.agent import ToolDefinition
from godwit.core.mcp import provider_name, tool_name
from godwit.core.tool_ranking import ToolIndex

KNOWN: dict[str, dict[str, tuple[str, str]]] = {
    "filesystem": {
        "read_text_file": ("Read the complete contents of a file from the file system as text.", "path head tail"),
        "read_media_file": ("Read an image or audio file. Returns the base64 encoded data and MIME type.", "path"),
        "read_multiple_files": ("Read the contents of several files at the same time.", "paths"),
        "write_file": ("Create a new file or completely overwrite an existing file with new content.", "path content"),
        "edit_file": ("Make line-based edits to a text file. Returns a git-style diff of the changes.", "path edits dryRun"),
        "create_directory": ("Create a new directory or make sure that a directory exists.", "path"),
        "list_directory": ("Get a listing of all files and directories in a path.", "path"),
        "list_directory_with_sizes": ("Get a listing of files and directories, with their sizes.", "path sortBy"),
        "directory_tree": ("Get a recursive tree view of files and directories as a JSON structure.", "path"),
        "move_file": ("Move or rename files and directories.", "source destination"),
        "search_files": ("Recursively search for files and directories that match a pattern.", "path pattern"),
        "get_file_info": ("Retrieve metadata about a file or directory: size, times, permissions.", "path"),
        "list_allowed_directories": ("The directories that this server may access.", ""),
    },
    "memory": {
        "create_entities": ("Create multiple new entities in the knowledge graph", "entities"),
        "create_relations": ("Create multiple new relations between entities in the knowledge graph", "relations"),
        "add_observations": ("Add new observations to existing entities in the knowledge graph", "observations"),
        "delete_entities": ("Delete entities and their relations from the knowledge graph", "entityNames"),
        "read_graph": ("Read the entire knowledge graph", ""),
        "search_nodes": ("Search for nodes in the knowledge graph by a query", "query"),
    },
    "git": {
        "git_status": ("Shows the working tree status", "repo_path"),
        "git_diff_unstaged": ("Shows changes in the working directory that are not yet staged", "repo_path"),
        "git_commit": ("Records changes to the repository", "repo_path message"),
        "git_log": ("Shows the commit logs", "repo_path max_count"),
        "git_create_branch": ("Creates a new branch from an optional base branch", "repo_path branch_name"),
        "git_checkout": ("Switches branches", "repo_path branch_name"),
    },
    "github": {
        "create_issue": ("Create a new issue in a GitHub repository", "owner repo title body labels"),
        "list_issues": ("List issues in a GitHub repository with filtering options", "owner repo state"),
        "add_issue_comment": ("Add a comment to an existing issue", "owner repo issue_number body"),
        "create_pull_request": ("Create a new pull request in a GitHub repository", "owner repo title head base"),
        "merge_pull_request": ("Merge a pull request", "owner repo pull_number"),
        "search_repositories": ("Search for GitHub repositories", "query page"),
        "fork_repository": ("Fork a GitHub repository to your account", "owner repo"),
    },
    "slack": {
        "slack_post_message": ("Post a new message to a Slack channel", "channel_id text"),
        "slack_list_channels": ("List public channels in the workspace", "limit cursor"),
        "slack_get_users": ("Get the users of the workspace with their profiles", "cursor"),
        "slack_add_reaction": ("Add an emoji reaction to a message", "channel_id timestamp reaction"),
    },
    "everything": {
        "getTinyImage": ("Returns the MCP logo", ""),
        "longRunningOperation": ("Demonstrates a long-running operation with progress updates", "duration steps"),
        "printEnv": ("Prints all environment variables, helpful for debugging server configuration", ""),
    },
    "sequential-thinking": {
        "sequentialthinking": (
            "A tool for dynamic and reflective problem-solving through thoughts.",
            "thought thoughtNumber",
        ),
    },
    "postgres": {"query": ("Run a read-only SQL query", "sql")},
    "maps": {
        "maps_geocode": ("Convert an address into geographic coordinates", "address"),
        "maps_directions": ("Get directions between two points", "origin destination mode"),
    },
    "Büro": {"Termin_anlegen": ("Legt einen Termin im Kalender an", "beginn ende titel")},
    "知识库": {
        "搜索文档": ("按关键词搜索知识库中的文档", "关键词"),
        "删除文档": ("删除一个文档", "文档编号"),
        "发送邮件": ("向联系人发送电子邮件", "收件人 主题"),
    },
    "カレンダー": {"予定を作成": ("新しい予定をカレンダーに追加します", "開始 終了")},
}


def defined(server: str, name: str, about: str, parameters: str) -> ToolDefinition:
    properties = {one: {"type": "string"} for one in parameters.split()}
    return ToolDefinition(tool_name(server, name), about, {"type": "object", "properties": properties})


def made_up(count: int) -> list[ToolDefinition]:
    """Tools such as companies have them, by chance and always the same."""
    chance = random.Random(7)
    verbs = ["get", "list", "update", "archive", "export", "sync", "approve", "assign", "count", "validate"]
    things = ["invoice", "customer", "ticket", "shipment", "contract", "employee", "campaign", "sensor", "asset", "order"]
    more = ["by id", "of a tenant", "in bulk", "as a report", "with its history", "for a region", "since a date"]
    made: dict[tuple[str, str], ToolDefinition] = {}
    while len(made) < count:
        verb, thing, extra = chance.choice(verbs), chance.choice(things), chance.choice(more)
        server = f"{thing}s"
        name = f"{verb}_{thing}_{extra.replace(' ', '_')}"
        about = f"{verb.capitalize()} {thing} records {extra}. Use it to {verb} a {thing} in the system of record."
        made[(server, name)] = defined(server, name, about, f"{thing}_id tenant limit")
    return list(made.values())


ALL = [
    *(defined(server, name, *told) for server, tools in KNOWN.items() for name, told in tools.items()),
    *made_up(500),
]
INDEX = ToolIndex(ALL)


def find(query: str, limit: int = 5) -> list[str]:
    return [ALL[place].name for place in INDEX.find(query, limit).places]


@pytest.mark.parametrize(
    ("query", "wanted"),
    [
        ("create an issue", "mcp__github__create_issue"),
        ("creating issues on github", "mcp__github__create_issue"),
        ("open a new pull request", "mcp__github__create_pull_request"),
        ("merge the PR pull request", "mcp__github__merge_pull_request"),
        ("comment on an issue", "mcp__github__add_issue_comment"),
        ("post message to slack channel", "mcp__slack__slack_post_message"),
        ("send a message in Slack", "mcp__slack__slack_post_message"),
        ("slack users", "mcp__slack__slack_get_users"),
        ("emoji", "mcp__slack__slack_add_reaction"),
        ("read a text file", "mcp__filesystem__read_text_file"),
        ("rename a file", "mcp__filesystem__move_file"),
        ("list directory", "mcp__filesystem__list_directory"),
        ("directory sizes", "mcp__filesystem__list_directory_with_sizes"),
        ("file metadata permissions", "mcp__filesystem__get_file_info"),
        ("search knowledge graph", "mcp__memory__search_nodes"),
        ("git commit", "mcp__git__git_commit"),
        ("commit history log", "mcp__git__git_log"),
        ("tiny image", "mcp__everything__getTinyImage"),
        ("long running operation", "mcp__everything__longRunningOperation"),
        ("environment variables", "mcp__everything__printEnv"),
        ("sequential thinking", "mcp__sequential-thinking__sequentialthinking"),
        ("run SQL query", "mcp__postgres__query"),
        ("geocode an address", "mcp__maps__maps_geocode"),
        ("TERMIN ANLEGEN", "mcp__Büro__Termin_anlegen"),
        ("buro termin", "mcp__Büro__Termin_anlegen"),
        ("搜索文档", "mcp__知识库__搜索文档"),
        ("发送邮件", "mcp__知识库__发送邮件"),
        ("邮件", "mcp__知识库__发送邮件"),
        ("删除", "mcp__知识库__删除文档"),
        ("予定を作成", "mcp__カレンダー__予定を作成"),
        ("カレンダーに追加", "mcp__カレンダー__予定を作成"),
        ("dryRun", "mcp__filesystem__edit_file"),
        ("invoice in bulk export", "mcp__invoices__export_invoice_in_bulk"),
    ],
)
def test_the_tool_that_is_meant_comes_first(query: str, wanted: str) -> None:
    assert find(query)[0] == wanted


@pytest.mark.parametrize(
    ("query", "wanted"),
    [
        ("issues", {"mcp__github__create_issue", "mcp__github__list_issues", "mcp__github__add_issue_comment"}),
        ("pull request", {"mcp__github__create_pull_request", "mcp__github__merge_pull_request"}),
        ("switch branch", {"mcp__git__git_checkout", "mcp__git__git_create_branch"}),
        ("maps", {"mcp__maps__maps_geocode", "mcp__maps__maps_directions"}),
        ("文", {"mcp__知识库__搜索文档", "mcp__知识库__删除文档"}),
    ],
)
def test_all_that_are_meant_are_found(query: str, wanted: set[str]) -> None:
    assert wanted <= set(find(query, 10))


def test_a_name_counts_more_than_a_description_and_that_more_than_a_parameter() -> None:
    tools = [
        defined("a", "one", "Says something", "banana"),
        defined("a", "two", "About a banana", "x"),
        defined("a", "banana", "Says something", "x"),
        defined("banana", "four", "Says something", "x"),
    ]
    chosen = ToolIndex(tools).find("banana", 9)
    assert [tools[place].name for place in chosen.places][:1] == ["mcp__a__banana"]
    places = ToolIndex([*tools[:2], tools[3]]).find("banana fruit", 9).places
    assert list(places) == [2, 1]  # what only has it as a parameter is far behind


@pytest.mark.parametrize(
    "query",
    [
        "mcp__github__create_issue", "MCP__GitHub__Create_Issue", "create_issue", "github.create_issue",
        "select:create_issue", "select: mcp__github__create_issue", "Select:CREATE_ISSUE",
    ],
)  # fmt: skip
def test_an_exact_name_is_just_that_tool(query: str) -> None:
    assert find(query) == ["mcp__github__create_issue"]


def test_select_takes_all_that_are_named_in_their_order_and_says_what_is_not_there() -> None:
    chosen = INDEX.find("select:git_log, nothing,mcp__slack__slack_get_users,git_log,", 1)
    assert [ALL[place].name for place in chosen.places] == ["mcp__git__git_log", "mcp__slack__slack_get_users"]
    assert chosen.unknown == ("nothing",)


def test_a_tool_is_known_by_the_name_that_providers_take() -> None:
    tools = [defined("docs", "pages.get", "Get a page", "")]
    sent = provider_name(tools[0].name)
    assert sent != tools[0].name
    assert ToolIndex(tools).find(f"select:{sent}", 5).places == (0,)


def test_a_word_that_is_needed_has_to_stand_in_a_name() -> None:
    assert find("message") != find("+slack message")
    assert all("slack" in name for name in find("+slack message"))
    assert find("+nowhere message") == []


@pytest.mark.parametrize("query", ["", "   ", "?!", "xyzzy plugh", "select:", "+", "\ud800"])
def test_what_says_nothing_finds_nothing(query: str) -> None:
    assert find(query) == []


def test_the_order_in_which_tools_are_given_does_not_matter() -> None:
    shuffled = list(ALL)
    random.Random(3).shuffle(shuffled)
    index = ToolIndex(shuffled)
    for query in ("list issues", "export a report", "read file", "customer"):
        assert [shuffled[place].name for place in index.find(query, 20).places] == find(query, 20)


@given(st.text(max_size=200), st.integers(1, 20))
def test_no_query_breaks_it(query: str, limit: int) -> None:
    chosen = INDEX.find(query, limit)
    assert len(set(chosen.places)) == len(chosen.places)
    assert all(0 <= place < len(ALL) for place in chosen.places)
