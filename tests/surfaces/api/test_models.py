"""Models over HTTP: which there are, what is known of them, and switching between them by hint."""

from __future__ import annotations

from pathlib import Path

import httpx2
import pytest

import godwit
from godwit.client import connect
from godwit.core.errors import AttachmentRefused, AuthenticationFailed, ModelNotFound
from godwit.host.runtime import Runtime
from godwit.models.entry import ModelEntry
from godwit.models.hints import ALIASES
from godwit.models.registry import Registry
from godwit.models.script import ScriptedModel
from godwit.surfaces.server import ServerSettings
from tests.surfaces.api.remote import served

FIRST, SECOND = "scripted:first", "scripted:second"


def registry() -> Registry:
    made = Registry(
        environment={"OPENAI_API_KEY": "sk-not-to-be-told"},
        entries={SECOND: ModelEntry(title="The other one", aliases=("other",), images=False)},
    )
    for name in (FIRST, SECOND):
        made.register(name, ScriptedModel([f"I am {name}."] * 4, name))
    return made


async def test_models_are_listed_and_found(tmp_path: Path) -> None:
    async with await Runtime.open(tmp_path / "g.db", models=registry()) as runtime, served(runtime) as url:
        async with connect(url) as client:
            ready = await client.list_models(ready=True)
            assert [info for info in ready if info.provider == "scripted"] == await runtime.list_models(
                "scripted", ready=True
            )
            assert {info.provider for info in ready} == {"openai", "scripted"}
            assert len(await client.list_models(deprecated=True)) > len(ready)
            assert await client.find_model("other") == await runtime.find_model(SECOND)
            slashed = await client.find_model("openrouter/anthropic/claude-opus-4.6")
            assert (slashed.name, slashed.ready, slashed.missing) == ("openrouter:anthropic/claude-opus-4.6", False, ())
            for wrong in ("nonsense", "acme:large"):
                with pytest.raises(ModelNotFound):
                    await client.find_model(wrong)
            with pytest.raises(ModelNotFound):
                await client.list_models("acme")
        async with httpx2.AsyncClient(base_url=f"{url}/godwit/v1") as http:
            listed = await http.get("/models", params={"provider": "openai"})
            assert listed.status_code == 200
            assert "openai:gpt-5-mini" in [info["name"] for info in listed.json()["data"]]
            assert (await http.get("/models/sonnet")).json()["name"] == ALIASES["sonnet"]
            assert (await http.get("/models/openrouter:z-ai/glm-5")).json()["name"] == "openrouter:z-ai/glm-5"
            assert (await http.get("/models/nonsense")).status_code == 404
            assert "sk-not-to-be-told" not in (await http.get("/models")).text


async def test_a_remote_session_is_switched_by_hint_and_keeps_its_model_when_that_fails(tmp_path: Path) -> None:
    settings = ServerSettings(port=0, models={"theirs": SECOND})
    async with await Runtime.open(tmp_path / "g.db", models=registry()) as runtime, served(runtime, settings) as url:
        async with connect(url) as client:
            session = await client.start_session(godwit.Agent("coder", model=FIRST))
            assert (await session.send("Who?")).text == f"I am {FIRST}."
            for hint in ("other", "theirs"):
                await session.set_model(hint)
                assert session.model == SECOND
            assert (await session.send("And now?")).text == f"I am {SECOND}."
            head = await client.head(session.id)
            for wrong, error in (
                ("nonsense", ModelNotFound),
                ("acme:large", ModelNotFound),
                ("sonnet", AuthenticationFailed),
            ):
                with pytest.raises(error):
                    await session.set_model(wrong)
                with pytest.raises(error):
                    await session.configure(model=wrong, thinking="high")
            assert await client.head(session.id) == head
            assert (session.model, session.thinking) == (SECOND, None)
            again = await client.open_session(session.id)
            assert again.model == SECOND
            with pytest.raises(AttachmentRefused, match="takes no images"):
                await again.send([godwit.Text("See."), godwit.Image("image/png", b"...")])
