"""Command hooks with real programs: what they are told, how their answers are read, and that none outlives its time."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from godwit.core.events import Labels
from godwit.core.hooks import HookPoint, HookResult, HookSpec
from godwit.core.ids import RunId, SessionId
from godwit.engine.cancel import Cancel
from godwit.engine.hooks import Hooks
from godwit.host.hook_commands import STDOUT_LIMIT
from godwit.host.hooks import HOOK_KIT
from tests.engine.conftest import within

Payload = dict[str, Any]
BASH: Payload = {"tool": "bash", "arguments": {"command": "ls"}, "call": "call_1"}
PROMPT: Payload = {"prompt": "hello", "content": [{"type": "text", "text": "hello"}]}


@pytest.fixture
def hooks(tmp_path: Path) -> Hooks:
    made = Hooks(SessionId("ses_1"), HOOK_KIT)
    made.workspace = str(tmp_path.resolve())
    made.labels = Labels(tenant="acme")
    return made


async def asked(
    hooks: Hooks, command: str, point: HookPoint = "before_tool", payload: Payload = BASH, **spec: Any
) -> HookResult:
    hooks.register(HookSpec("h", point, command=command, **spec))
    return await within(hooks.fire(point, payload, run=RunId("run_1")))


async def gone(word: str) -> None:
    """Return once no living process has `word` on its command line."""

    def living() -> bool:
        for name in os.listdir("/proc") if os.path.isdir("/proc") else ():
            if name.isdigit():
                try:
                    if word in Path(f"/proc/{name}/cmdline").read_bytes().decode(errors="replace"):
                        return True
                except OSError:
                    continue
        return False

    async def look() -> None:
        while living():  # noqa: ASYNC110
            await asyncio.sleep(0.01)

    await within(look())


# --- what it is told ----------------------------------------------------------------------------------------------------


async def told(hooks: Hooks, point: HookPoint, payload: Payload) -> dict[str, Any]:
    assert hooks.workspace is not None
    await asked(hooks, "cat > seen.json", point, payload)
    seen: dict[str, Any] = json.loads((Path(hooks.workspace) / "seen.json").read_text())
    return seen


async def test_a_command_reads_both_kinds_of_words_in_the_workspace(hooks: Hooks) -> None:
    payload = {"tool": "write", "arguments": {"file_path": "src/a.py", "content": "x"}, "call": "call_1"}
    assert await told(hooks, "before_tool", payload) == {
        "session_id": "ses_1",
        "cwd": hooks.workspace,
        "hook_event_name": "PreToolUse",
        "permission_mode": "default",
        "tool_name": "Write",
        "tool_input": {"file_path": f"{hooks.workspace}/src/a.py", "content": "x"},
        "tool_use_id": "call_1",
        "point": "before_tool",
        "run": "run_1",
        "labels": {"tenant": "acme"},
        "payload": payload,
    }


async def test_what_follows_a_tool_is_told_as_well(hooks: Hooks) -> None:
    payload = BASH | {"status": "ok", "result": "a.py\n", "exit_code": 0, "duration_ms": 3}
    seen = await told(hooks, "after_tool", payload)
    assert seen["hook_event_name"] == "PostToolUse"
    assert seen["tool_name"] == "Bash"
    assert seen["tool_response"] == {
        "success": True,
        "status": "ok",
        "output": "a.py\n",
        "exit_code": 0,
        "duration_ms": 3,
        "stdout": "a.py\n",
        "stderr": "",
        "interrupted": False,
    }
    seen = await told(hooks, "after_tool", payload | {"status": "error", "result": "no"})
    assert (seen["hook_event_name"], seen["error"], seen["tool_response"]["success"]) == ("PostToolUseFailure", "no", False)


async def test_a_prompt_and_points_that_others_do_not_have(hooks: Hooks) -> None:
    seen = await told(hooks, "before_prompt", PROMPT)
    assert (seen["hook_event_name"], seen["prompt"]) == ("UserPromptSubmit", "hello")
    seen = await told(hooks, "before_turn", {"turn": 2})
    assert (seen["hook_event_name"], seen["payload"]) == ("before_turn", {"turn": 2})


async def test_the_environment_has_no_credentials_and_says_where(
    hooks: Hooks, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("ANTHROPIC_API_KEY", "secret")
    monkeypatch.setenv("GH_TOKEN", "secret")
    monkeypatch.setenv("HARMLESS", "seen")
    await asked(hooks, "env > env.txt; pwd >> env.txt")
    seen = (tmp_path / "env.txt").read_text().splitlines()
    names = {line.partition("=")[0] for line in seen}
    assert not {"ANTHROPIC_API_KEY", "GH_TOKEN"} & names
    assert {
        "HARMLESS=seen",
        "GODWIT_SESSION=ses_1",
        "GODWIT_HOOK=h",
        "GODWIT_POINT=before_tool",
        f"GODWIT_WORKSPACE={hooks.workspace}",
        f"CLAUDE_PROJECT_DIR={hooks.workspace}",
        str(hooks.workspace),
    } <= set(seen)


async def test_a_large_payload_needs_no_reader(hooks: Hooks) -> None:
    payload = {"tool": "write", "arguments": {"content": "x" * 3_000_000}}
    assert (await asked(hooks, "exit 0", payload=payload)).action == "continue"
    assert (await asked(hooks, "[ $(wc -c) -gt 6000000 ]", payload=payload)).action == "continue"


# --- how its answer is read -----------------------------------------------------------------------------------------------


def echo(answer: object) -> str:
    return f"cat <<'EOF'\n{json.dumps(answer)}\nEOF"


def specific(point: str = "PreToolUse", **fields: object) -> dict[str, object]:
    return {"hookSpecificOutput": {"hookEventName": point, **fields}}


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        ("exit 0", HookResult()),
        ("echo looks fine to me", HookResult()),
        ("echo no such luck >&2; exit 2", HookResult("block", reason="no such luck", hook="h")),
        ('echo \'{"decision": "approve"}\'; exit 2', HookResult("block", reason="Blocked", hook="h")),
        (echo({}), HookResult()),
        (echo({"action": "block", "reason": "r"}), HookResult("block", reason="r", hook="h")),
        (echo({"action": "allow", "note": "n"}), HookResult("allow", note="n", hook="h")),
        (echo({"action": "continue", "modified": {"command": "pwd"}}), HookResult(modified={"command": "pwd"}, hook="h")),
        (echo({"action": "escalate", "reason": "r"}), HookResult("escalate", reason="r", hook="h")),
        (echo({"action": "skip"}), HookResult("skip", hook="h")),
        (echo({"decision": "block", "reason": "r"}), HookResult("block", reason="r", hook="h")),
        (echo({"decision": "approve"}), HookResult("allow", hook="h")),
        (echo({"decision": None, "continue": True, "suppressOutput": True}), HookResult()),
        (echo({"systemMessage": "m"}), HookResult(message="m")),
        (echo({"continue": False, "stopReason": "enough"}), HookResult("block", reason="enough", hook="h", end_run=True)),
        (echo(specific(permissionDecision="allow")), HookResult("allow", hook="h")),
        (
            echo(specific(permissionDecision="deny", permissionDecisionReason="r")),
            HookResult("block", reason="r", hook="h"),
        ),
        (
            echo(specific(permissionDecision="ask", permissionDecisionReason="r")),
            HookResult("escalate", reason="r", hook="h"),
        ),
        (
            echo(specific(permissionDecision="allow", updatedInput={"command": "pwd"}, additionalContext="n")),
            HookResult("allow", modified={"command": "pwd"}, note="n", hook="h"),
        ),
    ],
)
async def test_an_answer_is_read(hooks: Hooks, command: str, expected: HookResult) -> None:
    assert await asked(hooks, command) == expected


@pytest.mark.parametrize(
    ("command", "why"),
    [
        ("exit 1", "exit code 1"),
        ("echo broken >&2; exit 3", "exit code 3: broken"),
        ("exit 127", "exit code 127"),
        ("no-such-program-here", "exit code 127"),
        ("kill -9 $$", "killed by signal 9"),
        ("echo '{'", "is no JSON"),
        ('echo \'{"decision": "block"} and more\'', "is no JSON"),
        ("echo '[1]'", "no JSON object"),
        (echo({"desicion": "block"}), "unknown field `desicion`"),
        (echo({"decision": "deny"}), "its decision is 'deny'"),
        (echo({"action": "blok"}), "Invalid enum value 'blok'"),
        (echo({"action": "block", "decision": "block"}), "unknown field `decision`"),
        (echo({"action": "retry", "delay_s": "soon"}), "delay_s"),
        (echo({"continue": "no"}), "continue"),
        (echo(specific(permissionDecision="maybe")), "its permissionDecision is 'maybe'"),
        (echo(specific(permissionDecison="deny")), "unknown field"),
        (echo(specific("Stop", permissionDecision="deny")), "its hookEventName is 'Stop'"),
        (echo(specific(updatedInput=["ls"])), "updatedInput"),
        (f"head -c {STDOUT_LIMIT + 1} /dev/zero", f"more than {STDOUT_LIMIT} bytes"),
        ("yes", f"more than {STDOUT_LIMIT} bytes"),
        ("printf '{\"action\": %s' $(yes [ | head -n 20000 | tr -d '\\n')", "is no JSON"),
    ],
)
async def test_what_cannot_be_understood_blocks(hooks: Hooks, command: str, why: str) -> None:
    result = await asked(hooks, command)
    assert (result.action, result.failed) == ("block", True)
    assert result.reason is not None
    assert why in result.reason


async def test_a_folder_that_is_gone_blocks(hooks: Hooks) -> None:
    hooks.workspace = "/no/such/folder"
    result = await asked(hooks, "exit 0")
    assert result.failed
    assert result.reason is not None
    assert "could not be started" in result.reason


@pytest.mark.parametrize(
    ("point", "payload", "command", "expected"),
    [
        ("before_prompt", PROMPT, "echo the branch is main", HookResult(note="the branch is main")),
        ("before_session", {"source": "startup"}, "echo hello", HookResult(note="hello")),
        (
            "before_prompt",
            PROMPT,
            echo(specific("UserPromptSubmit", additionalContext="n")),
            HookResult(note="n"),
        ),
        ("before_prompt", PROMPT, echo({"decision": "block", "reason": "r"}), HookResult("block", reason="r", hook="h")),
        ("before_finish", {}, echo({"decision": "block", "reason": "r"}), HookResult("block", reason="r", hook="h")),
        ("before_finish", {}, "echo tests fail >&2; exit 2", HookResult("block", reason="tests fail", hook="h")),
        ("before_finish", {}, echo({"continue": False, "stopReason": "enough"}), HookResult(reason=None)),
        ("after_tool", BASH | {"result": "x"}, "echo lint >&2; exit 2", HookResult(note="lint")),
        ("after_tool", BASH | {"result": "x"}, echo({"decision": "block", "reason": "r"}), HookResult(note="r")),
        ("after_tool", BASH | {"result": "x"}, echo({"continue": False}), HookResult(end_run=True)),
        (
            "after_tool",
            BASH | {"result": "x"},
            echo({"action": "continue", "modified": {"result": "y"}}),
            HookResult(modified={"result": "y", "content": [{"type": "text", "text": "y"}]}, hook="h"),
        ),
        (
            "before_approval",
            BASH,
            echo(specific("PermissionRequest", decision={"behavior": "allow"})),
            HookResult("allow", hook="h"),
        ),
        (
            "before_approval",
            BASH,
            echo(specific("PermissionRequest", decision={"behavior": "deny", "message": "r"})),
            HookResult("block", reason="r", hook="h"),
        ),
    ],
)
async def test_each_point_reads_what_makes_sense_there(
    hooks: Hooks, point: HookPoint, payload: Payload, command: str, expected: HookResult
) -> None:
    result = await asked(hooks, command, point, payload)
    if expected.action == "continue" and expected.modified is None:
        assert (result.action, result.note, result.end_run) == ("continue", expected.note, expected.end_run)
    else:
        assert result == expected


# --- its time -------------------------------------------------------------------------------------------------------------


@pytest.mark.skipif(not os.path.isdir("/proc"), reason="looks processes up in /proc")
@pytest.mark.parametrize(
    "command",
    [
        "sleep {n}",
        "sleep {n} & sleep {n}",
        "trap '' TERM; sleep {n} & wait",
        "sh -c 'sleep {n}; true' & wait",
        "(sleep {n} &) ; set -m; sleep {n} & wait",
    ],
)
async def test_a_command_that_hangs_is_killed_with_all_its_processes(hooks: Hooks, command: str, tmp_path: Path) -> None:
    number = f"9876{abs(hash((command, tmp_path.name))) % 100000:05d}"
    result = await asked(hooks, command.format(n=number), timeout_s=0.2)
    assert result.reason == "Required hook 'h' failed: it did not answer within 0.2 s"
    await gone(number)


async def test_an_interrupt_kills_the_command(hooks: Hooks, tmp_path: Path) -> None:
    cancel = Cancel()
    hooks.register(HookSpec("h", "before_tool", command="echo $$ > pid; exec sleep 98765"))
    firing = asyncio.ensure_future(hooks.fire("before_tool", BASH, cancel=cancel))

    async def started() -> int:
        while not (tmp_path / "pid").exists() or not (tmp_path / "pid").read_text().strip():  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        return int((tmp_path / "pid").read_text())

    pid = await within(started())
    cancel.cancel()
    await within(firing)
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


async def test_a_process_left_behind_holds_nothing_up(hooks: Hooks, tmp_path: Path) -> None:
    """It keeps stdout open and lives on, as a command's own business; the answer is there all the same."""
    command = "sleep 60 & echo $! > pid; " + echo({"action": "block", "reason": "r"})
    try:
        assert (await asked(hooks, command)).reason == "r"
    finally:
        os.kill(int((tmp_path / "pid").read_text()), 9)


async def test_hooks_run_beside_each_other_in_several_sessions(tmp_path: Path) -> None:
    made: list[Hooks] = []
    for number in range(8):
        hooks = Hooks(SessionId(f"ses_{number}"), HOOK_KIT)
        hooks.workspace = str(tmp_path)
        hooks.register(HookSpec("h", "before_tool", command='echo "$GODWIT_SESSION" >&2; exit 2'))
        made.append(hooks)
    results = await within(asyncio.gather(*(hooks.fire("before_tool", BASH) for hooks in made)))
    assert [r.reason for r in results] == [f"ses_{n}" for n in range(8)]


async def test_no_descriptor_is_left_open(hooks: Hooks) -> None:
    if not os.path.isdir("/proc"):
        pytest.skip("counts descriptors in /proc")
    count: Callable[[], int] = lambda: len(os.listdir("/proc/self/fd"))  # noqa: E731
    await asked(hooks, "exit 0")
    before = count()
    for command in ("exit 0", "exit 1", "yes", "sleep 9", "cat"):
        await asked(hooks, command, timeout_s=0.1)
    hooks.workspace = "/no/such/folder"
    await asked(hooks, "exit 0")
    assert count() == before
