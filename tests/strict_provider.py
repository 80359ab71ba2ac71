"""Providers on 127.0.0.1 that take nothing their real ones would refuse: each format's rules, checked on every request.

A `StrictProvider` answers with what it is told to say, in its own format, signs what it thinks, and remembers what it
signed, with the conversation before it. A request against the rules is refused with 400, as the real one does, and noted
in `refused`. The rules are those that providers document, or that their error messages state; see `RULES`.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

from tests.loopback import Loopback, Reply, Seen
from tests.parts.test_model_live_wires import SIGNATURE, Said, anthropic, chat, google, responses

Body = dict[str, Any]
_ID = re.compile(r"[a-zA-Z0-9_-]+")
_IMAGES = ("image/png", "image/jpeg", "image/gif", "image/webp")
SKIP = base64.b64encode(b"skip_thought_signature_validator").decode()


@dataclass
class Signed:
    """What a provider has signed: the text, and the conversation it was thought in."""

    text: str
    before: str
    items: tuple[str, ...] = ()


@dataclass
class StrictProvider:
    """`name`: as the registry knows it. `format`: whose rules hold. `text_only`: it refuses images. `binds`: its thinking is
    good only behind what it was thought after."""

    name: str
    model: str
    format: str
    call_id: str
    text_only: bool = False
    binds: bool = False
    signed: dict[str, Signed] = field(default_factory=dict)
    refused: list[str] = field(default_factory=list)
    bodies: list[Body] = field(default_factory=list)
    said: list[Said | Reply] = field(default_factory=list)
    turns: int = 0
    foreign: Callable[[], Iterator[str]] = field(default=lambda: iter(()))
    """What other providers have signed or thought: none of it may come here."""

    def __post_init__(self) -> None:
        self.server = Loopback(otherwise=self._answer)

    @property
    def base(self) -> str:
        return self.server.url + ("" if self.format in ("anthropic", "google") else "/v1")

    @property
    def full_name(self) -> str:
        return f"{self.name}:{self.model}"

    def says(self, *said: Said | Reply) -> None:
        self.said.extend(said)

    def thoughts(self) -> Iterator[str]:
        for signature, signed in self.signed.items():
            yield signature
            yield signed.text

    def _answer(self, seen: Seen) -> Reply:
        body: Body = seen.body
        self.bodies.append(body)
        wrong = list(RULES[self.format](self, body))
        raw = seen.raw.decode()
        wrong += [f"somebody else's {word!r} is told" for word in self.foreign() if word and word in raw]
        if wrong:
            self.refused += wrong
            return Reply.json({"error": {"type": "invalid_request_error", "message": "; ".join(wrong)}}, 400)
        said = self.said.pop(0) if self.said else Said(text=["Nothing more."])
        if isinstance(said, Reply):
            return said
        return self._spoken(said, body)

    def _spoken(self, said: Said, body: Body) -> Reply:
        self.turns += 1
        turn = self.turns
        if self.format not in THINKS_IN and self.format in CHAT:
            said = replace(said, thinking=[])
        signature = base64.b64encode(f"{self.name} thought this, {turn}".encode()).decode()
        text = "".join(said.thinking)
        reply = _SAY[self.format](said)
        numbers = {"rs_1": f"rs_{turn}x", "msg_1": f"msg_{turn}x", "fc_0": f"fc_{turn}x0", "fc_1": f"fc_{turn}x1"}
        raw = reply.body.replace(SIGNATURE.encode(), signature.encode())
        raw = raw.replace(b'"reasoning_content"', f'"{THINKS_IN.get(self.format, "-")}"'.encode())
        for old, new in numbers.items():
            raw = raw.replace(f'"{old}"'.encode(), f'"{new}"'.encode())
        if self.format == "google" and said.calls:
            # Gemini 3 signs the first call of a step.
            raw = raw.replace(b'{"functionCall"', f'{{"thoughtSignature": "{signature}", "functionCall"'.encode(), 1)
            self.signed.setdefault(signature, Signed(text, _before(body, None)))
        if self.binds and "block_binding" in body.get("thinking", {}):
            dropped = [{"type": "thinking_dropped", "reason": "prefix_binding_mismatch"}]
            told = f'"input_transformations": {json.dumps(dropped)}, "stop_reason": null'
            raw = raw.replace(b'"stop_reason": null', told.encode(), 1)
        if said.thinking:
            items = tuple(n for o, n in numbers.items() if o != "rs_1" and f'"{n}"'.encode() in raw)
            self.signed[signature] = Signed(text, _before(body, None), (numbers["rs_1"], *items))
        return reply.with_(body=raw)


def _before(body: Body, message: int | None) -> str:
    """The conversation before a message, without marks for caches."""
    told = {key: body.get(key) for key in ("system", "tools")}
    told["messages"] = body.get("messages", [])[:message]
    return hashlib.sha256(json.dumps(unmarked(told), sort_keys=True).encode()).hexdigest()


def unmarked(value: Any) -> Any:
    """A body without the marks for a cache, which move as a conversation grows."""
    if isinstance(value, dict):
        return {k: unmarked(v) for k, v in value.items() if k != "cache_control"}
    return [unmarked(v) for v in value] if isinstance(value, list) else value


# --- Anthropic Messages -------------------------------------------------------------------------------------------------


def _anthropic(self: StrictProvider, body: Body) -> Iterator[str]:
    messages = body["messages"]
    if not messages or messages[0]["role"] != "user":
        yield "messages: first message must use the user role"
    if messages[-1]["role"] != "user":
        yield "this model does not support assistant message prefill"
    if body.get("thinking", {}).get("budget_tokens", 0) >= body["max_tokens"]:
        yield "max_tokens must be greater than thinking.budget_tokens"
    seen: set[str] = set()
    due: list[str] = []
    for place, message in enumerate(messages):
        blocks = message["content"]
        blocks = [{"type": "text", "text": blocks}] if isinstance(blocks, str) else blocks
        if not blocks:
            yield f"messages.{place}: all messages must have non-empty content"
        answered = [b["tool_use_id"] for b in blocks if b["type"] == "tool_result"]
        if sorted(answered) != sorted(due):
            yield f"messages.{place}: tool_use ids {due} were found without tool_result blocks, or the reverse: {answered}"
        if answered and any(b["type"] == "tool_result" for b in blocks[len(answered) :]):
            yield f"messages.{place}: tool_result blocks must come first"
        due = [b["id"] for b in blocks if b["type"] == "tool_use"]
        for call in due:
            if not _ID.fullmatch(call):
                yield f"messages.{place}: tool_use.id: {call!r} should match '^[a-zA-Z0-9_-]+$'"
            if call in seen:
                yield f"messages.{place}: tool_use ids must be unique: {call!r}"
            seen.add(call)
        yield from _anthropic_blocks(self, body, place, message["role"], blocks)
    if due:
        yield f"tool_use ids {due} were found without tool_result blocks"


def _anthropic_blocks(self: StrictProvider, body: Body, place: int, role: str, blocks: list[Body]) -> Iterator[str]:
    for at, block in enumerate(blocks):
        where = f"messages.{place}.content.{at}"
        inner = block.get("content") if block["type"] == "tool_result" else None
        for one in [block, *(inner if isinstance(inner, list) else [])]:
            if one["type"] == "text" and not one["text"].strip():
                yield f"{where}: text content blocks must contain non-whitespace text"
            if one["type"] == "image" and one["source"].get("media_type") not in _IMAGES:
                yield f"{where}: image media type {one['source']}"
        if block["type"] in ("thinking", "redacted_thinking"):
            known = self.signed.get(str(block.get("signature", block.get("data"))))
            if role != "assistant" or known is None or known.text != block.get("thinking", known.text):
                yield f"{where}: Invalid `signature` in `thinking` block"
            elif self.binds and known.before != _before(body, place) and "block_binding" not in body.get("thinking", {}):
                yield f"{where}: The block is bound to a different conversation"
            if at == len(blocks) - 1:
                yield f"{where}: the final block in an assistant message cannot be thinking"


# --- chat completions, and what its speakers want otherwise -------------------------------------------------------------

CHAT = ("openai-chat", "mistral", "groq", "deepseek", "openrouter", "ollama", "xai")
THINKS_IN = {
    "deepseek": "reasoning_content",
    "xai": "reasoning_content",
    "groq": "reasoning",
    "ollama": "reasoning",
    "openrouter": "reasoning",
}
"""The field of a message in which thinking comes and is taken back, for those that have one."""


def _chat(self: StrictProvider, body: Body) -> Iterator[str]:
    messages = [m for m in body["messages"] if m["role"] not in ("system", "developer")]
    allowed = {"role", "content", "tool_calls", "name", "refusal", "reasoning_details", THINKS_IN.get(self.format, "role")}
    allowed -= set() if self.format == "openrouter" else {"reasoning_details"}
    longest = 9 if self.format == "mistral" else 40
    due: list[str] = []
    before = ""
    if not messages or messages[0]["role"] != "user":
        yield "the first message is not the user's"
    if messages[-1]["role"] not in ("user", "tool"):
        yield "Expected last role User or Tool for serving"
    for place, message in enumerate(messages):
        role = message["role"]
        if role == "tool":
            if message["tool_call_id"] not in due:
                yield f"messages.{place}: role 'tool' must be a response to a preceding message with 'tool_calls'"
            else:
                due.remove(message["tool_call_id"])
            content = message["content"]
            if isinstance(content, list) and any(part["type"] != "text" for part in content):
                yield f"messages.{place}: a tool's content is text"
        elif due:
            yield f"messages.{place}: tool_call_ids did not have response messages: {due}"
            due = []
        if self.format == "mistral" and (before, role) == ("tool", "user"):
            yield f"messages.{place}: Unexpected role 'user' after role 'tool'"
        if role == "assistant":
            if extra := set(message) - allowed:
                yield f"messages.{place}: property {sorted(extra)} is unsupported"
            if not message.get("content") and not message.get("tool_calls"):
                yield f"messages.{place}: Assistant message must have either content or tool_calls"
            due = [call["id"] for call in message.get("tool_calls") or ()]
            for call in due:
                if not re.fullmatch(r"[a-zA-Z0-9]{9}", call) if self.format == "mistral" else not _ID.fullmatch(call):
                    yield f"messages.{place}: tool call id {call!r}"
                if len(call) > longest:
                    yield f"messages.{place}: string too long: tool call id {call!r}"
            for call in message.get("tool_calls") or ():
                if not isinstance(json.loads(call["function"]["arguments"]), dict):
                    yield f"messages.{place}: arguments"
        yield from _chat_parts(self, place, message)
        before = role
    if due:
        yield f"tool_call_ids did not have response messages: {due}"
    if self.format == "mistral" and "max_completion_tokens" in body:
        yield "max_completion_tokens: extra inputs are not permitted"
    if self.format == "deepseek":
        thinks = [("reasoning_content" in m) for m in messages if m["role"] == "assistant" and m.get("tool_calls")]
        if any(thinks) and not all(thinks[thinks.index(True) :]):
            yield "The reasoning_content in the thinking mode must be passed back to the API"


def _chat_parts(self: StrictProvider, place: int, message: Body) -> Iterator[str]:
    content = message.get("content")
    parts = content if isinstance(content, list) else [{"type": "text", "text": content}] if content is not None else []
    if message["role"] == "user" and not parts:
        yield f"messages.{place}: a user's message is empty"
    for part in parts:
        if part["type"] == "text" and not part["text"].strip():
            yield f"messages.{place}: an empty text"
        if part["type"] != "text" and self.text_only:
            yield f"messages.{place}: {part['type']}: this model takes text alone"
        if part["type"] == "file" and self.format not in ("openai-chat", "openrouter"):
            yield f"messages.{place}: there are no files"
        if part["type"] == "image_url" and not part["image_url"]["url"].startswith(("data:image/", "https://")):
            yield f"messages.{place}: image_url"


# --- OpenAI Responses ---------------------------------------------------------------------------------------------------


def _responses(self: StrictProvider, body: Body) -> Iterator[str]:
    items = body["input"]
    calls: dict[str, int] = {}
    answered: set[str] = set()
    made = {number: signed for signed in self.signed.values() for number in signed.items}
    for place, item in enumerate(items):
        where = f"input[{place}]"
        kind = item.get("type", "message")
        number = item.get("id")
        start = {"reasoning": "rs_", "function_call": "fc_", "message": "msg_"}.get(kind)
        if number is not None and start is not None and not (number.startswith(start) and len(number) <= 64):
            yield f"{where}.id: expected an ID that begins with {start!r}: {number!r}"
        if kind == "reasoning":
            signed = self.signed.get(item.get("encrypted_content") or "")
            if signed is None or (number is not None and number != signed.items[0]):
                yield f"{where}: the encrypted content could not be verified"
            follows = items[place + 1] if place + 1 < len(items) else {}
            if follows.get("type", "message") not in ("function_call", "message") or follows.get("role") == "user":
                yield f"{where}: item of type 'reasoning' was provided without its required following item"
        elif number in made and not any(i.get("id") == made[number].items[0] for i in items[:place]):
            yield f"{where}: item {number!r} was provided without its required 'reasoning' item"
        if kind == "function_call":
            if len(item["call_id"]) > 64:
                yield f"{where}.call_id: string too long"
            calls[item["call_id"]] = place
        if kind == "function_call_output":
            if item["call_id"] not in calls or item["call_id"] in answered:
                yield f"{where}: no tool call found for function call output with call_id {item['call_id']}"
            answered.add(item["call_id"])
        content = item.get("content")
        for part in content if isinstance(content, list) else [{"text": content}] if isinstance(content, str) else []:
            if "text" in part and not part["text"].strip():
                yield f"{where}: an empty text"
    if open_calls := set(calls) - answered:
        yield f"no tool output found for function call {sorted(open_calls)}"


# --- Gemini -------------------------------------------------------------------------------------------------------------


def _google(self: StrictProvider, body: Body) -> Iterator[str]:
    contents = body["contents"]
    due: list[tuple[str | None, str]] = []
    if contents[0]["role"] != "user" or contents[-1]["role"] != "user":
        yield "please ensure that the conversation begins and ends with the user"
    last_prompt = max(
        (n for n, c in enumerate(contents) if c["role"] == "user" and not _parts(c, "functionResponse")), default=0
    )
    for place, content in enumerate(contents):
        where = f"contents[{place}]"
        if not content.get("parts"):
            yield f"{where}.parts: must not be empty"
        calls, results = _parts(content, "functionCall"), _parts(content, "functionResponse")
        if [(r.get("id"), r["name"]) for r in results] != due and (results or due):
            yield f"{where}: the number of function response parts must equal that of function call parts: {due}"
        due = [(c.get("id"), c["name"]) for c in calls]
        if calls and contents[place - 1]["role"] != "user":
            yield f"{where}: a function call turn comes immediately after a user turn or a function response turn"
        for part in content["parts"]:
            signature = part.get("thoughtSignature")
            plain = None if signature is None else base64.b64encode(base64.urlsafe_b64decode(signature)).decode()
            if plain is not None and plain != SKIP and plain not in self.signed:
                yield f"{where}: thought signature is not valid"
            if "text" in part and not part["text"].strip() and plain is None:
                yield f"{where}: an empty text"
        first = next((p for p in content["parts"] if "functionCall" in p), None)
        if first is not None and place > last_prompt and "thoughtSignature" not in first:
            yield f"{where}: function call is missing a thought_signature"


def _parts(content: Body, kind: str) -> list[Body]:
    return [part[kind] for part in content.get("parts") or () if kind in part]


RULES: dict[str, Callable[[StrictProvider, Body], Iterator[str]]] = {
    "anthropic": _anthropic,
    "openai-responses": _responses,
    "google": _google,
    **dict.fromkeys(CHAT, _chat),
}
"""Where they are written down:
Anthropic: platform.claude.com/docs (tool use, extended thinking, preserved thinking) and the texts of its errors.
Chat completions, Responses: developers.openai.com/api/reference and the texts of OpenAI's errors; Mistral's error 3230
("Unexpected role 'user' after role 'tool'") and that of its ids ("must be a-z, A-Z, 0-9, with a length of 9"); DeepSeek's
thinking mode (api-docs.deepseek.com/guides/thinking_mode). Gemini: ai.google.dev/gemini-api/docs (function calling, thought
signatures)."""

_SAY: dict[str, Callable[[Said], Reply]] = {
    "anthropic": anthropic,
    "openai-responses": responses,
    "google": google,
    **dict.fromkeys(CHAT, chat),
}
