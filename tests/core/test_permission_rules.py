"""Permission rules: how they are read, what is refused, what a pattern matches, and that matching cannot be made slow."""

from __future__ import annotations

import contextlib
import re

import pytest
from hypothesis import example, given, strategies as st

from godwit.core.errors import ConfigurationError
from godwit.core.rules import (
    Permissions,
    Reading,
    SubjectKind,
    covers,
    literal,
    matcher,
    open_ended,
    parse,
    total,
)


def matches(rule: str, text: str, kind: SubjectKind = "command", reading: Reading = "narrow") -> bool:
    return matcher(parse(rule), kind, reading).matches(text)


# --- reading --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "tool", "pattern"),
    [
        ("bash", "bash", None),
        ("Bash(cargo:*)", "bash", "cargo:*"),
        ("mcp__longvt__*", "mcp__longvt__*", None),
        ("bash(echo (a) b)", "bash", "echo (a) b"),
        ("read(a b.txt)", "read", "a b.txt"),
        ("*", "*", None),
        ("größe(x)", "größe", "x"),
    ],
)
def test_a_rule_is_a_tool_and_perhaps_a_pattern(text: str, tool: str, pattern: str | None) -> None:
    rule = parse(text)
    assert (rule.tool, rule.pattern, rule.text, str(rule)) == (tool, pattern, text, text)


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("", "names no tool"),
        ("  ", "names no tool"),
        ("bash(", "closing parenthesis"),
        ("bash(rm", "closing parenthesis"),
        ("bash(rm) x", "closing parenthesis"),
        ("bash)", r"holds '\)'"),
        ("bash()", "pattern is empty"),
        ("(rm)", "no tool stands"),
        (" bash", "begins or ends with a blank"),
        ("bash ", "begins or ends with a blank"),
        ("my tool", "holds ' '"),
        ("read,write", "holds ','"),
        ("[ab]", "holds"),
        ("bash(rm\\)", "lone backslash"),
        ("bash([a)", "not closed"),
        ("bash([!)", "not closed"),
        ("bash([])", "not closed"),
        ("bash(x [z-a])", "z-a .* runs backwards"),
        ("bash(:*)", "nothing stands before"),
        ("bash(git :*)", "begins a new word by itself"),
        ("bash(a\nb)", "control character"),
        ("bash(a\x00b)", "control character"),
        ("bash(\ud800)", "control character"),
        ("bash(" + "a" * 1000 + ")", "1006 characters"),
    ],
)
@pytest.mark.parametrize("where", ["allow", "ask", "deny"])
def test_what_cannot_be_read_is_refused_by_its_name(text: str, what: str, where: str) -> None:
    with pytest.raises(ConfigurationError, match=what) as found:
        Permissions(**{where: ("read", text)})  # type: ignore[arg-type]
    shown = found.value.details["rule"]
    assert isinstance(shown, str)
    assert shown.removesuffix("...") in text
    assert repr(shown) in found.value.message


def test_a_rule_that_is_no_text_is_refused() -> None:
    with pytest.raises(ConfigurationError, match=r"is a text such as .*, not 7"):
        Permissions(deny=(7,))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("rule", "tool", "covered"),
    [
        ("bash", "bash", True),
        ("BASH", "Bash", True),
        ("bash", "bash2", False),
        ("*", "anything", True),
        ("web_*", "web_fetch", True),
        ("web_*", "Web_Search", True),
        ("web_?", "web_", False),
        ("wr?te", "write", True),
        ("mcp__pencil", "mcp__pencil__draw", True),
        ("mcp__pencil", "mcp__pencil", True),
        ("mcp__pencil", "mcp__pencils__draw", False),
        ("mcp__pencil", "mcp__other__draw", False),
        ("mcp__longvt__*", "mcp__longvt__search", True),
        ("mcp__longvt__*", "mcp__longvt", False),
        ("mcp__a__b", "mcp__a__b__c", False),
        ("mcp__*", "mcp__x__y", True),
        ("mcp__l*t", "mcp__longvt__x", True),
        ("read", "mcp__read__x", False),
        ("*a*a*a*a*a*a*b", "a" * 5000, False),
    ],
)
def test_which_tools_a_rule_is_about(rule: str, tool: str, covered: bool) -> None:
    assert covers(parse(rule), tool) is covered


def test_a_total_rule_says_the_same_of_every_call() -> None:
    assert [total(parse(r)) for r in ("bash", "bash(*)", "bash(**)", "bash(* *)", "bash(a:*)", "read(**/*)")] == [
        True,
        True,
        True,
        False,
        False,
        False,
    ]
    for kind in ("command", "path", "url", "text"):
        assert matches("x(*)", "a b/c\n;d", kind)
        assert matches("x(*)", "", kind)


# --- patterns -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("pattern", "yes", "no"),
    [
        ("src/*.rs", ["src/a.rs", "src/.rs", "src/.a.rs"], ["src/foo/bar.rs", "src/a.rss", "a.rs", "xsrc/a.rs"]),
        ("src/**/*.rs", ["src/a.rs", "src/foo/bar.rs", "src/a/b/c.rs"], ["src.rs", "srca.rs", "src/a.r"]),
        ("**/*.pem", ["a.pem", "x/a.pem", "x/y/.pem"], ["a.pem/x", "apem"]),
        ("**/.env", [".env", "a/.env", "a/b/.env"], ["x.env", "a/x.env", ".env/a"]),
        ("src/**", ["src", "src/a", "src/a/b", "src/"], ["srca", "sr", "a/src"]),
        ("**", ["", "a", "a/b"], []),
        ("a**z", ["az", "a/z", "a/b/cz"], ["a", "z", "az/"]),
        ("a?c", ["abc"], ["ac", "a/c", "abbc"]),
        ("[a-c]x", ["ax", "cx"], ["dx", "x", "/x"]),
        ("[!a]x", ["bx"], ["ax", "/x", "x"]),
        ("[^a]x", ["bx"], ["ax"]),
        ("[]x]", ["]", "x"], ["y", "]x"]),
        ("[a-]", ["a", "-"], ["b"]),
        ("[\\]]", ["]"], ["\\"]),
        ("a\\*b", ["a*b"], ["axb", "a\\*b"]),
        ("a\\\\b", ["a\\b"], ["ab"]),
        ("./src/*", ["src/a"], ["./src/a"]),
        ("/etc/**", ["/etc", "/etc/passwd"], ["etc/passwd"]),
        ("docs:*", ["docs", "docs/a"], ["docs2", "docs a"]),
        ("x/**/y/**/z", ["x/y/z", "x/a/y/b/c/z", "x/y/y/z"], ["x/z", "x/yy/z"]),
        ("{a,b}", ["{a,b}"], ["a"]),
    ],
)
def test_paths(pattern: str, yes: list[str], no: list[str]) -> None:
    assert [t for t in yes if not matches(f"read({pattern})", t, "path")] == []
    assert [t for t in no if matches(f"read({pattern})", t, "path")] == []


@pytest.mark.parametrize(
    ("pattern", "yes", "no"),
    [
        (
            "cargo:*",
            ["cargo", "cargo build", "cargo build --all"],
            ["cargofoo", "cargo-x", "xcargo", "cargo;rm", "npm install"],
        ),
        ("npm run test:*", ["npm run test", "npm run test x"], ["npm run test:unit", "npm run testing"]),
        ("npm run test:**", ["npm run test:", "npm run test:unit"], ["npm run test", "npm run test:a b"]),
        ("git log *", ["git log a", "git log a b/c", "git log "], ["git log", "git logx"]),
        ("git * main", ["git push origin main", "git checkout main"], ["git main", "git push mainx"]),
        (
            "npm run test*:*",
            ["npm run test:unit", "npm run test:unit -v", "npm run test"],
            ["npm run tes", "npm run test/x"],
        ),
        ("cat src/*", ["cat src/a", "cat src/"], ["cat src/a b", "cat src/a/b", "cat src/../../etc/passwd", "cat src/a\nb"]),
        ("cat src/**", ["cat src/a/b"], ["cat src/a b"]),
        ("ls", ["ls"], ["ls -l", "lsof", "LS"]),
        ("ls*", ["ls", "lsof"], ["ls -l", "ls/x"]),
        ("git \\:*", [], ["git", "git x"]),
        ("echo a:\\*", ["echo a:*"], ["echo a:b", "echo a"]),
        ("echo \\:*", ["echo :", "echo :x"], ["echo x", "echo : x"]),
        ("a [b] ?", ["a b c"], ["a b  ", "a b /"]),
    ],
)
def test_commands_where_a_rule_allows(pattern: str, yes: list[str], no: list[str]) -> None:
    found = [t for t in (*yes, *no) if matches(f"bash({pattern})", t)]
    assert found == yes


@pytest.mark.parametrize(
    ("pattern", "yes", "no"),
    [
        ("rm:*", ["rm", "rm -rf x", "RM x", "rm;ls", "rm\nls"], ["rmdir", "xrm"]),
        ("rm*", ["rm", "rm -rf /a b", "rmdir /x"], ["xrm"]),
        ("*curl*", ["curl", "a | CURL https://x/y"], ["wget"]),
        ("git push * --force*", ["git push origin --force", "git push a b --force-with-lease c"], ["git push origin"]),
        ("**/rm:*", ["rm", "rm x", "/bin/rm x", "./rm x"], ["xrm", "/bin/rmdir"]),
        ("cat ?etc", ["cat /etc", "cat  etc"], ["cat etc"]),
        ("x[/]y", ["x/y"], ["xy"]),
        ("STRASSE", ["strasse"], ["straße"]),
    ],
)
def test_commands_where_a_rule_denies_or_asks(pattern: str, yes: list[str], no: list[str]) -> None:
    found = [t for t in (*yes, *no) if matches(f"bash({pattern})", t, reading="wide")]
    assert found == yes


def test_paths_are_denied_in_any_case_but_allowed_in_theirs() -> None:
    assert matches("read(**/.env)", "a/.ENV", "path", "wide")
    assert matches("read([A-C]/x)", "b/X", "path", "wide")
    assert not matches("read(**/.env)", "a/.ENV", "path")
    assert not matches("read(*.env)", "a/b.env", "path", "wide")  # the rule about `/` holds either way


def test_urls_keep_their_host() -> None:
    rule = "web_fetch(https://*.python.org/**)"
    assert matches(rule, "https://docs.python.org/3/a?b=c", "url")
    assert not matches(rule, "https://evil.example/x.python.org/y", "url")
    assert not matches(rule, "http://docs.python.org/", "url")


def test_what_is_known_of_a_text_only_in_its_beginning() -> None:
    rm, status, tests = (
        matcher(parse(f"bash({p})"), "command", "wide") for p in ("rm:*", "git status:*", "cat **/tests/* *")
    )
    assert [rm.could(b) for b in ("", "r", "rm", "rm ", "rm -", "rmdir ", "git ")] == [
        True,
        True,
        True,
        True,
        True,
        False,
        False,
    ]
    assert [status.always(b) for b in ("", "git ", "git status", "git status ", "git status -s ")] == [
        False,
        False,
        False,
        True,
        True,
    ]
    assert tests.could("cat a/tests/x")
    assert not matcher(parse("bash(ls)"), "command", "narrow").always("ls")
    assert matcher(parse("read(secret/**)"), "path", "wide").could("")
    assert matcher(parse("read(secret/**)"), "path", "wide").could("sec")
    assert not matcher(parse("read(secret/**)"), "path", "wide").could("src/")
    assert matcher(parse("read(src/**)"), "path", "narrow").always("src/")
    assert not matcher(parse("read(src/*)"), "path", "narrow").always("src/")


def test_a_text_as_a_pattern_matches_just_itself() -> None:
    text = r"awk '{print $1}' *.c [a] \n ?"
    rule = parse(f"bash({literal(text)})")
    assert not open_ended(rule)
    assert open_ended(parse("bash(ls *)"))
    assert open_ended(parse("bash(ls:*)"))
    assert open_ended(parse("bash"))
    assert matches(rule.text, text)
    assert not matches(rule.text, text + " ")


# --- against a simple reading of the same ---------------------------------------------------------------------------------


def slowly(pattern: str, text: str, names: bool) -> bool:
    """The same by a regular expression, which may take its time: only for small texts."""
    out, at = "", 0
    inside, across = ("[^/]", ".") if names else ("[^/ \t\n]", "[^ \t\n]")
    while at < len(pattern):
        begins = at == 0 or pattern[at - 1] == "/"
        if pattern[at] != "*":
            out += inside if pattern[at] == "?" else re.escape(pattern[at])
            at += 1
            continue
        stop = at + len(pattern[at:]) - len(pattern[at:].lstrip("*"))
        alone = (at == 0 or pattern[at - 1] == " ") and (stop == len(pattern) or pattern[stop] == " ")
        if stop - at > 1 and begins and pattern[stop : stop + 1] == "/":
            out += "(?:.*/)?" if names else f"{across}*/"
            stop += 1
        elif stop - at > 1 and stop == len(pattern) and out.endswith("/"):
            out = f"{out[:-1]}(?:/.*)?" if names else f"{out}{across}*"
        elif alone and not names:
            out += ".*"
        else:
            out += f"{across if stop - at > 1 else inside}*"
        at = stop
    return re.fullmatch(out, text, re.DOTALL) is not None


@given(st.text("ab/*? ", min_size=1, max_size=8), st.text("ab/ ", max_size=8), st.booleans())
@example("**/*a*/b", "a/a/b", True)
@example("*/**", "a/", True)
def test_patterns_match_what_a_regular_expression_matches(pattern: str, text: str, names: bool) -> None:
    expected = pattern in ("*", "**") or slowly(pattern, text, names)
    assert matches(f"x({pattern})", text, "path" if names else "command") is expected


@given(
    st.text("ab/*?: ", min_size=1, max_size=8),
    st.text("ab/ ", max_size=5),
    st.text("ab/ ", max_size=5),
    st.sampled_from(["path", "command", "text"]),
    st.sampled_from(["narrow", "wide"]),
)
def test_what_could_and_what_always_does(
    pattern: str, beginning: str, rest: str, kind: SubjectKind, reading: Reading
) -> None:
    try:
        found = matcher(parse(f"x({pattern})"), kind, reading)
    except ConfigurationError:
        return
    if found.matches(beginning + rest):
        assert found.could(beginning)
    elif found.always(beginning):
        raise AssertionError((pattern, beginning, rest))
    if reading == "narrow":
        wide = matcher(parse(f"x({pattern})"), kind, "wide")
        assert wide.matches(beginning + rest) or not found.matches(beginning + rest)


@given(st.text())
def test_any_text_is_a_rule_or_a_configuration_error(text: str) -> None:
    for rule in (text, f"bash({text})"):
        with contextlib.suppress(ConfigurationError):
            matcher(parse(rule), "command", "wide").matches(text)


@pytest.mark.parametrize(
    "pattern", ["*a" * 400 + "b", "**/" * 300 + "b", "*" * 900 + "b", "[a]*" * 200 + "?b", "**a" * 300 + "b:*"]
)
@pytest.mark.parametrize("kind", ["command", "path", "text"])
def test_no_pattern_makes_matching_slow(pattern: str, kind: SubjectKind) -> None:
    """One that goes back to try again would not end here within the age of the universe."""
    assert not matches(f"x({pattern})", "a/" * 5000, kind)
    assert not matches(f"x({pattern})", "a" * 10000, kind, "wide")
