"""Recorded provider traffic as the script of a whole session: what was asked, what was heard, what the tools answered.

A recording is read here with plain JSON and nothing of ours, so that what a session made of the same bytes can be held
against it. All four wires are known: OpenAI's chat completions and responses, Anthropic's messages, Google's contents.
`Heard` is an answer, `said` the history of a request, `complaints` what a provider would refuse in a request.

Recordings come from two folders: the one outside the project (see `tests.loopback`), which may be absent, and
`recordings/` beside this file, whose files are scripted, not recorded, and small.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import cached_property
from itertools import count
from pathlib import Path
from typing import Any, Literal

import godwit
from godwit.contracts import ToolContext, ToolOutput, ToolTraits, Workspace
from godwit.core.agent import ModelSettings, ToolDefinition
from godwit.core.errors import InvalidToolArguments
from godwit.core.messages import Text
from godwit.host.runtime import Runtime
from godwit.models.providers import ProviderKind
from godwit.models.registry import Registry
from godwit.tools.schema import Schema
from tests.loopback import Exchange, Loopback, Recording, Reply, Seen, load_recording, recordings, sse_events

Wire = Literal["chat", "responses", "anthropic", "google"]
OWN_FOLDER = Path(__file__).parent / "recordings"
KEY = "test-key-123456"
NO_RESULT = "Done."
"""What a tool answers where the recording does not say."""
GO_ON = "Go on."
"""The prompt where the recording has no request to take one from."""


def all_recordings() -> list[Path]:
    """Every recording there is, the project's own first."""
    shared = recordings()
    found = sorted(OWN_FOLDER.glob("*.json")) + (sorted(shared.glob("*.json")) if shared else [])
    return [p for p in found if p.stem != "SOURCES"]


# --- an answer ------------------------------------------------------------------------------------------------------


@dataclass
class Call:
    """A tool call as the provider sent it. `id` is None where the wire has none."""

    name: str
    id: str | None = None
    arguments: str = ""

    @property
    def plain(self) -> dict[str, Any]:
        value: dict[str, Any] = json.loads(self.arguments or "{}")
        return value


@dataclass
class Heard:
    """An answer, or the beginning of one. `ended`: the provider gave its reason to stop. `error`: what it said of one."""

    text: str = ""
    thinking: str = ""
    calls: list[Call] = field(default_factory=list)
    signatures: list[str] = field(default_factory=list)
    ended: bool = False
    error: str | None = None

    @property
    def meaningful(self) -> bool:
        """Whether there is anything a person could have been shown."""
        return bool(self.text or self.thinking or self.calls)


def _payloads(body: bytes) -> Iterator[dict[str, Any]]:
    for event in sse_events(body):
        data = b"\n".join(line[5:].strip() for line in event.splitlines() if line.startswith(b"data:"))
        if data and data != b"[DONE]":
            yield json.loads(data)


def heard(wire: Wire, body: bytes) -> Heard:
    """What a stream says, read event by event."""
    found = Heard()
    calls: dict[Any, Call] = {}
    for event in _payloads(body):
        if isinstance(error := event.get("error"), dict):
            found.error = error["message"]
        match wire:
            case "chat":
                _hear_chat(event, found, calls)
            case "responses":
                _hear_responses(event, found, calls)
            case "anthropic":
                _hear_anthropic(event, found, calls)
            case "google":
                _hear_google(event, found, calls)
    found.calls = list(calls.values())
    return found


def _hear_chat(event: dict[str, Any], found: Heard, calls: dict[Any, Call]) -> None:
    for choice in event.get("choices") or ():
        delta = choice.get("delta") or {}
        found.text += delta.get("content") or ""
        found.thinking += delta.get("reasoning_content") or delta.get("reasoning") or ""
        for piece in delta.get("tool_calls") or ():
            call = calls.setdefault(piece["index"], Call(""))
            call.id = piece.get("id") or call.id
            call.name += piece["function"].get("name") or ""
            call.arguments += piece["function"].get("arguments") or ""
        found.ended = found.ended or choice.get("finish_reason") is not None


def _hear_responses(event: dict[str, Any], found: Heard, calls: dict[Any, Call]) -> None:
    match event["type"]:
        case "response.output_text.delta":
            found.text += event["delta"]
        case "response.reasoning_summary_text.delta":
            # Raw reasoning (`reasoning_text`) goes back to its provider with the item, and is not shown.
            found.thinking += event["delta"]
        case "response.output_item.added" if event["item"]["type"] == "function_call":
            calls[event["output_index"]] = Call(event["item"]["name"], event["item"]["call_id"])
        case "response.function_call_arguments.delta":
            calls[event["output_index"]].arguments += event["delta"]
        case "response.output_item.done" if event["item"].get("encrypted_content"):
            found.signatures.append(event["item"]["encrypted_content"])
        case "response.completed" | "response.incomplete":
            found.ended = True
        case _:
            pass


def _hear_anthropic(event: dict[str, Any], found: Heard, calls: dict[Any, Call]) -> None:
    match event:
        case {"type": "content_block_start", "index": place, "content_block": {"type": "tool_use"} as block}:
            calls[place] = Call(block["name"], block["id"])
        case {"type": "content_block_start", "content_block": {"type": "redacted_thinking", "data": data}}:
            found.signatures.append(data)
        case {"type": "content_block_delta", "delta": {"type": "text_delta", "text": text}}:
            found.text += text
        case {"type": "content_block_delta", "delta": {"type": "thinking_delta", "thinking": text}}:
            found.thinking += text
        case {"type": "content_block_delta", "delta": {"type": "signature_delta", "signature": signature}}:
            found.signatures.append(signature)
        case {"type": "content_block_delta", "index": place, "delta": {"type": "input_json_delta", "partial_json": text}}:
            if place in calls:
                calls[place].arguments += text
        case {"type": "message_delta", "delta": {"stop_reason": str()}}:
            found.ended = True
        case _:
            pass


def _hear_google(event: dict[str, Any], found: Heard, calls: dict[Any, Call]) -> None:
    for candidate in event.get("candidates") or ():
        for part in candidate.get("content", {}).get("parts") or ():
            if "functionCall" in part:
                call = part["functionCall"]
                calls[len(calls)] = Call(call["name"], call.get("id"), json.dumps(call.get("args") or {}))
            elif part.get("thought"):
                found.thinking += part["text"]
            else:
                found.text += part.get("text") or ""
            if "thoughtSignature" in part:
                found.signatures.append(part["thoughtSignature"])
        found.ended = found.ended or "finishReason" in candidate


# --- a request ------------------------------------------------------------------------------------------------------

Item = tuple[str, ...]
"""("user", text), ("text", text), ("thinking", text, signature), ("call", id, name, arguments), ("result", id, text), or
("provider", type) for what only the provider understands."""


def instructions_of(wire: Wire, body: dict[str, Any]) -> str:
    """The system prompt of a request."""
    match wire:
        case "chat":
            found = [m["content"] for m in body["messages"] if m["role"] in ("system", "developer")]
            return "\n\n".join(_plain(c) for c in found)
        case "responses":
            return body.get("instructions") or ""
        case "anthropic":
            return _plain(body.get("system") or "")
        case "google":
            return "".join(p["text"] for p in (body.get("systemInstruction") or {}).get("parts", ()))


def said(wire: Wire, body: dict[str, Any]) -> list[Item]:
    """The history of a request without its system prompt, item by item."""
    match wire:
        case "chat":
            return list(_said_chat(body))
        case "responses":
            return list(_said_responses(body))
        case "anthropic":
            return list(_said_anthropic(body))
        case "google":
            return list(_said_google(body))


def _plain(content: Any) -> str:
    """Text, or the text of text blocks."""
    if content is None or isinstance(content, str):
        return content or ""
    return "".join(b.get("text", "") for b in content)


def _sorted(arguments: str | dict[str, Any]) -> str:
    return json.dumps(json.loads(arguments) if isinstance(arguments, str) else arguments, sort_keys=True)


def _said_chat(body: dict[str, Any]) -> Iterator[Item]:
    for message in body["messages"]:
        match message["role"]:
            case "user":
                yield "user", _plain(message["content"])
            case "assistant":
                if text := _plain(message.get("content")):
                    yield "text", text
                for call in message.get("tool_calls") or ():
                    yield "call", call["id"], call["function"]["name"], _sorted(call["function"]["arguments"])
            case "tool":
                yield "result", message["tool_call_id"], _plain(message["content"])
            case _:
                pass


def _said_responses(body: dict[str, Any]) -> Iterator[Item]:
    for item in body["input"]:
        match item.get("type", "message"):
            case "function_call":
                yield "call", item["call_id"], item["name"], _sorted(item["arguments"])
            case "function_call_output":
                yield "result", item["call_id"], _plain(item["output"])
            case "reasoning":
                texts = [*(item.get("summary") or ()), *(item.get("content") or ())]
                yield "thinking", "".join(t["text"] for t in texts), item.get("encrypted_content") or ""
            case "message" if item["role"] == "user":
                yield "user", _plain(item["content"])
            case "message" if item["role"] == "assistant":
                yield "text", _plain(item["content"])
            case "message":
                pass
            case other:
                yield "provider", other


def _said_anthropic(body: dict[str, Any]) -> Iterator[Item]:
    for message in body["messages"]:
        content = message["content"]
        for block in [{"type": "text", "text": content}] if isinstance(content, str) else content:
            match block["type"]:
                case "text":
                    yield "user" if message["role"] == "user" else "text", block["text"]
                case "thinking":
                    yield "thinking", block["thinking"], block["signature"]
                case "redacted_thinking":
                    yield "thinking", "", block["data"]
                case "tool_use":
                    yield "call", block["id"], block["name"], _sorted(block["input"])
                case "tool_result":
                    yield "result", block["tool_use_id"], _plain(block["content"])
                case other:
                    yield "provider", other


def _said_google(body: dict[str, Any]) -> Iterator[Item]:
    # This wire may go without ids: results stand in the order of their calls then.
    calls, results = count(), count()
    for content in body["contents"]:
        for part in content["parts"]:
            if signature := part.get("thoughtSignature"):
                yield "thinking", "", base64.urlsafe_b64decode(signature.replace("+", "-").replace("/", "_")).hex()
            if "functionCall" in part:
                call = part["functionCall"]
                yield "call", call.get("id") or f"no id {next(calls)}", call["name"], _sorted(call.get("args") or {})
            elif "functionResponse" in part:
                answer = part["functionResponse"]
                value = next(iter(answer["response"].values()), "")
                text = value if isinstance(value, str) else json.dumps(value)
                yield "result", answer.get("id") or f"no id {next(results)}", text
            elif part.get("thought"):
                yield "thinking", part["text"], ""
            elif content["role"] == "user":
                yield "user", part["text"]
            else:
                yield "text", part["text"]


def without_ids(items: Iterable[Item]) -> list[Item]:
    """Call ids numbered by appearance: some are made up anew by whoever writes the request."""
    known: dict[str, str] = {}
    return [
        (item[0], known.setdefault(item[1], f"#{len(known)}"), *item[2:]) if item[0] in ("call", "result") else item
        for item in items
    ]


def tools_of(wire: Wire, body: dict[str, Any]) -> tuple[ToolDefinition, ...]:
    """The tools a request declares for us to run; the provider's own are left out."""
    found = []
    for group in body.get("tools") or ():
        for tool in group.get("functionDeclarations", ()) if wire == "google" else (group.get("function", group),):
            names = ("parameters", "input_schema", "parametersJsonSchema", "parameters_json_schema")
            schema = next((tool[n] for n in names if n in tool), None)
            if schema is not None:
                found.append(ToolDefinition(tool["name"], tool.get("description") or "", schema))
    return tuple(found)


# --- what a provider would refuse -----------------------------------------------------------------------------------

_ANTHROPIC_ID = re.compile(r"[a-zA-Z0-9_-]+\Z")
_MESSAGE_KEYS = {
    "system": {"role", "content", "name"},
    "developer": {"role", "content", "name"},
    "user": {"role", "content", "name"},
    "assistant": {"role", "content", "name", "refusal", "tool_calls", "reasoning_content", "reasoning", "reasoning_details"},
    "tool": {"role", "content", "tool_call_id"},
}


def complaints(wire: Wire, body: dict[str, Any]) -> list[str]:
    """Why the provider would refuse this history; nothing when it is valid."""
    match wire:
        case "chat":
            return list(_chat_complaints(body["messages"]))
        case "responses":
            return list(_responses_complaints(body["input"]))
        case "anthropic":
            return list(_anthropic_complaints(body["messages"]))
        case "google":
            return list(_google_complaints(body["contents"]))


def _chat_complaints(messages: list[dict[str, Any]]) -> Iterator[str]:
    due: list[str] = []
    for place, message in enumerate(messages):
        role = message.get("role")
        if role not in _MESSAGE_KEYS:
            yield f"message {place}: role {role!r}"
            continue
        if unknown := message.keys() - _MESSAGE_KEYS[role]:
            yield f"message {place}: unknown fields {sorted(unknown)}"
        if role == "tool":
            if message["tool_call_id"] in due:
                due.remove(message["tool_call_id"])
            else:
                yield f"message {place}: result for {message['tool_call_id']!r}, expected one of {due}"
            continue
        if due:
            yield f"message {place}: no results for {due}"
        calls = message.get("tool_calls") or []
        due = [c["id"] for c in calls]
        if len(set(due)) != len(due):
            yield f"message {place}: call ids repeat: {due}"
        for call in calls:
            if call.get("type") != "function" or not isinstance(json.loads(call["function"]["arguments"]), dict):
                yield f"message {place}: call {call}"
        if not calls and not message.get("content"):
            yield f"message {place}: {role} without content"
    if due:
        yield f"end: no results for {due}"
    if messages[-1]["role"] not in ("user", "tool"):
        yield f"end: the last message is of {messages[-1]['role']}"


def _responses_complaints(items: list[dict[str, Any]]) -> Iterator[str]:
    calls: dict[str, bool] = {}
    ids = [i["id"] for i in items if i.get("id")]
    if len(set(ids)) != len(ids):
        yield f"item ids repeat: {ids}"
    for place, item in enumerate(items):
        match item.get("type", "message"):
            case "message":
                if item.get("role") not in ("user", "assistant", "system", "developer") or not item.get("content"):
                    yield f"item {place}: {item}"
            case "function_call":
                if item["call_id"] in calls:
                    yield f"item {place}: call id {item['call_id']!r} repeats"
                calls[item["call_id"]] = False
                if not isinstance(json.loads(item["arguments"]), dict):
                    yield f"item {place}: arguments {item['arguments']!r}"
            case "function_call_output":
                if calls.get(item["call_id"]) is not False:
                    yield f"item {place}: output for {item['call_id']!r}, which is no open call"
                calls[item["call_id"]] = True
            case "reasoning":
                if not item.get("id") or "summary" not in item:
                    yield f"item {place}: reasoning without id or summary"
                after = items[place + 1] if place + 1 < len(items) else {}
                if after.get("role") == "user" or after.get("type") == "function_call_output" or not after:
                    yield f"item {place}: reasoning without the item that follows from it"
            case other:
                yield f"item {place}: type {other!r}"
    if open_calls := [c for c, done in calls.items() if not done]:
        yield f"end: no outputs for {open_calls}"
    if items[-1].get("type") != "function_call_output" and items[-1].get("role") != "user":
        yield f"end: the last item is {items[-1]}"


def _anthropic_complaints(messages: list[dict[str, Any]]) -> Iterator[str]:
    turns: list[tuple[str, list[dict[str, Any]]]] = []
    for place, message in enumerate(messages):
        content = message["content"]
        if not content:
            yield f"message {place}: no content"
        blocks = [{"type": "text", "text": content}] if isinstance(content, str) else content
        # Neighbours of one role are one turn to this provider.
        if turns and turns[-1][0] == message["role"]:
            turns[-1][1].extend(blocks)
        else:
            turns.append((message["role"], [*blocks]))
    due: list[str] = []
    seen: set[str] = set()
    for place, (role, blocks) in enumerate(turns):
        if role != ("user", "assistant")[place % 2]:
            yield f"turn {place}: role {role!r}"
        results = [b["tool_use_id"] for b in blocks if b["type"] == "tool_result"]
        if sorted(results) != sorted(due):
            yield f"turn {place}: results {results} for calls {due}"
        kinds = [b["type"] for b in blocks]
        if kinds != sorted(kinds, key=lambda k: k != "tool_result"):
            yield f"turn {place}: results behind other blocks: {kinds}"
        if kinds[-1:] in (["thinking"], ["redacted_thinking"]):
            yield f"turn {place}: ends in thinking"
        due = [b["id"] for b in blocks if b["type"] == "tool_use"]
        for call in due:
            if not _ANTHROPIC_ID.match(call) or call in seen:
                yield f"turn {place}: call id {call!r}"
        seen.update(due)
        for block in blocks:
            match block["type"]:
                case "text" if not block["text"].strip():
                    yield f"turn {place}: blank text"
                case "thinking" if not block.get("signature"):
                    yield f"turn {place}: thinking without a signature"
                case "tool_use" if not isinstance(block["input"], dict):
                    yield f"turn {place}: input {block['input']!r}"
                case _:
                    pass
        allowed = {"user": {"text", "image", "document", "tool_result"}}.get(role)
        if allowed is not None and not set(kinds) <= allowed:
            yield f"turn {place}: a user's {kinds}"
    if turns[-1][0] != "user":
        yield "end: the last turn is not the user's"


def _google_complaints(contents: list[dict[str, Any]]) -> Iterator[str]:
    due: list[str] = []
    for place, content in enumerate(contents):
        if content["role"] != ("user", "model")[place % 2]:
            yield f"content {place}: role {content['role']!r}"
        if not content["parts"]:
            yield f"content {place}: no parts"
        results = [p["functionResponse"]["name"] for p in content["parts"] if "functionResponse" in p]
        if results != due:
            yield f"content {place}: results {results} for calls {due}"
        due = [p["functionCall"]["name"] for p in content["parts"] if "functionCall" in p]
        for part in content["parts"]:
            if not part.keys() & {"text", "functionCall", "functionResponse", "inlineData", "fileData"}:
                yield f"content {place}: a part of {sorted(part)}"
            if part.get("text") == "":
                yield f"content {place}: empty text"
            if "functionResponse" in part and not isinstance(part["functionResponse"]["response"], dict):
                yield f"content {place}: response {part['functionResponse']}"
    if contents[-1]["role"] != "user":
        yield "end: the last content is not the user's"


# --- a recording as a script ----------------------------------------------------------------------------------------


def wire_of(exchange: Exchange) -> Wire:
    if "/messages" in exchange.path:
        return "anthropic"
    if "v1beta" in exchange.path:
        return "google"
    return "responses" if exchange.path.endswith("/responses") else "chat"


@dataclass(frozen=True)
class Run:
    """What one prompt leads to. `first`: number of its first exchange. `unanswered`: it ends in calls."""

    prompt: str
    first: int
    exchanges: Sequence[Exchange]
    heard: Sequence[Heard]

    @property
    def fails(self) -> bool:
        return self.heard[-1].error is not None

    @property
    def unanswered(self) -> bool:
        return bool(self.heard[-1].calls) and not self.fails


class Story:
    """A recording, read as the story of one session with one agent."""

    def __init__(self, path: Path) -> None:
        self.name = path.stem
        self.recording: Recording = load_recording(path)
        self.exchanges = self.recording.exchanges
        self.wire: Wire = wire_of(self.exchanges[0])
        self.heard = [heard(self.wire, e.reply.body) for e in self.exchanges]

    def __repr__(self) -> str:
        return f"Story({self.name})"

    @cached_property
    def first_body(self) -> dict[str, Any]:
        return self.exchanges[0].body or {}

    @cached_property
    def provider(self) -> tuple[str, ProviderKind]:
        """The provider's name and kind."""
        path = self.exchanges[0].path
        match self.wire:
            case "anthropic":
                return "anthropic", "anthropic"
            case "google":
                return "google", "google"
            case "responses" if path == "/responses":
                return "deepseek-responses", "openai-responses"
            case "responses":
                return "openai", "openai-responses"
        if path.startswith("/api/v1"):
            return "openrouter", "openrouter"
        return ("groq", "openai-chat") if path.startswith("/openai/") else ("openai-chat", "openai-chat")

    @cached_property
    def model(self) -> str:
        path = self.exchanges[0].path
        named = path.rpartition("/")[2].partition(":")[0] if self.wire == "google" else self.first_body.get("model")
        return f"{self.provider[0]}:{named or 'gpt-4o'}"

    def base_url(self, url: str) -> str:
        path = self.exchanges[0].path
        for end in ("/responses", "/chat/completions"):
            if path.endswith(end):
                return url + path.removesuffix(end)
        return url

    @cached_property
    def instructions(self) -> str:
        return instructions_of(self.wire, self.first_body) if self.first_body else ""

    @cached_property
    def settings(self) -> ModelSettings:
        body = self.first_body
        limit = body.get("max_tokens") or body.get("max_completion_tokens")
        native = [t for t in body.get("tools") or () if str(t.get("type")).startswith("tool_search_tool")]
        extra = {"native_tools": [{"kind": "tool_search"}]} if native else {}
        return ModelSettings(max_tokens=limit, thinking="low" if "thinking" in body else None, extra=extra)

    @cached_property
    def runs(self) -> list[Run]:
        """The exchanges by the prompts they follow from: one ends where the model calls no tool."""
        found, start = [], 0
        for place, answer in enumerate(self.heard):
            if answer.error is None and answer.calls and place + 1 < len(self.heard):
                continue
            prompt = GO_ON
            if body := self.exchanges[start].body:
                prompt = [i[1] for i in said(self.wire, body) if i[0] == "user"][-1]
            found.append(Run(prompt, start, self.exchanges[start : place + 1], self.heard[start : place + 1]))
            start = place + 1
        return found

    @cached_property
    def definitions(self) -> tuple[ToolDefinition, ...]:
        """The tools of the first request; without one, those that are called."""
        if self.first_body:
            return tools_of(self.wire, self.first_body)
        names = {c.name: None for h in self.heard for c in h.calls}
        return tuple(ToolDefinition(n, "", {"type": "object"}) for n in names)

    @cached_property
    def results(self) -> list[list[tuple[Call, str]]]:
        """For each exchange its calls, each with the result that the next request brings."""
        found = []
        for place, answer in enumerate(self.heard):
            body = self.exchanges[place + 1].body if place + 1 < len(self.exchanges) else None
            given = [i for i in said(self.wire, body) if i[0] == "result"] if body else []
            before = [i for i in said(self.wire, self.exchanges[place].body) if i[0] == "result"] if body else []
            given = given[len(before) :]
            by_id = {i[1]: i[2] for i in given}
            pairs = []
            for number, call in enumerate(answer.calls):
                by_order = given[number][2] if number < len(given) else NO_RESULT
                pairs.append((call, by_id.get(call.id or "", by_order)))
            found.append(pairs)
        return found

    def agent(self, *others: Story, **options: Any) -> godwit.Agent:
        """An agent as the recording had it. `others`: its tools know the results of these, too."""
        return godwit.Agent(
            self.name,
            nudges=False,  # a conversation has the answers that were recorded
            model=self.model,
            instructions=self.instructions,
            tools=[RecordedTool(d, self, *others) for d in self.definitions],
            settings=self.settings,
            **options,
        )

    def point(self, registry: Registry, url: str) -> str:
        """Let the story's provider answer at `url`; returns the model's name."""
        name, kind = self.provider
        registry.register_provider(name, kind=kind, base_url=self.base_url(url), api_key=KEY)
        return self.model


class RecordedTool:
    """A tool that answers each call with the result the recording has for it: by the call's id, else by its turn."""

    traits = ToolTraits(repeatable=True)

    def __init__(self, definition: ToolDefinition, *stories: Story) -> None:
        self.definition = definition
        self._schema = Schema(definition.parameters)
        pairs = [(c, r) for story in stories for turn in story.results for c, r in turn if c.name == definition.name]
        self._by_id = {c.id: r for c, r in pairs if c.id is not None}
        self._in_order = [r for c, r in pairs if c.id is None]
        self._asked: dict[str, int] = {}

    def validate(self, arguments: dict[str, Any]) -> None:
        if (problem := self._schema.problem(arguments)) is not None:
            raise InvalidToolArguments(f"{problem[0]}: {problem[1]}")

    def locks(self, arguments: dict[str, Any], workspace: Workspace | None) -> frozenset[str]:
        return frozenset()

    async def run(self, arguments: dict[str, Any], context: ToolContext) -> ToolOutput:
        if (known := self._by_id.get(context.call)) is not None:
            return ToolOutput((Text(known),))
        number = self._asked.get(context.session, 0)
        self._asked[context.session] = number + 1
        return ToolOutput((Text(self._in_order[number] if number < len(self._in_order) else NO_RESULT),))


# --- the stage ------------------------------------------------------------------------------------------------------


class Stage:
    """A provider on loopback and a runtime on a database file that talks to it. `due`: the replies that come next."""

    def __init__(self, server: Loopback, runtime: Runtime, due: list[Reply]) -> None:
        self.server = server
        self.runtime = runtime
        self.due = due

    @property
    def requests(self) -> list[Seen]:
        return self.server.requests

    def bodies(self, since: int = 0) -> list[dict[str, Any]]:
        return [r.body for r in self.server.requests[since:]]


@asynccontextmanager
async def on_stage(path: Path, *stories: Story, registry: Registry | None = None, **options: Any) -> AsyncIterator[Stage]:
    """Open a stage on the database at `path` for these stories; every provider of theirs answers at the one server."""
    due: list[Reply] = []

    def next_reply(seen: Seen) -> Reply:
        return due.pop(0) if due else Reply.json({"error": {"message": f"no reply is left for {seen.path}"}}, 400)

    registry = registry or Registry(environment={})
    options.setdefault("durability", "process")
    async with Loopback(otherwise=next_reply) as server:
        for story in stories:
            story.point(registry, server.url)
        async with await Runtime.open(path, models=registry, **options) as runtime:
            yield Stage(server, runtime, due)
