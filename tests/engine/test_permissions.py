"""What the rules say of a call: order, layers and defaults, and how paths, addresses and other calls are judged."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from godwit.core.errors import ToolFailed
from godwit.core.rules import Permissions, Subject
from godwit.engine.permissions import Layer, Policy
from godwit.tools.files import Edit, Glob, Grep, Ls, Read, Write
from godwit.tools.web import WebFetch
from tests.engine.permission_words import (
    BASH,
    SHELL,
    Odd,
    Pay,
    a_place,  # noqa: F401 - a fixture
    policy,
    said,
)


def test_deny_beats_allow_beats_ask_beats_the_default() -> None:
    all_of_them = Permissions(allow=("bash(ls:*)",), ask=("bash(ls:*)",), deny=("bash(ls -l:*)",), default="deny")
    assert [said(c, policy(all_of_them)).verdict for c in ("ls -l", "ls x", "cat")] == ["deny", "allow", "deny"]
    asked = Permissions(ask=("bash(ls:*)",), default="deny")
    assert [said(c, policy(asked)).verdict for c in ("ls", "cat", "ls; cat")] == ["ask", "deny", "deny"]
    mostly = Permissions(ask=("bash(git push:*)",))
    found = [said(c, policy(mostly)).verdict for c in ("git push", "git -C x push", "ls", "git $X", "ls; git push", "ls 'a")]
    assert found == ["ask", "ask", "allow", "ask", "ask", "ask"]


LOOKING = Permissions(allow=("read", "bash(ls:*)", "bash(cat:*)", "bash(find:*)", "bash(git diff:*)"), default="deny")
_WRITING = [
    "cat a > b", "cat a >> b", "cat a >| b", "cat a &> b", "cat <<E > b\nx\nE", "ls 2> b", "ls; > b", "ls && echo x > b",
    "{ ls; } > b", "(ls) > b", "ls | { cat; } > b", "for f in a; do cat f; done > b", "if ls; then cat a; fi > b",
    "cat a > $X", "cat a > src/b", "find . -fprint b", "find . -fls b", "git diff > p.patch", "bash -c 'cat a > b'",
    "ls | tee b", "f() { cat a > b; }; ls; f",
]  # fmt: skip


@pytest.mark.parametrize("command", _WRITING)
def test_where_the_default_is_to_deny_what_writes_a_file_needs_a_rule(command: str, tmp_path: Path) -> None:
    assert said(command, policy(LOOKING), tmp_path).verdict == "deny"


def test_a_rule_about_files_lets_redirections_write_them(tmp_path: Path) -> None:
    def found(rules: Permissions, *commands: str) -> list[str]:
        return [said(c, policy(LOOKING, rules), tmp_path).verdict for c in commands]

    quiet = ("ls 2>/dev/null", "ls > /dev/null 2>&1", "cat < a")
    assert found(Permissions(), *quiet) == ["allow"] * 3
    assert found(Permissions(allow=("write",)), "cat a > b", "ls && echo x > b", "cat a > /etc/b") == [
        "allow",
        "allow",
        "ask",
    ]
    assert found(Permissions(allow=("edit(logs/**)",)), "ls > logs/a", "ls > a", "ls > $X") == ["allow", "deny", "deny"]
    assert found(Permissions(allow=("bash(ls > b)",)), "ls > b", "ls > c") == ["allow", "deny"]
    assert found(Permissions(allow=("bash",)), "ls > b", "rm x > b") == ["allow", "allow"]


def test_rules_of_all_layers_count_together() -> None:
    layers = (
        Permissions(allow=("bash(ls:*)", "bash(cat:*)"), ask=("bash",)),
        Permissions(deny=("bash(cat:*)",), default="allow"),
        Permissions(allow=("bash(wc:*)",)),
        Permissions(deny=("bash(ls -a:*)",)),
    )
    rules = policy(*layers)
    found = {c: said(c, rules) for c in ("ls", "cat x", "wc x", "ls -a", "id")}
    assert {c: (j.verdict, j.rule, j.layer) for c, j in found.items()} == {
        "ls": ("allow", "bash(ls:*)", "agent"),
        "cat x": ("deny", "bash(cat:*)", "config"),
        "wc x": ("allow", "bash(wc:*)", "saved"),
        "ls -a": ("deny", "bash(ls -a:*)", "session"),
        "id": ("ask", "bash", "agent"),
    }
    assert Policy([], shell=SHELL).judge(BASH, {"command": "rm x"}).verdict == "allow"
    assert Policy([], shell=SHELL, default="deny").judge(BASH, {"command": "rm x"}).verdict == "deny"


def test_a_verdict_explains_itself_part_by_part() -> None:
    found = said("git status && FOO=1 python x > /tmp/y; rm z")
    assert found.reason == "'rm z': 'bash(rm:*)' denies it"
    shown = [(p.text, p.verdict, p.rule, p.neutral) for p in found.parts]
    assert shown == [
        ("git status", "allow", "bash(git status:*)", False),
        ("FOO=1 python x", "ask", "bash", False),
        ("python x", "ask", "bash", False),
        ("rm z", "deny", "bash(rm:*)", False),
    ]
    assert said("cat src/$X").reason.endswith("does not allow it for sure: what src/$X stands for is not known")
    assert "is not understood for sure: a quote is not closed" in said("ls 'x").reason
    assert "outside the workspace" in said("ls > /tmp/x", root=Path("/nowhere")).reason
    assert "a '*' within a word ends with the word" in said("cat src/a b").reason


def test_a_rule_without_wildcards_that_is_the_whole_command_allows_it() -> None:
    rules = policy(Permissions(allow=("bash(make 2>&1 | tee /tmp/log)", "bash(PATH=. x)"), ask=("bash",)))
    assert said("make 2>&1 | tee /tmp/log", rules).verdict == "allow"
    assert said(" PATH=. x\n", rules).verdict == "allow"
    assert said("make 2>&1 | tee /tmp/log2", rules).verdict == "ask"
    assert said("make", rules).verdict == "ask"


def test_a_rule_that_denies_matches_the_whole_text_as_well() -> None:
    rules = policy(Permissions(deny=("bash(*DROP TABLE*)", "bash(*| sh)")))
    assert said("psql -c 'drop  x; DROP TABLE y'", rules).verdict == "deny"
    assert said("echo ls | sh", rules).verdict == "deny"
    assert said("psql", rules).verdict == "allow"


def test_without_a_parser_no_pattern_allows_a_command() -> None:
    rules = policy(Permissions(allow=("bash(ls:*)", "bash(make)"), deny=("bash(rm:*)",), ask=("bash",)), shell=None)
    found = [said(c, rules).verdict for c in ("ls", "make", "rm x", "ls; rm x")]
    assert found == ["ask", "allow", "deny", "ask"]


def test_a_rule_for_every_command_spares_the_reading() -> None:
    class Unused:
        def parse(self, command: str) -> Any:
            raise AssertionError(command)

    for permissions in (
        Permissions(allow=("bash",)),
        Permissions(),
        Permissions(deny=("bash",)),
        Permissions(ask=("bash",)),
        Permissions(allow=("bash(ls:*)",)),
        Permissions(default="deny"),
        Permissions(allow=("bash(*)",), ask=("bash(x:*)",)),
    ):
        Policy([Layer("agent", permissions)], shell=Unused()).judge(BASH, {"command": "ls 'x"})


# --- other tools -------------------------------------------------------------------------------------------------------


def test_paths_are_judged_where_they_lead(place: Path) -> None:
    rules = policy(
        Permissions(allow=("read(src/**)", "read(out/**)"), deny=("read(**/secret*)", "read(/etc/shadow)"), ask=("read",))
    )
    outside = str(place.parent / "other")
    expected = {
        "src/a.txt": "allow", "./src/a.txt": "allow", "src/./deep/../a.txt": "allow", str(place / "src/a.txt"): "allow",
        "src/../src/a.txt": "allow", "src//a.txt": "allow", "src/new": "allow", "src": "allow",
        "src/../top": "ask", "src/up/x": "ask", "out/passwd": "ask", "/etc/passwd": "ask", outside: "ask", "../src/x": "ask",
        "src/secret.txt": "deny", "SRC/SECRET": "deny", "src/deep/../secret": "deny", str(place / "secret"): "deny",
        "out/shadow": "deny", "/etc/../etc/shadow": "deny", "src/x\0y": "ask",
    }  # fmt: skip
    found = {path: rules.judge(Read(), {"file_path": path}, str(place)).verdict for path in expected}
    assert found == expected
    linked = place.parent / "linked"
    if not linked.exists():
        linked.symlink_to(place)
    assert rules.judge(Read(), {"file_path": "src/a.txt"}, str(linked)).verdict == "allow"
    assert rules.judge(Read(), {"file_path": str(place / "src/a.txt")}, str(linked)).verdict == "allow"


def test_a_link_made_to_a_closed_file_does_not_open_it(place: Path) -> None:
    rules = policy(Permissions(deny=("read(keys/**)", "write(keys/**)")))
    (place / "keys").mkdir(exist_ok=True)
    link = place / "harmless"
    if not link.is_symlink():
        link.symlink_to("keys")
    for path in ("keys/a", "harmless/a", "harmless", "src/../harmless/a"):
        assert rules.judge(Read(), {"file_path": path}, str(place)).verdict == "deny", path
    assert rules.judge(Write(), {"file_path": "harmless/a", "content": ""}, str(place)).verdict == "deny"
    assert said("ls > harmless/a", rules, place).verdict == "deny"
    assert said("ls < harmless/a", rules, place).verdict == "deny"
    assert said("cat keys/a", rules, place).verdict == "allow"  # a rule about a tool is about this tool


def test_paths_by_home_and_absolute(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(place.parent))
    rules = policy(Permissions(allow=(f"read({place}/src/*)", "edit(~/*/src/**)"), default="ask"))
    assert rules.judge(Read(), {"file_path": "src/a.txt"}, str(place)).verdict == "allow"
    assert rules.judge(Read(), {"file_path": "src/deep/a.txt"}, str(place)).verdict == "ask"
    edit = {"file_path": "src/deep/a", "old_string": "a", "new_string": "b"}
    assert rules.judge(Edit(), edit, str(place)).verdict == "allow"


def test_what_reaches_below_a_folder_is_judged_by_all_of_it(place: Path) -> None:
    rules = policy(
        Permissions(
            allow=("grep(src/**)", "glob(src/**)", "ls(src/**)"), deny=("grep(src/deep/**)",), ask=("grep", "glob", "ls")
        )
    )

    def grep(path: str) -> str:
        return rules.judge(Grep(), {"pattern": "x", "path": path}, str(place)).verdict

    assert [grep(p) for p in ("src/a.txt", "src/deep", "src/deep/x", "src", ".", "/etc")] == [
        "allow",
        "deny",
        "deny",
        "ask",
        "ask",
        "ask",
    ]

    def glob(pattern: str, path: str = ".") -> str:
        return rules.judge(Glob(), {"pattern": pattern, "path": path}, str(place)).verdict

    assert [glob(p) for p in ("src/*.txt", "src/**/x", "**/*", "{src,etc}/*", "*", "src/../*")] == [
        "allow",
        "allow",
        *["ask"] * 4,
    ]
    assert glob("*.txt", "src") == "allow"
    assert rules.judge(Ls(), {"path": "src/deep"}, str(place)).verdict == "allow"
    assert rules.judge(Ls(), {}, str(place)).verdict == "ask"
    closed = policy(Permissions(deny=("grep(/etc/**)", "glob(a/**)")))
    assert closed.judge(Grep(), {"pattern": "x"}, str(place)).verdict == "allow"
    assert closed.judge(Glob(), {"pattern": "b/*"}, str(place)).verdict == "allow"
    assert closed.judge(Glob(), {"pattern": "*"}, str(place)).verdict == "ask"


def test_addresses_are_judged_in_one_form() -> None:
    rules = policy(
        Permissions(allow=("web_fetch(https://docs.example.org/**)",), deny=("web_fetch(**/admin/**)",), ask=("web_fetch",))
    )

    def fetch(url: str) -> str:
        return rules.judge(WebFetch(), {"url": url}).verdict

    assert [
        fetch(u) for u in ("https://docs.example.org", "HTTPS://DOCS.example.org/a?b=c", "https://docs.example.org:443/a")
    ] == ["allow"] * 3
    others = (
        "http://docs.example.org/a",
        "https://evil.example/https://docs.example.org/",
        "https://docs.example.org:8443/",
        "https://docs.example.org@evil.example/",
        "https://docs.example.org.evil.example/",
        "file:///etc/passwd",
    )
    assert [fetch(u) for u in others] == ["ask"] * 6
    assert [fetch(f"https://docs.example.org/{p}/x") for p in ("ADMIN", "%61dmin", "%41DMIN")] == ["deny"] * 3
    below = policy(Permissions(allow=("web_fetch(https://docs.example.org/a/**)",), ask=("web_fetch",)))
    for path in ("a/../b", "a/%2e%2e/b", "a/%2E./b", "a/..%5Cb", "a/..", "a/b/..%2f..%2fc"):
        assert below.judge(WebFetch(), {"url": f"https://docs.example.org/{path}"}).verdict == "ask", path
        raw = Subject("url", f"https://docs.example.org/{path}")
        assert below.judge_subject("web_fetch", raw).verdict == "ask", path
    assert fetch("https://docs.example.org/a?q=../b") == "allow"


def test_other_calls_are_judged_by_their_arguments_as_json() -> None:
    rules = policy(
        Permissions(allow=('pay({"amount":1,"to":"Ada"})', 'pay({"amount":2,*)'), deny=("pay(*Mallory*)",), ask=("pay",))
    )

    def pay(**arguments: Any) -> str:
        return rules.judge(Pay(), arguments).verdict

    assert pay(to="Ada", amount=1) == "allow"
    assert pay(to="Bob", amount=2) == "allow"
    assert pay(to="Bob", amount=1) == "ask"
    assert pay(to="mallory", amount=2) == "deny"


@pytest.mark.parametrize("error", [ToolFailed("no such thing"), ValueError("x"), RecursionError()])
def test_a_call_whose_text_cannot_be_told_is_asked(error: Exception) -> None:
    rules = policy(Permissions(allow=("odd(*x)",)))
    found = rules.judge(Odd(error), {})
    if rules.default == "allow":
        assert found.verdict == "ask"
    assert policy(Permissions(allow=("odd",))).judge(Odd(error), {}).verdict == "allow"
    assert policy(Permissions(deny=("odd",))).judge(Odd(error), {}).verdict == "deny"
    assert policy(Permissions(deny=("odd(x)",))).judge(Odd(error), {}).verdict == "ask"


def test_a_parser_that_fails_is_asked() -> None:
    class Broken:
        def parse(self, command: str) -> Any:
            raise RuntimeError("no")

    found = Policy([Layer("agent", Permissions(deny=("bash(rm:*)",)))], shell=Broken()).judge(BASH, {"command": "ls"})
    assert (found.verdict, "no" in found.reason) == ("ask", True)


def test_tools_that_are_never_allowed_are_hidden() -> None:
    rules = policy(
        Permissions(allow=("read(src/**)",), ask=("glob",), deny=("bash", "write(*)", "edit(x)"), default="deny"),
        Permissions(deny=("mcp__x",)),
    )
    names = ("bash", "write", "edit", "read", "glob", "grep", "mcp__x__y", "mcp__y__z")
    assert [n for n in names if rules.hidden(n)] == ["bash", "write", "edit", "grep", "mcp__x__y", "mcp__y__z"]
    assert [n for n in names if policy(Permissions(deny=("mcp__*", "edit(x)"))).hidden(n)] == ["mcp__x__y", "mcp__y__z"]


def test_a_tool_is_judged_by_its_name_where_no_pattern_is_about_it() -> None:
    rules = policy(Permissions(("read", "bash(ls:*)"), ("write",), ("pay", "edit(x)"), default="allow"))
    subjects = {
        "read": Subject("path", "a"),
        "write": Subject("path", "a"),
        "pay": Subject("text", "{}"),
        "edit": Subject("path", "a"),
        "other": Subject("text", "{}"),
    }
    found = {name: rules.judge_subject(name, subject).verdict for name, subject in subjects.items()}
    assert found == {"read": "allow", "write": "ask", "pay": "deny", "edit": "allow", "other": "allow"}
    assert rules.judge_subject("edit", Subject("path", "x")).verdict == "deny"
    assert [rules.hidden(name) for name in ("read", "pay", "edit")] == [False, True, False]


def test_judging_looks_at_links_but_changes_nothing(place: Path) -> None:
    before = sorted(os.listdir(place))
    for command in ("ls > new", "cd new && ls", "rm x"):
        said(command, root=place)
    assert sorted(os.listdir(place)) == before


def test_only_the_shells_own_blanks_are_left_out_around_a_command() -> None:
    rules = policy(Permissions(allow=("bash(make build)",), ask=("bash",)))
    assert said("\n make build\t\n", rules).verdict == "allow"
    for odd in (
        "\u00a0make build",
        "make build\u2003",
        "\x0bmake build",
        "make build\x85",
        "\ufeffmake build",
        "make build\r",
    ):
        assert said(odd, rules).verdict == "ask", odd


def test_a_program_named_by_its_place_is_another_one_elsewhere(place: Path) -> None:
    rules = policy(Permissions(allow=("bash(./run:*)", "bash(/bin/ls:*)", "bash(ls:*)"), ask=("bash",)))
    expected = {
        "./run x": "allow", "ls; ./run x": "allow", "cd src && ls": "allow", "cd src && /bin/ls": "allow",
        "cd src && ./run x": "ask", "(cd src; ./run)": "ask", "./run; cd src": "ask", "cd $x; ./run": "ask",
    }  # fmt: skip
    assert {command: said(command, rules, place).verdict for command in expected} == expected


def test_a_long_command_is_not_told_in_full() -> None:
    assert len(said("python " + "x" * 5000).reason) < 300
