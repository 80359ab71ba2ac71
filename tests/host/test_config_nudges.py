"""[nudges] of configuration files: when a model that has stopped in the middle of its work is told to go on."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.host.test_config import Files

import godwit
from godwit.core.agent import AgentSpec
from godwit.core.errors import ConfigurationError
from godwit.core.nudges import NudgePolicy


@pytest.fixture
def files(tmp_path: Path) -> Files:
    return Files(tmp_path)


def spec(nudges: NudgePolicy | None = None) -> AgentSpec:
    return godwit.Agent("clerk", model="scripted:test", nudges=nudges).spec


def test_what_a_file_says_takes_the_place_of_what_the_agent_says(files: Files) -> None:
    terms = files.load("[nudges]\nmax_nudges = 5\ntodos = false\n").terms
    assert terms.held(spec()).nudges == NudgePolicy(5, todos=False)
    assert terms.held(spec(NudgePolicy(1, goal=False))).nudges == NudgePolicy(5, todos=False, goal=False)
    assert files.load("").terms.held(spec(NudgePolicy(1))).nudges == NudgePolicy(1)


@pytest.mark.parametrize("wrong", ["max_nudges = -1", "max_nudges = 101", "todos = 3", "often = 3"])
def test_what_is_wrong_is_told_with_its_line(files: Files, wrong: str) -> None:
    with pytest.raises(ConfigurationError, match=r"config\.toml:2: .*nudges"):
        files.load(f"[nudges]\n{wrong}\n")


def test_a_folder_that_is_not_trusted_only_turns_them_off(files: Files) -> None:
    config = files.load("[nudges]\nmax_nudges = 4\n", "[nudges]\nmax_nudges = 9\ntodos = true\nanswers = false\n")
    assert config.terms.held(spec()).nudges == NudgePolicy(4, answers=False)
    assert sum("turn nudges off" in str(notice) for notice in config.notices) == 2
