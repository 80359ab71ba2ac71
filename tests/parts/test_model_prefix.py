"""What a session sends begins with the very bytes it sent before, turn by turn, across runs and a restart.

Providers keep what they have read for a request that begins the same; one byte that differs costs all behind it.
"""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.loopback import Loopback
from tests.parts.test_model_live_wires import Said, Wire, model_at, registry, wire  # noqa: F401 - fixtures

import godwit
from godwit.host.runtime import Runtime
from godwit.models.registry import Registry

_MARK = re.compile(r'(?:,\s*)?"cache_control":\s*\{[^{}]*\}')


@godwit.tool
def weather(city: str) -> str:
    """The weather of a city."""
    return f"rain in {city}, días 1.50"


def parts(raw: bytes) -> tuple[str, list[str]]:
    """A request's body: all but its messages, and each message, as it was written. Marks for a cache move with the end, and
    are left out."""
    text = raw.decode()
    key = next(k for k in ('"messages"', '"input"', '"contents"') if re.search(k + r"\s*:\s*\[", text))
    found = re.search(key + r"\s*:\s*\[", text)
    assert found is not None
    messages, end = list(_elements(text, found.end())), _end(text, found.end())
    return _MARK.sub("", text[: found.end()] + text[end:]), [_MARK.sub("", one) for one in messages]


def _elements(text: str, at: int) -> Iterator[str]:
    decoder = json.JSONDecoder()
    while True:
        at = _skip(text, at)
        if text[at] == "]":
            return
        _, after = decoder.raw_decode(text, at)
        yield text[at:after]
        at = _skip(text, after)
        at += text[at] == ","


def _end(text: str, at: int) -> int:
    decoder = json.JSONDecoder()
    while True:
        at = _skip(text, at)
        if text[at] == "]":
            return at
        _, at = decoder.raw_decode(text, at)
        at = _skip(text, at)
        at += text[at] == ","


def _skip(text: str, at: int) -> int:
    while text[at].isspace():
        at += 1
    return at


@pytest.mark.parametrize("memory", [False, True])
async def test_each_request_begins_as_the_one_before(
    registry: Registry,  # noqa: F811
    wire: Wire,  # noqa: F811
    tmp_path: Path,
    memory: bool,
) -> None:
    def calls(name: str) -> Said:
        return Said(["hm"], ["I look."], [(f"call_{name}", "weather", [json.dumps({"city": name})])], "tools")

    script = [calls("oslo"), Said(["so"], ["It rains."]), calls("bern"), Said(text=["There too."]), Said(text=["Bye."])]
    async with Loopback([wire.say(said) for said in script]) as server:
        agent = godwit.Agent("a", model=wire.model, tools=[weather, "files"], instructions="Be kind, días.", memory=memory)
        for prompts in (("Oslo?", "And Bern?"), ("Thanks.",)):
            # The second time another process stands for this one: nothing of what was encoded is left.
            model = model_at(registry, server, wire)
            async with await Runtime.open(tmp_path / "g.db", models={wire.model: model}) as runtime:
                known = await runtime.sessions()
                session = (
                    await runtime.open_session(known[0].id, agent=agent)
                    if known
                    else await runtime.start_session(agent, workspace=tmp_path)
                )
                await session.memory.remember(
                    "Oslo is rainy, Bern is not; thanks are in order.", importance=len(known) / 2, id="m"
                )
                for prompt in prompts:
                    assert (await session.send(prompt)).outcome == "done"
        sent = [parts(one.raw) for one in server.requests]
    assert len(sent) == 5
    assert len([m for m in sent[-1][1] if "Oslo is rainy" in m]) == (2 if memory else 0)
    for (rest, before), (rest_after, after) in itertools.pairwise(sent):
        assert rest == rest_after
        assert len(after) > len(before)
        assert after[: len(before)] == before


def test_the_parts_of_a_body_are_found() -> None:
    raw = b'{"model":"m","messages":[{"a":"]"} , {"b":[1],"cache_control":{"type":"x"}}],"tools":[]}'
    assert parts(raw) == ('{"model":"m","messages":[],"tools":[]}', ['{"a":"]"}', '{"b":[1]}'])


@pytest.mark.parametrize("body", [b'{"x": 1}', b"{}"])
def test_a_body_without_messages_is_none(body: bytes) -> None:
    with pytest.raises(StopIteration):
        parts(body)
