"""More files than a provider takes in one request: the oldest stay behind, in steps, and the newest are sent."""

from __future__ import annotations

import base64
import json

from hypothesis import given, strategies as st
from tests.files import pdf, png
from tests.loopback import Loopback
from tests.parts.model_checks import ask, request
from tests.parts.test_model_live_wires import WIRES, Said, model_at

from godwit.core.attachments import AttachmentLimits
from godwit.core.ids import CallId, MessageId
from godwit.core.messages import Assistant, Document, Image, Message, Text, ToolCall, ToolResult, User
from godwit.core.transcript import Entry
from godwit.models.crowding import left_behind, without_files
from godwit.models.registry import Registry

LIMITS = AttachmentLimits("it", images=8, crowd=5, crowd_side=100)


def seen(width: int = 10, count: int = 1) -> Entry:
    return Entry(ToolResult(CallId("c"), "read", (Text("a.png"), *[Image("image/png", png(width, 1))] * count)))


def test_the_oldest_stay_behind_in_steps() -> None:
    for count, behind in ((8, 0), (9, 2), (10, 2), (11, 4), (20, 12)):
        assert list(left_behind([seen()] * count, LIMITS)) == list(range(behind)), count
    assert left_behind([seen(), Entry(User((Text("Hm."),))), seen(count=9)], LIMITS) == {0: None, 2: None}


def test_large_ones_stay_behind_among_many() -> None:
    entries = [seen(101), *[seen()] * 4]
    assert left_behind(entries, LIMITS) == {}
    assert left_behind([*entries, seen()], LIMITS) == {0: 100}
    mixed = User((Image("image/png", png(101, 1), name="big"), Image("image/png", png(100, 1)), Text("See.")))
    assert without_files(mixed, 100) == User(
        (
            Text("[An image 'big' (image/png) was here. It is left out, for there are too many files to send.]"),
            *mixed.content[1:],
        )
    )


def test_bytes_and_pages_count_too_and_texts_do_not() -> None:
    document = Entry(User((Document("application/pdf", pdf(30), name="a.pdf"), Document("text/plain", b"t" * 10_000))))
    assert list(left_behind([document] * 4, AttachmentLimits("it", pages=100))) == [0]
    size = len(base64.b64encode(pdf(30)))
    assert list(left_behind([document] * 4, AttachmentLimits("it", request_bytes=size * 3))) == [0, 1]
    assert left_behind([document] * 4, AttachmentLimits("it", request_bytes=size * 4)) == {}
    kept = without_files(document.message, None).content
    assert isinstance(kept[0], Text)
    assert kept[1] == document.message.content[1]


@given(st.lists(st.integers(0, 3), max_size=40), st.integers(1, 12))
def test_what_is_sent_is_within_the_limit_and_what_stayed_behind_stays(counts: list[int], limit: int) -> None:
    limits = AttachmentLimits("it", images=limit)
    entries = [seen(count=count) for count in counts]
    before: set[int] = set()
    for length in range(len(entries) + 1):
        behind = set(left_behind(entries[:length], limits))
        assert sum(counts[place] for place in range(length) if place not in behind) <= limit
        assert before <= behind
        before = behind


async def test_a_provider_gets_no_more_than_it_takes_and_the_same_beginning_again() -> None:
    registry = Registry(environment={}, cache=False)
    wire = WIRES["anthropic"]
    history: list[Message] = [User((Text("Look."),))]
    for number in range(104):
        call = ToolCall(CallId(f"call_{number}"), "read", {"file_path": "a.png"})
        history.append(Assistant(MessageId(f"m{number}"), (call,), stop="tool_use"))
        history.append(ToolResult(call.id, "read", (Image("image/png", png(1 + number, 1)),)))
    reply = wire.say(Said(text=["ok"]))
    async with Loopback([reply, reply]) as server:
        model_at(registry, server, wire)
        model = registry.resolve("anthropic:claude-haiku-4-5")
        for length in (1 + 2 * 102, len(history)):
            await ask(model, request(history[:length]))
        first, second = (seen.body["messages"] for seen in server.requests)
    await registry.close()
    assert json.dumps(second).count('"image"') == 104 - 25
    assert json.dumps(second).count("It is left out") == 25
    assert second[: len(first)] == first
