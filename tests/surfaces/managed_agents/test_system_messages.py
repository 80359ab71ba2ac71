"""System messages: what a client tells the model on its own behalf, behind a person's message or a tool's result."""

from __future__ import annotations

from typing import Any

import anthropic
import pytest

from godwit.core.messages import text_of
from godwit.models.script import call

from .conftest import Start
from .talk import Talk, custom, said


def system(*texts: str) -> Any:
    return {"type": "system.message", "content": [{"type": "text", "text": text} for text in texts]}


def last_of(request: Any) -> list[str]:
    return [text_of(entry.message.content) for entry in request.entries]


def test_it_stands_behind_a_message_and_the_model_reads_both_at_once(start: Start) -> None:
    heard_by_model: list[list[str]] = []

    def answer(request: Any) -> str:
        heard_by_model.append(last_of(request))
        return "Understood."

    server = start(answer, answer)
    with Talk(server) as talk:
        with talk.listen() as heard:
            echo = talk.send(said("Hello."), system("The person is in Oslo.", "It is night there."))
            heard.idle()
        assert [e.type for e in echo] == ["user.message", "system.message"]
        assert echo[0].id != echo[1].id
        assert [block.text for block in echo[1].content] == ["The person is in Oslo.\nIt is night there."]
        assert (echo[0].processed_at, echo[1].processed_at) == (None, None)
        shown = [e for e in heard.heard if e.type in ("user.message", "system.message")]
        assert {(e.type, e.id) for e in shown} == {(e.type, e.id) for e in echo}
        assert shown[0].content[0].text == "Hello."
        assert len(heard_by_model) == 1
        (said_to_model,) = heard_by_model[0]
        assert said_to_model.startswith("Hello.")
        assert said_to_model.endswith("The person is in Oslo.\nIt is night there.")
        listed = [e for e in talk.list() if e.type in ("user.message", "system.message")]
        assert [(e.type, e.id) for e in listed] == [(e.type, e.id) for e in echo]
        assert all(e.processed_at is not None for e in listed)


def test_it_stands_behind_a_result(start: Start) -> None:
    heard_by_model: list[list[str]] = []

    def answer(request: Any) -> str:
        heard_by_model.append(last_of(request))
        return "So be it."

    server = start(call("look"), answer)
    with Talk(server, custom("look")) as talk:
        with talk.listen() as heard:
            talk.send(said("Look."))
            asked = heard.some("agent.custom_tool_use")
            heard.idle()
            result = {
                "type": "user.custom_tool_result",
                "custom_tool_use_id": asked.id,
                "content": [{"type": "text", "text": "a bird"}],
            }
            echo = talk.send(result, system("It was seen an hour ago."))
            heard.idle(2)
        assert [e.type for e in echo] == ["user.custom_tool_result", "system.message"]
        assert heard_by_model[0][-2] == "a bird"
        assert heard_by_model[0][-1].endswith("It was seen an hour ago.")
        kinds = [e.type for e in talk.list() if e.type in ("user.message", "system.message")]
        assert kinds == ["user.message", "system.message"]


@pytest.mark.parametrize(
    "events",
    [
        [system("Alone.")],
        [system("First."), said("Then.")],
        [said("One."), system("Two."), system("Three.")],
        [{"type": "user.interrupt"}, system("Behind nothing.")],
        [said("One."), {"type": "system.message", "content": []}],
        [said("One."), {"type": "system.message", "content": [{"type": "text", "text": "  "}]}],
        [said("One."), {"type": "system.message", "content": "text"}],
        [said("One."), {**system("x"), "role": "system"}],
        [
            said("One."),
            {"type": "system.message", "content": [{"type": "image", "source": {"type": "url", "url": "https://a"}}]},
        ],
    ],
    ids=lambda events: "-".join(e["type"].partition(".")[2] for e in events),
)
def test_where_it_may_not_stand_it_is_refused_and_nothing_is_sent(start: Start, events: list[Any]) -> None:
    server = start("Never.")
    with Talk(server) as talk:
        before = talk.list()
        with pytest.raises(anthropic.BadRequestError):
            talk.send(*events)
        assert talk.list() == before
