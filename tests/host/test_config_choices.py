"""What configuration files say, setting by setting: which file and line, and whether it holds."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from godwit.core.errors import ConfigurationError
from godwit.host.config_choices import Choice, choices

USER = """\
trusted = []

[permissions]
allow = [
  "read",
  "bash(git *)",
]
default = "ask"

[[hooks]]
point = "before_tool"
command = "check --token very-secret"
id = "mine"

[budget]
usd = 5
tokens = 1000

[budget.tree]
usd = 20

[checkpoints]
enabled = true
max_files = 10

[sandbox]
network = true
memory_bytes = 1000000000

[web_search]
backend = "brave"

[server]
port = 1
[server.tenant]
burst = 7
"""
PROJECT = """\
[permissions]
allow = ["write"]
deny = ["bash(rm *)"]
default = "deny"

[[hooks]]
point = "after_tool"
command = "other"
id = "mine"

[budget]
usd = 3
tokens = 2000

[checkpoints]
max_files = 20

[sandbox]
memory_bytes = 500000000
hidden = ["/secret"]

[web_search]
backend = "tavily"

[server]
port = 2
"""


def told(tmp_path: Path, *, trusted: bool, project: str | None = PROJECT) -> dict[str, list[Choice]]:
    """The choices of the person's file and of the folder's."""
    folder, own = tmp_path / "work", tmp_path / "own.toml"
    (folder / ".godwit").mkdir(parents=True)
    own.write_text(USER.replace("trusted = []", f"trusted = [{json.dumps(str(folder))}]") if trusted else USER)
    if project is not None:
        (folder / ".godwit" / "config.toml").write_text(project)
    found = choices(folder, environment={"GODWIT_CONFIG": str(own)})
    assert found.user is not None
    assert found.project is not None
    assert (found.user.path, found.user.found, found.user.trusted) == (str(own), True, True)
    assert (found.project.found, found.project.trusted) == (project is not None, trusted)
    places = {found.user.path: "user", found.project.path: "project"}
    kept: dict[str, list[Choice]] = {"user": [], "project": []}
    for choice in found.choices:
        kept[places[choice.file]].append(choice)
    return kept


def held(found: list[Choice]) -> dict[str, list[str]]:
    """What holds, by key."""
    kept: dict[str, list[str]] = {}
    for choice in found:
        if choice.why is None:
            kept.setdefault(choice.key, []).append(choice.value)
    return kept


def test_each_setting_is_told_with_its_line(tmp_path: Path) -> None:
    found = told(tmp_path, trusted=False, project=None)["user"]
    lines = USER.split("\n")
    assert {c.why for c in found} == {None}
    assert [(c.key, c.value) for c in found if c.key.startswith("permissions")] == [
        ("permissions.allow", '"read"'),
        ("permissions.allow", '"bash(git *)"'),
        ("permissions.default", '"ask"'),
    ]
    for choice in found:
        word = "[[hooks]]" if choice.key == "hooks" else choice.value if "allow" in choice.key else choice.key.split(".")[-1]
        assert word in lines[choice.line - 1], choice
    assert {c.key for c in found} >= {"budget.usd", "budget.tree.usd", "server.port", "server.tenant.burst", "hooks"}
    assert "very-secret" not in repr(found)


def test_of_a_folder_that_is_not_trusted_only_what_is_stricter_holds(tmp_path: Path) -> None:
    found = told(tmp_path, trusted=False)
    assert held(found["project"]) == {
        "permissions.deny": ['"bash(rm *)"'],
        "permissions.default": ['"deny"'],
        "budget.usd": ["3"],
        "sandbox.memory_bytes": ["500000000"],
        "sandbox.hidden": ['["/secret"]'],
    }
    left = {c.key: c.why or "" for c in found["project"] if c.why is not None}
    assert set(left) == {
        "permissions.allow", "hooks", "budget.tokens", "checkpoints.max_files", "web_search.backend", "server.port",
    }  # fmt: skip
    assert all("trust" in why for why in left.values()), left
    replaced = {c.key: c.why for c in found["user"] if c.why is not None}
    assert set(replaced) == {"permissions.default", "budget.usd", "sandbox.memory_bytes"}
    assert "work/.godwit/config.toml says otherwise" in str(replaced["budget.usd"])


def test_a_trusted_folder_has_the_last_word_where_both_speak(tmp_path: Path) -> None:
    found = told(tmp_path, trusted=True)
    assert [c for c in found["project"] if c.why is not None] == []
    assert {c.key for c in found["user"] if c.why is not None} == {
        "permissions.default", "hooks", "budget.usd", "budget.tokens", "checkpoints.max_files", "sandbox.memory_bytes",
        "web_search.backend", "server.port", "server.tenant.burst",
    }  # fmt: skip


def test_a_wrong_file_is_told_with_its_line(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"config\.toml:1: "):
        told(tmp_path, trusted=False, project="[budgets]\nusd = 3\n")
