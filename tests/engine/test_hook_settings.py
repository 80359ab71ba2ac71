"""Hooks from files: our tables and the settings of Claude Code, read whole or refused with file and line."""

from __future__ import annotations

import json
import tomllib
from typing import Any

import pytest

from godwit.core.errors import ConfigurationError
from godwit.core.hooks import HookMatcher, HookSpec
from godwit.core.ids import SessionId
from godwit.engine.hooks import Hooks
from godwit.host.hook_settings import hooks_from_claude, hooks_from_tables
from godwit.host.hooks import HOOK_KIT

# --- our tables -----------------------------------------------------------------------------------------------------------


def tables(text: str) -> list[HookSpec]:
    found = tomllib.loads(text)["hooks"]
    return hooks_from_tables(found, [f"godwit.toml:{n}" for n in range(1, len(found) + 1)])


def test_a_table_is_a_hook() -> None:
    assert tables(
        """
        [[hooks]]
        id = "no-force"
        point = "before_tool"
        matcher = { tool = "bash", command = "git push.*--force" }
        command = "./check.sh"
        priority = 5
        timeout_s = 2
        retries = 1

        [[hooks]]
        point = "PostToolUse"
        matcher = "edit|write"
        command = "ruff format"
        background = true

        [[hooks]]
        point = "before_session"
        command = "git status --short"
        matcher = { when = { source = "startup" } }
        """
    ) == [
        HookSpec("no-force", "before_tool", HookMatcher(tool="bash", command="git push.*--force"), "./check.sh", 5, 2.0, 1),
        HookSpec("hook-2", "after_tool", HookMatcher(tool="edit|write"), "ruff format", background=True),
        HookSpec("hook-3", "before_session", HookMatcher(when={"source": "startup"}), "git status --short"),
    ]


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("point = 'before_tool'", "has no command"),
        ("command = 'x'", "missing required field `point`"),
        ("point = 'before_tol'\ncommand = 'x'", "did you mean 'before_tool'"),
        ("point = 'skill_load'\ncommand = 'x'", "belongs to skills"),
        ("point = 'before_tool'\ncommand = 'x'\nprioirty = 1", "no key 'prioirty'; a hook has .*priority"),
        ("point = 'before_tool'\ncommand = 'x'\nmatcher = { comand = 'x' }", "no key 'comand'"),
        ("point = 'before_tool'\ncommand = 'x'\nmatcher = { command = '(' }", "missing \\)"),
        ("point = 'before_tool'\ncommand = 'x'\nmatcher = { command = '(?=x)' }", "RE2"),
        ("point = 'before_tool'\ncommand = 'x'\nmatcher = 7", "Expected"),
        ("point = 'before_tool'\ncommand = ''", "its command is empty"),
        ("point = 'before_tool'\ncommand = 'x'\ntimeout_s = -1", "timeout_s=-1"),
        ("point = 'before_tool'\ncommand = 'x'\ntimeout_s = 'long'", "timeout_s"),
        ("point = 'before_tool'\ncommand = 'x'\nbackground = true", "cannot run in the background"),
        ("point = 'on_error'\ncommand = 'x'\n[[hooks]]\npoint = 'on_error'\ncommand = 'x'\nid = 'hook-1'", "2: .*already"),
    ],
)  # fmt: skip
def test_a_table_that_cannot_be_used_is_refused_with_its_place(text: str, why: str) -> None:
    with pytest.raises(ConfigurationError, match=why) as caught:
        tables(f"[[hooks]]\n{text}")
    assert caught.value.message.startswith("godwit.toml:")


# --- Claude Code ----------------------------------------------------------------------------------------------------------

SETTINGS = """{
  "permissions": {"allow": ["Bash(ls:*)"]},
  "hooks": {
    "PreToolUse": [
      {
        "matcher": "Bash",
        "hooks": [
          {"type": "command", "command": "check-bash", "timeout": 5},
          {
            "type": "command",
            "command": "log-it"
          }
        ]
      },
      {"matcher": "Edit|Write", "hooks": [{"type": "command", "command": "check-edit"}]},
      {"matcher": "mcp__.*", "hooks": [{"type": "command", "command": "check-mcp"}]},
      {"matcher": "*", "hooks": [{"type": "command", "command": "any"}]}
    ],
    "PostToolUse": [{"hooks": [{"type": "command", "command": "after", "async": true}]}],
    "UserPromptSubmit": [{"matcher": "ignored", "hooks": [{"type": "command", "command": "prompt"}]}],
    "SessionStart": [{"matcher": "startup|resume", "hooks": [{"type": "command", "command": "start"}]}],
    "Stop": [{"hooks": [{"type": "command", "command": "stop"}]}]
  }
}
"""


def test_a_settings_file_is_read() -> None:
    found = {spec.command: spec for spec in hooks_from_claude(SETTINGS, "settings.json")}
    assert [(c, s.id, s.point) for c, s in found.items()] == [
        ("check-bash", "claude:PreToolUse-1-1", "before_tool"),
        ("log-it", "claude:PreToolUse-1-2", "before_tool"),
        ("check-edit", "claude:PreToolUse-2-1", "before_tool"),
        ("check-mcp", "claude:PreToolUse-3-1", "before_tool"),
        ("any", "claude:PreToolUse-4-1", "before_tool"),
        ("after", "claude:PostToolUse-1-1", "after_tool"),
        ("prompt", "claude:UserPromptSubmit-1-1", "before_prompt"),
        ("start", "claude:SessionStart-1-1", "before_session"),
        ("stop", "claude:Stop-1-1", "before_finish"),
    ]
    assert (found["check-bash"].timeout_s, found["log-it"].timeout_s) == (5, 60)
    assert found["after"].background
    assert found["after"].matcher == HookMatcher(when={"status": "ok"})
    assert found["start"].matcher == HookMatcher(when={"source": "startup|resume"})
    assert found["prompt"].matcher == HookMatcher()


@pytest.mark.parametrize(
    ("matcher", "tool", "matches"),
    [
        ("Bash", "bash", True),
        ("Bash", "bash_output", False),
        ("Edit|Write", "edit", True),
        ("Edit|Write", "write", True),
        ("Edit, Write", "patch", True),
        ("MultiEdit", "patch", True),
        ("WebFetch", "web_fetch", True),
        ("Read", "grep", False),
        ("^Bash$", "bash", True),
        ("Web.*", "web_search", True),
        ("mcp__mem__.*", "mcp__mem__get", True),
        ("mcp__mem", "mcp__mem__get", False),
        ("mcp__mem__get", "mcp__mem__get", True),
        ("", "anything", True),
        ("*", "anything", True),
    ],
)
async def test_matchers_mean_what_they_mean_there(matcher: str, tool: str, matches: bool) -> None:
    text = json.dumps({"hooks": {"PreToolUse": [{"matcher": matcher, "hooks": [{"type": "command", "command": "true"}]}]}})
    (spec,) = hooks_from_claude(text, "settings.json")
    hooks, told = Hooks(SessionId("s"), HOOK_KIT), list[Any]()
    hooks.register(spec, lambda call: told.append(call))
    await hooks.fire("before_tool", {"tool": tool, "arguments": {}})
    assert bool(told) == matches


async def test_a_hook_after_a_success_is_not_called_after_a_failure() -> None:
    text = json.dumps(
        {"hooks": {e: [{"hooks": [{"type": "command", "command": e}]}] for e in ("PostToolUse", "PostToolUseFailure")}}
    )
    hooks, told = Hooks(SessionId("s"), HOOK_KIT), list[Any]()
    for spec in hooks_from_claude(text, "settings.json"):
        hooks.register(spec, lambda call, c=spec.command: told.append((c, call.payload["status"])))  # type: ignore[misc]
    for status in ("ok", "error"):
        await hooks.fire("after_tool", {"tool": "bash", "arguments": {}, "status": status, "result": ""})
    assert told == [("PostToolUse", "ok"), ("PostToolUseFailure", "error")]


def test_other_settings_are_left_alone_and_all_hooks_can_be_switched_off() -> None:
    assert hooks_from_claude('{"model": "opus"}', "settings.json") == []
    assert hooks_from_claude(SETTINGS.replace("{\n", '{"disableAllHooks": true,\n', 1), "settings.json") == []


def group(hook: str = '{"type": "command", "command": "x"}', matcher: str = '"Bash"', event: str = "PreToolUse") -> str:
    return f'{{\n"hooks": {{\n"{event}": [\n{{"matcher": {matcher},\n"hooks": [\n{hook}\n]}}\n]}}}}'


@pytest.mark.parametrize(
    ("text", "line", "why"),
    [
        ("{\n\n  oops", 3, "no JSON"),
        ("[]", 1, "must be an object"),
        ('{\n"hooks": []}', 2, "hooks must be an object"),
        ('{\n"hooks": {\n"PreToolUse": {}}}', 3, "hooks.PreToolUse must be a list"),
        ('{\n"hooks": {\n"PreToolUse": [\n7]}}', 4, "must be an object"),
        ('{\n"hooks": {\n"PreToolUse": [\n{"matcher": "x"}]}}', 4, "must be a list"),
        (group(event="PreToolUze"), 3, "did you mean 'PreToolUse'"),
        (group(event="TaskCreated"), 3, "belongs to subagents"),
        (group(event="SubagentStop"), 3, "belongs to subagents"),
        (group(event="Notification"), 3, "before_approval"),
        (group(matcher="7"), 4, "a matcher is text"),
        (group(matcher='"(?<!x)Bash"'), 6, "RE2"),
        (group('{"type": "prompt", "prompt": "x"}'), 6, "type 'prompt' is not supported"),
        (group('{"type": "command"}'), 6, "command is text"),
        (group('{"type": "command", "command": ""}'), 6, "command is empty"),
        (group('{"type": "command", "command": "x", "if": "Bash(git *)"}'), 6, "'if'"),
        (group('{"type": "command", "command": "x", "timeout": "5"}'), 6, "number of seconds"),
        (group('{"type": "command", "command": "x", "timeout": -5}'), 6, "timeout_s=-5"),
        (group('{"type": "command", "command": "x", "async": true}'), 6, "background"),
        (group('{"type": "command", "command": "x"},\n\n{"type": "command", "command": 7}'), 8, "command is text"),
    ],
)
def test_what_cannot_be_used_is_refused_with_file_and_line(text: str, line: int, why: str) -> None:
    with pytest.raises(ConfigurationError, match=why) as caught:
        hooks_from_claude(text, "settings.json")
    assert caught.value.message.startswith(f"settings.json:{line}: ")


def test_a_place_is_found_among_strings_that_look_like_structure() -> None:
    text = '{"a": "}]{[,:\\" ",\n"b": [[], {}, "x"],\n"hooks": {"Stop": [{"hooks": [\n1]}]}}'
    with pytest.raises(ConfigurationError, match=r"settings\.json:4: hooks\.Stop\.0\.hooks\.0 must be an object"):
        hooks_from_claude(text, "settings.json")
