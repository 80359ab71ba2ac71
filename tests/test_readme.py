"""The README's example runs as it stands, save for the model's name and the file it writes."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

import godwit
from godwit.models.script import Script, ScriptedModel, call, say

MODEL = '"anthropic:claude-sonnet-4-5"'


def example(root: Path) -> str:
    blocks: list[str] = re.findall(r"```python\n(.*?)```", (root / "README.md").read_text(), re.DOTALL)
    return blocks[0]


def test_the_agent_for_a_real_folder_can_be_made(root: Path) -> None:
    blocks: list[str] = re.findall(r"```python\n(.*?)```", (root / "README.md").read_text(), re.DOTALL)
    scope: dict[str, Any] = {"godwit": godwit}
    exec(compile(blocks[1], "README.md", "exec"), scope)
    spec = scope["agent"].spec
    assert spec.permissions.deny
    assert spec.budgets
    assert spec.verification is not None


async def test_the_example_runs(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    code = example(root)
    assert MODEL in code
    assert "asyncio.run(main())" in code
    code = code.replace(MODEL, '"scripted:readme"').replace('open("godwit.db")', 'open("godwit.db", models=models)')
    code = code.replace("asyncio.run(main())", "")
    answers: Script = [say("I will look. ") + call("bash", command="echo found > it"), "Fixed.", "One line."]
    scope: dict[str, Any] = {"models": {"scripted:readme": ScriptedModel(answers, "scripted:readme")}}
    monkeypatch.chdir(tmp_path)
    exec(compile(code, "README.md", "exec"), scope)
    await scope["main"]()
    assert capsys.readouterr().out.startswith("I will look. Fixed.One line. ")
    assert (tmp_path / "it").read_text() == "found\n"
    assert (tmp_path / "godwit.db").exists()


def test_each_call_of_the_table_is_there(root: Path) -> None:
    text = (root / "README.md").read_text()
    named = set(re.findall(r"`(session|runtime)\.(\w+)\(", text))
    assert len(named) > 6
    for owner, name in named:
        assert hasattr({"session": godwit.Session, "runtime": godwit.Runtime}[owner], name), f"{owner}.{name}"


@pytest.mark.parametrize(
    "page", ["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "GLOSSARY.md", "CHANGELOG.md", "docs/state.md"]
)
def test_links_and_named_files_exist(root: Path, page: str) -> None:
    path = root / page
    text = path.read_text()
    for target in re.findall(r"\]\(([^)#]+?)\)", text):
        if "://" not in target:
            assert (path.parent / target).exists(), target
    for target in re.findall(r"`((?:tests|scripts|docs)/[\w./-]+)`", text):
        assert (root / target).exists(), target
