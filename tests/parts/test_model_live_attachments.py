"""What each wire says of an image, a PDF, a text file and an address: with their names, and nothing fetched on our side."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from tests.files import pdf, png
from tests.loopback import Loopback
from tests.parts.model_checks import ask, request
from tests.parts.test_model_live_wires import WEATHER, Said, Wire, model_at, registry, wire

from godwit.core.ids import CallId, MessageId
from godwit.core.messages import Assistant, Document, Image, Message, Text, ToolCall, ToolResult, User
from godwit.models.registry import Registry

__all__ = ["registry", "wire"]

PNG, PDF = png(2, 2), pdf(1)
URL, PDF_URL = "https://example.org/a.png", "https://example.org/a.pdf"
FILES = User(
    (
        Image("image/png", PNG, "https://example.org/was/here.png", "chart.png"),
        Document("application/pdf", PDF, name="plan.pdf"),
        Document("text/plain", b"def f(): ...\n", name='a "b".py'),
        Text("What is this?"),
    )
)


async def body_of(registry: Registry, wire: Wire, *messages: Message) -> dict[str, Any]:
    async with Loopback([wire.say(Said(text=["ok"]))]) as server:
        await ask(model_at(registry, server, wire), request(messages, (WEATHER,)))
        assert len(server.requests) == 1
        body: dict[str, Any] = server.requests[0].body
        return body


def parts_of(wire: Wire, body: dict[str, Any]) -> list[dict[str, Any]]:
    """The parts of the last message."""
    match wire.provider:
        case "google":
            found = body["contents"][-1]["parts"]
        case "openai":
            found = body["input"][-1]["content"]
        case _:
            found = body["messages"][-1]["content"]
    return [{k: v for k, v in part.items() if k != "cache_control"} for part in found]


async def test_files_go_as_they_are_with_their_names_and_texts_as_text(registry: Registry, wire: Wire) -> None:
    parts = parts_of(wire, await body_of(registry, wire, FILES))
    image, document = (base64.b64encode(data).decode() for data in (PNG, PDF))
    text = '<file name="a b .py">\ndef f(): ...\n\n</file>'
    expected: dict[str, list[Any]] = {
        "anthropic": [
            {"type": "text", "text": "chart.png:"},
            {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": image}},
            {"type": "text", "text": "plan.pdf:"},
            {"type": "document", "source": {"type": "base64", "media_type": "application/pdf", "data": document}},
            {"type": "text", "text": text},
            {"type": "text", "text": "What is this?"},
        ],
        "openai-chat": [
            {"type": "text", "text": "chart.png:"},
            {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{image}"}},
            {"type": "text", "text": "plan.pdf:"},
            {"type": "file", "file": {"filename": "filename.pdf", "file_data": f"data:application/pdf;base64,{document}"}},
            {"type": "text", "text": text},
            {"type": "text", "text": "What is this?"},
        ],
        "openai": [
            {"type": "input_text", "text": "chart.png:"},
            {"type": "input_image", "image_url": f"data:image/png;base64,{image}", "detail": "auto"},
            {"type": "input_text", "text": "plan.pdf:"},
            {"type": "input_file", "filename": "filename.pdf", "file_data": f"data:application/pdf;base64,{document}"},
            {"type": "input_text", "text": text},
            {"type": "input_text", "text": "What is this?"},
        ],
        "google": [
            {"text": "chart.png:"},
            {"inlineData": {"mimeType": "image/png", "data": image}},
            {"text": "plan.pdf:"},
            {"inlineData": {"mimeType": "application/pdf", "data": document}},
            {"text": text},
            {"text": "What is this?"},
        ],
    }
    assert _plain(parts) == expected[wire.provider]


def _plain(parts: list[dict[str, Any]]) -> list[Any]:
    """In one spelling: Google takes both of base64 and of its names."""
    said = json.dumps(parts).replace("mime_type", "mimeType")
    for data in (PNG, PDF):
        said = said.replace(base64.urlsafe_b64encode(data).decode(), base64.b64encode(data).decode())
    found: list[Any] = json.loads(said)
    return found


async def test_addresses_go_to_those_who_fetch_them_and_others_are_told(registry: Registry, wire: Wire) -> None:
    message = User((Image("image/png", url=URL, name="a.png"), Document("application/pdf", url=PDF_URL), Text("See.")))
    parts = parts_of(wire, await body_of(registry, wire, message))
    said = json.dumps(parts)
    fetched = {"anthropic": (URL, PDF_URL), "openai": (URL, PDF_URL), "openai-chat": (URL,), "google": ()}[wire.provider]
    told = {
        URL: f"[An image 'a.png' is at {URL}. You cannot open it.]",
        PDF_URL: f"[A document is at {PDF_URL}. You cannot open it.]",
    }
    for url, words in told.items():
        assert (words in said) == (url not in fetched), (url, said)
        assert said.count(url) == 1


async def test_a_tool_shows_a_pdf(registry: Registry, wire: Wire) -> None:
    call = Assistant(MessageId("m"), (ToolCall(CallId("call_1"), "read", {"file_path": "a.pdf"}),), stop="tool_use")
    shown = (Text("a.pdf: application/pdf"), Document("application/pdf", PDF, name="a.pdf"))
    result = ToolResult(CallId("call_1"), "read", shown)
    said = json.dumps(await body_of(registry, wire, User((Text("Read it."),)), call, result))
    assert any(encode(PDF).decode() in said for encode in (base64.b64encode, base64.urlsafe_b64encode))
    assert "a.pdf: application/pdf" in said


@pytest.mark.parametrize(("content", "text"), [(b"\xef\xbb\xbfa", "a"), (b"\xff\xfea\0", "a"), (b"caf\xe9", "caf\ufffd")])
async def test_whatever_a_log_holds_as_text_is_said_as_text(
    registry: Registry, wire: Wire, content: bytes, text: str
) -> None:
    parts = parts_of(wire, await body_of(registry, wire, User((Document("text/markdown", content), Text("See.")))))
    assert parts[0]["text"] == f"<file>\n{text}\n</file>"
