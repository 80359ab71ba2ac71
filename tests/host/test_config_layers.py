"""The layers of settings: defaults, the person's file, the folder's, the environment, options; and where each comes from."""

from __future__ import annotations

from pathlib import Path

import pytest

from godwit.core.agent import AgentSpec
from godwit.core.errors import ConfigurationError
from godwit.core.ids import AgentName
from godwit.host.config import load
from godwit.host.config_origins import Origin, origins


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "work"
    (made / ".godwit").mkdir(parents=True)
    (made / ".godwit" / "config.toml").write_text("[budget]\nusd = 3\nturns = 9\n")
    (tmp_path / "own.toml").write_text('trusted = ["' + str(made) + '"]\n[budget]\nusd = 5\ntokens = 7\n')
    return made


def known(folder: Path, **more: str) -> dict[str, str]:
    return {"GODWIT_CONFIG": str(folder.parent / "own.toml"), "GODWIT_TRUST": "", **more}


def test_the_higher_layer_counts(folder: Path) -> None:
    env = known(folder, GODWIT_BUDGET__TURNS="4", GODWIT_BUDGET__TREE__USD="20", GODWIT_CONTEXT__PRUNE="false")
    assert load(folder, environment=known(folder)).terms.budget.session.limits == {"usd": 3, "turns": 9, "tokens": 7}
    found = load(folder, environment=env).terms
    assert found.budget.session.limits == {"usd": 3, "turns": 4, "tokens": 7}
    assert found.budget.tree.limits == {"usd": 20}
    assert not found.held(AgentSpec(AgentName("a"), ("p:m",))).context.prune
    found = load(folder, environment=env, options={"budget.turns": 2, "checkpoints.enabled": False}).terms
    assert found.budget.session.limits == {"usd": 3, "turns": 2, "tokens": 7}
    assert found.budget.tree.limits == {"usd": 20}
    assert found.checkpoints.enabled is False


def test_each_setting_is_told_with_its_origin(folder: Path) -> None:
    env = known(folder, GODWIT_BUDGET__TURNS="4")
    found = origins(folder, environment=env, options={"budget.turns": 2}, defaults=True)
    own, theirs = folder.parent / "own.toml", folder / ".godwit" / "config.toml"
    assert [one for one in found if one.key.startswith("budget")] == [
        Origin("budget.usd", "5", f"{own}:3", f"{theirs} says otherwise, and counts"),
        Origin("budget.tokens", "7", f"{own}:4"),
        Origin("budget.usd", "3", f"{theirs}:2"),
        Origin("budget.turns", "9", f"{theirs}:3", "option budget.turns says otherwise, and counts"),
        Origin("budget.turns", "4", "GODWIT_BUDGET__TURNS", "option budget.turns says otherwise, and counts"),
        Origin("budget.turns", "2", "option budget.turns"),
    ]
    assert Origin("context.compact_at", "0.8", "default") in found
    assert not [one.key for one in found if one.key.startswith("server.jwt")], "without a jwt there is none of its defaults"
    held = [one.key for one in found if one.why is None]
    assert sorted(set(held)) == sorted(held), "of one setting one holds"


@pytest.mark.parametrize(
    ("name", "value", "problem"),
    [
        ("GODWIT_BUDGET__USD", "-1", "GODWIT_BUDGET__USD: "),
        ("GODWIT_CONTEXT__COMPACT_AT", "much", "GODWIT_CONTEXT__COMPACT_AT: "),
        ("GODWIT_CONTEXT__NONSENSE", "1", "GODWIT_CONTEXT__NONSENSE: there is no setting 'nonsense'"),
        ("GODWIT_PERMISSION__ALLOW", '["bash"]', "GODWIT_PERMISSION__ALLOW: there is no section 'permission'"),
    ],
)
def test_a_variable_that_is_wrong_is_named(folder: Path, name: str, value: str, problem: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        load(folder, environment=known(folder, **{name: value}))
    assert str(caught.value).startswith(problem)
