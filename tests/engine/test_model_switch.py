"""Switching models and thinking levels in mid-session, and what a model cannot take: told, and never silently left out."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

import godwit
from godwit.contracts import ModelChunk, ModelRequest
from godwit.core.agent import AgentRef
from godwit.core.errors import AttachmentRefused, AuthenticationFailed, ModelNotFound
from godwit.core.events import ModelStarted, SessionConfigured, UserMessage
from godwit.core.ids import InputId
from godwit.core.messages import Assistant, Document, Image, Text, UserBlock
from godwit.core.model_info import Adjustment, ModelInfo
from godwit.engine.session import Session
from godwit.host.runtime import Runtime
from godwit.models.hints import ALIASES
from godwit.models.registry import Registry
from godwit.models.script import Script, ScriptedModel, call, hold, say
from tests.parts.test_model_live_wires import PIXEL, Said
from tests.strict_provider import StrictProvider

BLIND, SEEING = "test:blind", "test:seeing"


class Told(ScriptedModel):
    """A model that says what it can take, and keeps what it was asked."""

    def __init__(self, script: Script, name: str, info: ModelInfo) -> None:
        super().__init__(script, name)
        self.info = info
        self.asked: list[ModelRequest] = []

    async def stream(self, request: ModelRequest) -> AsyncIterator[ModelChunk]:
        self.asked.append(request)
        async for chunk in super().stream(request):
            yield chunk


def blind(script: Script = ("One.", "Two.", "Three.", "Four.")) -> Told:
    return Told(script, BLIND, ModelInfo(BLIND, "test", images=False, thinking=("off", "low"), origin="configured"))


def seeing(script: Script = ("One.", "Two.", "Three.", "Four.")) -> Told:
    return Told(script, SEEING, ModelInfo(SEEING, "test", images=True, documents=False, origin="configured"))


async def started(session: Session) -> list[ModelStarted]:
    return [e.data for e in await session.events() if isinstance(e.data, ModelStarted)]


# --- thinking ---------------------------------------------------------------------------------------------------------


async def test_a_level_that_the_model_lacks_is_sent_as_its_nearest_and_told() -> None:
    model, other = blind(), seeing()
    async with await Runtime.open(":memory:", models={BLIND: model, SEEING: other}) as runtime:
        session = await runtime.start_session(godwit.Agent("a", model=BLIND, thinking="xhigh"))
        await session.send("Go.")
        await session.set_thinking("low")
        await session.send("Go.")
        await session.set_model(SEEING)
        await session.set_thinking("xhigh")
        await session.send("Go.")
        assert [asked.settings.thinking for asked in model.asked] == ["low", "low"]
        assert [asked.settings.thinking for asked in other.asked] == ["xhigh"]  # nothing is known of its levels
        text = "test:blind has no thinking level xhigh (it has off, low): low is sent"
        told = [s.adjusted for s in await started(session)]
        assert told == [(Adjustment("thinking", text, "xhigh", "low"),), (), ()]


# --- attachments ------------------------------------------------------------------------------------------------------


async def test_an_image_for_a_model_without_eyes_is_refused_before_anything_is_stored() -> None:
    model = blind(["Done.", "More."])
    async with await Runtime.open(":memory:", models={BLIND: model, SEEING: seeing()}) as runtime:
        session = await runtime.start_session(godwit.Agent("a", model=BLIND))
        picture: list[UserBlock] = [Text("What is this?"), Image("image/png", PIXEL)]
        with pytest.raises(AttachmentRefused, match="test:blind takes no images") as raised:
            await session.send(picture)
        assert raised.value.details == {"model": BLIND, "attachment": "image", "count": 1}
        with pytest.raises(AttachmentRefused):
            await session.follow_up(picture)
        with pytest.raises(AttachmentRefused):
            await runtime.send_event(session.id, UserMessage(InputId("in_1"), tuple(picture), "prompt"))
        assert not [e for e in await session.events() if isinstance(e.data, UserMessage)]
        assert model.asked == []
        # What is not known is sent, and the provider decides.
        await session.set_model(SEEING)
        await session.send(picture)
        with pytest.raises(AttachmentRefused, match="takes no documents"):
            await session.send([Text("Read."), Document("application/pdf", b"%PDF")])


async def test_what_goes_to_the_open_run_is_for_its_model() -> None:
    gate = asyncio.Event()
    async with await Runtime.open(
        ":memory:", models={BLIND: blind([say("Done.") + hold(gate)]), SEEING: seeing()}
    ) as runtime:
        session = await runtime.start_session(godwit.Agent("a", model=BLIND))
        run = await session.prompt("Go.")
        await session.set_model(SEEING)
        for send in (session.steer, session.follow_up):
            with pytest.raises(AttachmentRefused):
                await send([Image("image/png", PIXEL)])
        gate.set()
        await session.wait(run)
        await session.follow_up([Text("See."), Image("image/png", PIXEL)])
        await session.wait()
        assert [s.model for s in await started(session)] == [BLIND, SEEING]


async def test_images_of_before_are_told_of_in_words() -> None:
    async with await Runtime.open(":memory:", models={BLIND: blind(), SEEING: seeing()}) as runtime:
        session = await runtime.start_session(godwit.Agent("a", model=SEEING))
        await session.send([Text("See."), Image("image/png", PIXEL), Image("image/png", PIXEL)])
        await session.set_model(BLIND)
        assert (await session.send("What was it?")).outcome == "done"
        text = "test:blind takes no images: 2 images are named in words instead"
        assert (await started(session))[-1].adjusted == (Adjustment("image", text, count=2),)


# --- switching --------------------------------------------------------------------------------------------------------


async def test_a_switch_in_a_run_holds_from_the_next_prompt_and_outlives_the_process(tmp_path: Path) -> None:
    gate = asyncio.Event()
    models = {BLIND: blind([say("First.") + hold(gate), "Then."]), SEEING: seeing(["", "", "Second."])}
    async with await Runtime.open(tmp_path / "g.db", models=models) as runtime:
        session = await runtime.start_session(godwit.Agent("a", model=BLIND))
        run = await session.prompt("Go.")
        await session.follow_up("And then?")
        await session.set_model(SEEING)
        await session.set_thinking("high")
        gate.set()
        # A run has one model: the follow-up that it takes in before it ends is answered by the same one.
        assert (await session.wait(run)).text == "Then."
        assert (await session.send("Who now?")).text == "Second."
        assert [s.model for s in await started(session)] == [BLIND, BLIND, SEEING]
        configured = [e.data for e in await session.events() if isinstance(e.data, SessionConfigured)]
        assert [(c.model, c.thinking) for c in configured] == [(SEEING, None), (None, "high")]
    later = seeing(["Again.", "", "", "Third."])
    async with await Runtime.open(tmp_path / "g.db", models={BLIND: blind(), SEEING: later}) as runtime:
        again = await runtime.open_session(session.id)
        assert (again.model, again.thinking) == (SEEING, "high")
        await again.send("Still?")
        # Going back is for what was said: which model answers is a setting, and stays.
        await again.rewind((await again.turnings())[0].seq)
        await again.send("And now?")
        assert [s.model for s in await started(again)][-2:] == [SEEING, SEEING]
        assert [asked.settings.thinking for asked in later.asked] == ["high", "high"]


async def test_what_cannot_be_asked_changes_nothing() -> None:
    registry = Registry(environment={"ANTHROPIC_API_KEY": "k"})
    registry.register(BLIND, blind())
    async with await Runtime.open(":memory:", models=registry) as runtime:
        session = await runtime.start_session(godwit.Agent("a", model=BLIND))
        head = await runtime.head(session.id)
        for wrong, error in (("nonsense", ModelNotFound), ("acme:large", ModelNotFound), ("gpt-5", AuthenticationFailed)):
            with pytest.raises(error):
                await session.set_model(wrong)
            with pytest.raises(error):
                await session.configure(model=wrong, thinking="high", name="other")
            told = await session.command(f"/model {wrong}")
            assert told is not None
            assert told.error == error.code
        state = await session.state()
        assert (session.model, state.model, state.thinking, state.name) == (BLIND, None, None, None)
        assert not [e for e in await session.events(head) if isinstance(e.data, SessionConfigured)]
        await session.set_model("sonnet")
        assert session.model == (await session.state()).model == ALIASES["sonnet"]


# --- histories --------------------------------------------------------------------------------------------------------


async def test_ids_that_a_provider_uses_again_are_told_apart() -> None:
    def same(answer: str) -> Script:
        return [call("nothing", id="call_0"), call("nothing", id="call_0"), call("nothing", id="call_0"), answer]

    def nothing() -> str:
        """Do nothing."""
        return "nothing"

    async with await Runtime.open(":memory:", models={"test:m": ScriptedModel(same("Done."), "test:m")}) as runtime:
        limits = godwit.Limits(max_repeated_calls=9)
        session = await runtime.start_session(godwit.Agent("a", model="test:m", tools=[nothing], limits=limits))
        await session.send("Go.")
        answers = [m for m in await session.history() if isinstance(m, Assistant)]
        assert [c.id for m in answers for c in m.calls] == ["call_0", "call_0-0", "call_0-1"]


@pytest.mark.filterwarnings("ignore:Anthropic rejected:Warning")
@pytest.mark.filterwarnings("ignore::pydantic_ai.models.anthropic.AnthropicStaleThinkingBlockWarning")
async def test_thinking_that_is_bound_to_what_came_before_is_given_up_when_that_changes() -> None:
    strict = StrictProvider("anthropic", "claude-opus-5-5", "anthropic", "toolu_{n}", binds=True)
    async with strict.server:
        registry = Registry(environment={})
        registry.register_provider("anthropic", base_url=strict.base, api_key="k-12345678")
        async with await Runtime.open(":memory:", models=registry) as runtime:
            agent = godwit.Agent("a", model=strict.full_name, instructions="Be kind.", thinking="high")
            session = await runtime.start_session(agent)
            strict.says(*(Said([f"I think {n}."], [f"Said {n}."]) for n in range(5)))
            await session.send("Go.")
            await session.send("Go on.")
            assert "Invalid" not in str(strict.refused)
            assert strict.refused == []
            assert "I think 0." in str(strict.bodies[-1])  # unchanged, it goes back
            other = godwit.Agent("b", model=strict.full_name, instructions="Be brief.", thinking="high")
            changed = await runtime.create(other)
            await session.configure(agent=AgentRef(changed.name, changed.version))
            assert (await session.send("Now?")).text == "Said 2."
            assert all("bound to a different conversation" in text for text in strict.refused)
            asked = len(strict.bodies)
            assert (await session.send("And again?")).text == "Said 3."
            assert len(strict.bodies) == asked + 1
