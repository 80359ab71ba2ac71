"""Agent files: what a file says of its agent, and what is wrong with one."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from tests.host.test_command_files import write

from godwit.core.agent import AgentSpec
from godwit.core.rules import Permissions
from godwit.engine.permissions import Layer, Policy
from godwit.host.agent_files import FOLDERS, AgentFiles, load, load_all
from godwit.host.found_files import FILE_LIMIT


def problems(found: AgentFiles, *, fatal: bool = True) -> list[str]:
    return [str(p) for p in found.problems if p.fatal == fatal]


def one(folder: Path, text: str, name: str = "one.md") -> AgentSpec:
    """The agent of a file of which nothing is wrong."""
    write(folder, name, text)
    found = load(folder)
    assert not found.problems
    (spec,) = found.specs
    return spec


def wrong(folder: Path, text: str, name: str = "one.md") -> str:
    """What is said of a file that gives no agent, behind its path."""
    write(folder, name, text)
    found = load(folder)
    assert not found.agents
    (problem,) = problems(found)
    assert problem.startswith(f"{folder}/{name}:")
    return problem.removeprefix(f"{folder}/{name}:")


def verdicts(permissions: Permissions, *tools: str) -> list[str]:
    policy = Policy([Layer("agent", permissions)])
    return ["hidden" if policy.hidden(tool) else policy._unmatched(policy._about(tool), ()).verdict for tool in tools]


def test_a_folder_that_is_not_there_holds_none(tmp_path: Path) -> None:
    assert load(tmp_path / "none") == AgentFiles({}, ())
    (tmp_path / "empty").mkdir()
    assert load(tmp_path / "empty") == AgentFiles({}, ())


def test_yaml_and_markdown_files_are_found_in_all_folders_below(tmp_path: Path) -> None:
    write(tmp_path, "a.yaml", "name: a\ndescription: The first.\nprompt: |\n  Do a.\n  Then more.\n")
    write(tmp_path, "deep/b.yml", "name: b\ndescription: The second.\nmax_steps: 9\n")
    write(tmp_path, "deep/er/c.md", "---\nname: c\ndescription: The third.\n---\nDo c.\n\nWell.\n")
    write(tmp_path, "d.txt", "name: d\ndescription: None.\n")
    found = load(tmp_path)
    assert not found.problems
    assert sorted(found.agents) == ["a", "b", "c"]
    a, b, c = (found.agents[name].spec for name in "abc")
    assert (a.instructions, a.models, a.tools) == ("Do a.\nThen more.", ("inherit",), ("files", "bash"))
    assert (b.limits.max_turns, b.instructions) == (9, "")
    assert (c.description, c.instructions) == ("The third.", "Do c.\n\nWell.")
    assert found.agents["c"].file == f"{tmp_path}/deep/er/c.md"


def test_a_prompt_of_the_front_matter_goes_before_the_body(tmp_path: Path) -> None:
    assert one(tmp_path, "---\nname: a\ndescription: b\nprompt: The key.\n---\nThe body.\n").instructions == "The key."


def test_a_list_of_tools_allows_them_and_denies_all_else(tmp_path: Path) -> None:
    spec = one(tmp_path, "---\nname: a\ndescription: b\ntools: Read, Grep\n---\nLook.\n")
    assert spec.tools == ("read", "grep")
    assert verdicts(spec.permissions, "read", "grep", "write", "bash") == ["allow", "allow", "hidden", "hidden"]
    assert spec.confirmation_inheritance == "auto_approve"


@pytest.mark.parametrize("key", ["tools", "allowedTools", "allowed-tools"])
def test_tools_may_be_a_list_with_patterns_under_any_of_their_keys(tmp_path: Path, key: str) -> None:
    text = f"---\nname: a\ndescription: b\n{key}:\n  - Read\n  - Bash(git log:*, x)\n  - MultiEdit\n---\nLook.\n"
    spec = one(tmp_path, text)
    assert spec.tools == ("read", "bash", "edit")
    assert spec.permissions == Permissions(("read", "bash(git log:*, x)", "edit"), default="deny")


def test_a_denied_tool_stays_denied(tmp_path: Path) -> None:
    text = "---\nname: a\ndescription: b\ntools: Read, Write, Bash\ndisallowedTools: Write, Bash(rm:*), files\n---\nWork.\n"
    spec = one(tmp_path, text)
    denied = ("write", "bash(rm:*)", "read", "write", "edit", "patch", "ls", "glob", "grep")
    assert spec.permissions.deny == denied
    assert verdicts(spec.permissions, "write", "bash") == ["hidden", "allow"]


def test_no_list_and_an_empty_one_are_not_the_same(tmp_path: Path) -> None:
    assert one(tmp_path, "---\nname: a\ndescription: b\ntools:\n---\nWork.\n").tools == ("files", "bash")
    assert one(tmp_path, "---\nname: a\ndescription: b\ntools: '*'\n---\nWork.\n").tools == ("files", "bash")
    assert one(tmp_path, "---\nname: a\ndescription: b\ntools: []\n---\nWork.\n").tools == ()


def test_permissions_are_rules_by_verdict(tmp_path: Path) -> None:
    start = "name: a\ndescription: b\n"
    spec = one(tmp_path, f"{start}permissions:\n  allow: [Read, 'Bash(ls:*)']\n  ask: Write\n  deny: [WebFetch]\n", "a.yaml")
    assert spec.permissions == Permissions(("read", "bash(ls:*)"), ("write",), ("web_fetch",), "deny")
    spec = one(tmp_path, f"{start}permissions:\n  deny: [Bash]\n  default: ask\n", "a.yaml")
    assert spec.permissions == Permissions(deny=("bash",), default="ask")
    assert spec.confirmation_inheritance == "inherit_parent"


def test_a_tool_that_is_not_here_is_left_out_and_told(tmp_path: Path) -> None:
    write(tmp_path, "a.md", "---\nname: a\ndescription: b\ntools: Read, TodoWrite, mcp__x__y\ncolor: red\n---\nWork.\n")
    found = load(tmp_path)
    assert found.specs[0].tools == ("read",)
    assert [text.removeprefix(f"{tmp_path}/a.md:") for text in problems(found, fatal=False)] == [
        "5: 'color' has no meaning here",
        "4: there is no tool 'TodoWrite' here: the agent does without it",
        "4: there is no tool 'mcp__x__y' here: the agent does without it",
    ]


def test_a_model_is_a_provider_and_a_model_or_that_of_the_one_above(tmp_path: Path) -> None:
    start = "name: a\ndescription: b\n"
    assert one(tmp_path, f"{start}model: openai:gpt-5\n", "a.yaml").models == ("openai:gpt-5",)
    assert one(tmp_path, f"{start}model: inherit\n", "a.yaml").models == ("inherit",)
    assert one(tmp_path, f"{start}model: {{provider: openai, model: gpt-5}}\n", "a.yaml").models == ("openai:gpt-5",)
    write(tmp_path, "a.yaml", f"{start}model: sonnet\n")
    found = load(tmp_path)
    assert found.specs[0].models == ("inherit",)
    assert problems(found, fatal=False) == [f"{tmp_path}/a.yaml:3: model 'sonnet' is not used: it is no provider:model"]


def test_a_description_may_be_what_yaml_refuses(tmp_path: Path) -> None:
    text = "---\nname: a\ndescription: Use it when: user says 'go' [now]\ntools: Read\n---\nWork.\n"
    assert one(tmp_path, text).description == "Use it when: user says 'go' [now]"
    assert one(tmp_path, "---\nname: a\n---\n# The task\n\nDo it.\n").description == "The task"


def test_a_kind_makes_it_a_worker(tmp_path: Path) -> None:
    write(tmp_path, "a.md", "---\nname: a\ndescription: b\nkind: code-review\nhidden: true\n---\nBe kind.\n")
    (made,) = load(tmp_path).agents.values()
    assert made.worker is not None
    assert made.worker.kind == "reviewer"
    assert made.spec == made.worker.agent()
    assert made.spec.hidden
    assert made.spec.limits.max_turns == 25
    assert made.spec.instructions.endswith("\n\nBe kind.")
    spec = one(tmp_path, "---\nname: a\ndescription: b\nkind: verify\ntools: Read, Write\n---\nLook.\n", "a.md")
    assert verdicts(spec.permissions, "read", "write", "bash") == ["allow", "hidden", "hidden"]
    assert "write" not in spec.tools


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("Just a text.", "1: has no front matter: lines of --- with name and description between them"),
        ("---\nname: a\n", "1: the front matter has no end: a line of --- is missing"),
        ("---\ndescription: b\n---\nWork.", "1: the agent needs a name"),
        ("---\ndescription: b\nname: ''\n---\nWork.", "3: the agent needs a name"),
        ("---\nname: a b\n---\nWork.", "2: agent name 'a b': letters, digits and . _ - only, 1 to 64 of them, a letter or"),
        ("---\nname: a\n---\n", "2: the agent needs a description: it says to others what to ask it for"),
        ("---\nname: a\ndescription: b\ntools:\n- Read\n- Bash(rm\n---\n", "6: permission rule 'Bash(rm' cannot be read"),
        ("---\nname: a\ndescription: b\ntools: {Read: true}\n---\n", "4: permission rule '{Read: true}' cannot be read"),
        ("---\nname: a\ndescription: b\nmax_steps: many\n---\n", "4: 'max_steps' is a number from 1 on, not 'many'"),
        ("---\nname: a\ndescription: b\nmaxTurns: 0\n---\n", "4: 'maxTurns' is a number from 1 on, not '0'"),
        ("---\nname: a\ndescription: b\nkind: wizard\n---\n", "4: kind 'wizard' is none of read_only, planner"),
        ("---\nname: a\ndescription: b\nhidden: maybe\n---\n", "4: 'hidden' is one of true, false, yes, no, not 'maybe'"),
        (
            "---\nname: a\ndescription: b\nconfirmation_inheritance: all\n---\n",
            "4: 'confirmation_inheritance' is one of auto_approve, deny_on_ask, inherit_parent, not 'all'",
        ),
        ("---\nname: a\ndescription: b\npermissions:\n  permit: [Read]\n---\n", "5: 'permissions' has rules below allow"),
        ("---\nname: a\ndescription: b\npermissions: all\n---\n", "4: 'permissions' has rules below allow, ask and deny"),
        ("---\nname: a\nname: b\n---\n", "3: 'name' stands there twice"),
        ("---\nname: a\ntools: Read\nallowedTools: Write\n---\n", "4: 'allowedTools' stands there twice, also as 'tools'"),
        ("---\nname: a\nfoo: [\n---\n", "3: the front matter is not YAML"),
        ("---\n- a\n---\n", "2: the front matter is no list of key: value"),
        ("---\nname: a\n---\nx\n\0", "5: holds a NUL character"),
    ],
)
def test_what_is_wrong_is_told_with_its_line(tmp_path: Path, text: str, said: str) -> None:
    assert wrong(tmp_path, text).startswith(said)


def test_a_wrong_file_hides_no_other_one(tmp_path: Path) -> None:
    write(tmp_path, "bad.md", "no front matter")
    write(tmp_path, "good.yaml", "name: good\ndescription: Good.\n")
    write(tmp_path, "same.yaml", "name: good\ndescription: Another.\n")
    write(tmp_path, "large.yaml", "#" * (FILE_LIMIT + 1))
    write(tmp_path, "latin.yaml", b"name: a\ndescription: \xe9\n")
    found = load(tmp_path)
    assert found.agents["good"].spec.description == "Good."
    assert [text.removeprefix(f"{tmp_path}/") for text in problems(found)] == [
        "bad.md:1: has no front matter: lines of --- with name and description between them",
        "large.yaml: has 65,537 bytes, more than the 65,536 that such a file may have",
        "latin.yaml:2: is not UTF-8: byte 21 does not fit",
        f"same.yaml: agent 'good' is {tmp_path}/good.yaml already",
    ]


def test_links_that_lead_out_are_not_read(tmp_path: Path) -> None:
    outside = write(tmp_path, "outside/a.yaml", "name: a\ndescription: Outside.\n")
    inside = write(tmp_path, "agents/b.yaml", "name: b\ndescription: Inside.\n")
    os.symlink(outside, tmp_path / "agents" / "a.yaml")
    os.symlink(outside.parent, tmp_path / "agents" / "more")
    os.symlink(inside, tmp_path / "agents" / "z.yaml")
    found = load(tmp_path / "agents")
    assert list(found.agents) == ["b"]
    told = problems(found)
    assert any("agents/a.yaml" in text for text in told)
    assert any("agents/more: is a link to a folder" in text for text in told)


def test_of_the_default_folders_the_first_of_a_name_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    project = tmp_path / "project"
    places = {
        ".godwit": project / ".godwit/agents",
        ".claude": project / ".claude/agents",
        "own": tmp_path / "config/godwit/agents",
    }
    for name, folder in places.items():
        for agent in {".godwit": "a", ".claude": "ab", "own": "abc"}[name]:
            write(folder, f"{agent}.yaml", f"name: {agent}\ndescription: Of {name}.\n")
    found = load_all(str(project))
    assert {name: one.spec.description for name, one in found.agents.items()} == {
        "a": "Of .godwit.",
        "b": "Of .claude.",
        "c": "Of own.",
    }
    assert [one.file for one in found.agents.values()] == [
        f"{folder}/{name}.yaml" for folder, name in zip(FOLDERS, "abc", strict=True)
    ]


def test_a_file_says_how_its_conversations_are_kept_and_what_it_is_told(tmp_path: Path) -> None:
    text = "---\nname: {}\ndescription: d\ncontext:\n  compact_at: {}\n  prune: false\n{}---\nx"
    (tmp_path / "a.md").write_text(text.format("a", "0.5", "skills: pdf, deploy-*\ncontext-files: no\n"))
    (tmp_path / "b.md").write_text(text.format("b", "7", ""))
    (tmp_path / "c.yaml").write_text("name: c\ndescription: d\nkind: reviewer\nskills: []\ncontext: {window: 5000}\n")
    found = load(tmp_path)
    a, c = found.agents["a"].spec, found.agents["c"].spec
    assert (a.context.compact_at, a.context.prune, a.skills, a.context_files) == (0.5, False, ("pdf", "deploy-*"), False)
    assert (c.context.window, c.skills, c.context_files) == (5000, (), True)
    [problem] = found.problems
    assert (problem.line, problem.fatal) == (5, True)
