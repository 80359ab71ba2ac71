"""`godwit models`, and hints where a model is named."""

from __future__ import annotations

import io

import pytest

import godwit
from godwit.host.runtime import Runtime
from godwit.models.entry import ModelEntry
from godwit.models.hints import ALIASES
from godwit.models.registry import Registry
from godwit.models.script import ScriptedModel
from godwit.surfaces.cli_view import ScreenView
from godwit.surfaces.cli_words import event_text
from tests.surfaces.terminal import Command


async def test_models_are_listed_for_this_machine(command: Command) -> None:
    nothing = await command.run("models")
    assert nothing.code == 0, nothing.err
    assert nothing.out == ""
    assert "no listed model can be asked here: godwit models --all" in nothing.err
    key = {"ANTHROPIC_API_KEY": "sk-ant-not-to-be-told"}
    listed = await command.run("models", **key)
    (sonnet,) = [line for line in listed.out.splitlines() if line.startswith(ALIASES["sonnet"] + " ")]
    assert sonnet.split() == [ALIASES["sonnet"], "1M", "$2/$10", "images", "pdf", "thinks", "sonnet"]
    assert "openai:" not in listed.out
    everything = await command.run("models", "--all", "--json", **key)
    (mini,) = [line for line in everything.lines if line["name"] == "openai:gpt-5-mini"]
    assert (mini["ready"], mini["missing"], mini["context_window"]) == (False, ["OPENAI_API_KEY"], 400_000)
    one = await command.run("models", "--provider", "mistral", "--all", "--json")
    assert {line["provider"] for line in one.lines} == {"mistral"}
    assert "not-to-be-told" not in listed.out + everything.out + listed.err


async def test_one_model_is_shown(command: Command) -> None:
    shown = await command.run("models", "sonnet")
    assert shown.code == 0, shown.err
    said = dict(line.split("  ", 1) for line in (line.strip() for line in shown.out.splitlines()))
    assert said["name"].strip() == ALIASES["sonnet"]
    assert said["can be asked here"].strip() == "no: set ANTHROPIC_API_KEY"
    assert said["context window"].strip() == "1,000,000 tokens"
    (plain,) = (await command.run("models", "gpt-5-mini", "--json")).lines
    assert plain["thinking"] == ["minimal", "low", "medium", "high"]
    wrong = await command.run("models", "sonet")
    assert wrong.code == 2
    assert "did you mean 'sonnet'?" in wrong.err
    assert (await command.run("models", "sonnet", "--provider", "openai")).code == 2


async def test_the_configuration_names_models_and_providers(
    command: Command, tmp_path_factory: pytest.TempPathFactory
) -> None:
    own = tmp_path_factory.mktemp("home") / "config.toml"
    env = {"GODWIT_CONFIG": str(own)}
    own.write_text(
        '[models.fast]\nmodel = "ours:small"\ncontext_window = 32_000\n'
        '[providers.ours]\nbase_url = "http://127.0.0.1:9/v1"\nkey_env = "OUR_KEY"\n'
    )
    (fast,) = (await command.run("models", "fast", "--json", **env)).lines
    assert (fast["name"], fast["context_window"], fast["missing"]) == ("ours:small", 32_000, ["OUR_KEY"])
    refused = await command.run("run", "Hello.", "-m", "fast", **env)
    assert refused.code != 0
    assert "provider 'ours' has no key: set OUR_KEY" in refused.err
    doctor = await command.run("doctor", "--json", **env)
    assert any(line["name"] == "provider ours" and "OUR_KEY" in line["value"] for line in doctor.lines)
    own.write_text("[models.fast]\nwindow = 1\n")
    broken = await command.run("models", **env)
    assert broken.code == 2
    assert f"{own}:2: there is no setting 'window'" in broken.err


async def test_what_a_model_cannot_take_is_said_once_and_stands_in_the_log() -> None:
    registry = Registry(environment={}, entries={"test:m": ModelEntry(thinking=("off", "low"))})
    registry.register("test:m", ScriptedModel(["One.", "Two."], "test:m"))
    async with await Runtime.open(":memory:", models=registry) as runtime:
        session = await runtime.start_session(godwit.Agent("a", model="test:m", thinking="high"))
        for prompt in ("Go.", "Go on."):
            await session.send(prompt)
        screen = io.StringIO()
        view = ScreenView(live=False, file=screen)
        events = await session.events()
        for event in events:
            view.show(event)
        said = "test:m has no thinking level high (it has off, low): low is sent"
        assert screen.getvalue().count(f"! {said}") == 1
        assert [event_text(e) for e in events if e.type == "model.started"] == [f"test:m; {said}"] * 2
