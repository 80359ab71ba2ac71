"""godwit's messages as pydantic-ai's and back: the only file that knows both shapes.

What a provider needs back unchanged (signatures, item ids, encrypted reasoning) travels in a block's `opaque`, or, for
a part that has no block of its own, whole in a `ProviderBlock`. What belongs to the answer as a whole (its endpoint,
its key system, a container) rides on the first block under the key `answer`. All of it is plain JSON, so a message read
from a log gives the same request as the one just received; a test holds that for each wire.

Nothing is imported from pydantic-ai before the first call.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from ..core.agent import ToolDefinition
from ..core.ids import CallId
from ..core.mcp import provider_name
from ..core.messages import (
    AgentBlock,
    Assistant,
    Block,
    Document,
    Image,
    Opaque,
    ProviderBlock,
    ResultBlock,
    StopReason,
    Text,
    Thinking,
    ToolCall,
    ToolResult,
    ToolStatus,
    Usage,
    User,
    UserBlock,
)
from ..core.model_info import ModelInfo
from .fitting import fitting_id, is_foreign, name_before, told_of

if TYPE_CHECKING:
    from pydantic_ai import messages as pm
    from pydantic_ai.tools import ToolDefinition as PydanticTool

    from .providers import ProviderKind

Outcome = Literal["success", "failed", "denied", "interrupted"]

_OUTCOMES: dict[ToolStatus, Outcome] = {
    "ok": "success",
    "error": "failed",
    "invalid": "failed",
    "denied": "denied",
    "skipped": "interrupted",
    "unknown": "interrupted",
}

# The answer's own fields that never go back to a provider, or only say what `Assistant` says already.
_UNSENT_DETAILS = frozenset({"timestamp", "logprobs", "refusal", "safety_ratings", "unmapped", "moderation"})

# The fields of a chat message in which reasoning arrives; pydantic-ai keeps their names as the ids of such parts.
_CHAT_THINKING = ("content", "reasoning", "reasoning_content")

_THINKING_TOKENS = ("reasoning_tokens", "thoughts_tokens", "thinking_tokens")


# --- towards the provider -------------------------------------------------------------------------------------------


def request_parts(
    message: User | ToolResult, provider: str, kind: ProviderKind, info: ModelInfo | None = None
) -> list[pm.ModelRequestPart]:
    """The parts of a pydantic-ai request that say this message. `info`: what is known of the model it goes to."""
    from pydantic_ai import messages as pm

    if isinstance(message, User):
        return [pm.UserPromptPart(_user_content(message.content, kind, info))]
    return [
        pm.ToolReturnPart(
            tool_name=provider_name(message.name),
            content=_result_content(message.content, kind, info),
            tool_call_id=fitting_id(message.call_id, provider, kind),
            outcome=_OUTCOMES[message.status],
        )
    ]


def response(
    message: Assistant, provider: str, kind: ProviderKind, info: ModelInfo | None = None
) -> pm.ModelResponse | None:
    """The answer as pydantic-ai keeps it; None when nothing of it can go to `provider`, which speaks `kind`."""
    from pydantic_ai import messages as pm

    parts = [part for block in message.content if (part := _part(block, provider, kind, info)) is not None]
    # An answer that met its limit while thinking: these two refuse a thought that nothing follows, and a whole answer
    # of thoughts says nothing to any provider.
    while parts and kind in ("anthropic", "openai-responses") and isinstance(parts[-1], pm.ThinkingPart):
        parts.pop()
    if all(isinstance(part, pm.ThinkingPart) for part in parts):
        return None
    answer: dict[str, Any] = {}
    name: str | None = None
    for block in message.content:
        details, made_by = _kept(block)
        if made_by is not None:
            name, answer = made_by, details.get("answer", {})
            break
    return pm.ModelResponse(
        parts,
        model_name=message.model.partition(":")[2] or message.model or None,
        provider_name=answer.get("provider", name),
        provider_url=answer.get("url"),
        canonical_system=answer.get("system"),
        provider_details=answer.get("details"),
        provider_response_id=message.response_id,
    )


def tools(definitions: Iterable[ToolDefinition]) -> list[PydanticTool]:
    from pydantic_ai.tools import ToolDefinition as PydanticTool

    return [
        PydanticTool(
            name=provider_name(definition.name),
            description=definition.description,
            parameters_json_schema=definition.parameters,
        )
        for definition in definitions
    ]


def changed_names(tools: Iterable[ToolDefinition]) -> dict[str, str]:
    """What the tools are called whose names no provider takes, by the names that are sent in their place."""
    return {sent: tool.name for tool in tools if (sent := provider_name(tool.name)) != tool.name}


def _user_content(content: Sequence[UserBlock], kind: ProviderKind, info: ModelInfo | None) -> str | list[pm.UserContent]:
    if len(content) == 1 and isinstance(content[0], Text):
        return content[0].text
    items: list[pm.UserContent] = []
    for block in content:
        item = _item(block, kind, info)
        if item is None:
            continue
        if not isinstance(item, str) and (name := name_before(block)) is not None:
            items.append(name)
        items.append(item)
    return items or ""


def _result_content(content: Sequence[ResultBlock], kind: ProviderKind, info: ModelInfo | None) -> Any:
    # Only text becomes one string: a list would reach most providers as JSON.
    if all(isinstance(b, Text) for b in content):
        return "".join(b.text for b in content if isinstance(b, Text))
    items = [item for block in content if (item := _item(block, kind, info)) is not None]
    return "\n".join(str(item) for item in items) if all(isinstance(item, str) for item in items) else items


def _item(block: Block, kind: ProviderKind, info: ModelInfo | None) -> str | pm.MultiModalContent | None:
    from pydantic_ai import messages as pm

    if (told := told_of(block, info, kind)) is not None:
        return told
    match block:
        case Text():
            return block.text if block.text.strip() else None
        case Image(data=bytes(data)) | Document(data=bytes(data)):
            return pm.BinaryContent.narrow_type(pm.BinaryContent(data, media_type=block.media_type))
        case Image(url=str(url)):
            return pm.ImageUrl(url, media_type=block.media_type)
        case Document(url=str(url)):
            return pm.DocumentUrl(url, media_type=block.media_type)
        case _:
            return None


def _part(block: AgentBlock, provider: str, kind: ProviderKind, info: ModelInfo | None) -> pm.ModelResponsePart | None:
    from pydantic_ai import messages as pm

    if (told := told_of(block, info, kind)) is not None:
        return pm.TextPart(told)
    match block:
        case Text() if not block.text.strip() and not (block.opaque and "part" in block.opaque.details):
            return None
        case Text():
            text = pm.TextPart(block.text, **_fields(block.opaque))
            if block.opaque and (citations := block.opaque.details.get("citations")):
                text.citations = _load_part({"part_kind": "text", "content": block.text, "citations": citations}).citations
            return text
        case Thinking() if is_foreign(block, provider):
            return None
        case Thinking():
            fields = _fields(block.opaque)
            if kind == "openai-chat" and fields.get("id") not in _CHAT_THINKING:
                # From the responses format of the same provider, which takes none back in this one.
                return None
            return pm.ThinkingPart(block.text, signature=block.signature, **fields)
        case ToolCall():
            args = block.arguments if block.malformed is None else block.malformed
            return pm.ToolCallPart(
                provider_name(block.name), args, fitting_id(block.id, provider, kind), **_fields(block.opaque)
            )
        case ProviderBlock():
            # Another provider's: it would be refused, or mean something else.
            return _load_part(block.data["part"]) if block.provider == provider and "part" in block.data else None
        case Image(data=bytes(data)) | Document(data=bytes(data)):
            return pm.FilePart(pm.BinaryContent.narrow_type(pm.BinaryContent(data, media_type=block.media_type)))
        case _:
            return None


def _fields(opaque: Opaque | None) -> dict[str, Any]:
    if opaque is None:
        return {}
    # An opaque that only carries the answer's own data says nothing of the part.
    if "part" not in opaque.details and opaque.id is None and not opaque.details.get("named"):
        return {}
    return {"id": opaque.id, "provider_name": opaque.provider, "provider_details": opaque.details.get("part")}


def _kept(block: Block) -> tuple[dict[str, Any], str | None]:
    if isinstance(block, ProviderBlock):
        return block.data, block.provider
    opaque: Opaque | None = getattr(block, "opaque", None)
    return ({}, None) if opaque is None else (opaque.details, opaque.provider)


# --- from the provider ----------------------------------------------------------------------------------------------


def blocks(answer: pm.ModelResponse, provider: str, *, always: bool, names: Mapping[str, str]) -> tuple[AgentBlock, ...]:
    """The answer's content, one block per part, ready for storage.

    `always`: keep the answer's own fields even when no part carries anything of the provider. `names`: see `changed_names`.
    """
    content = [_block(part, provider, names) for part in answer.parts]
    if content and (always or any(_kept(b)[1] is not None for b in content)):
        content[0] = _with_answer(content[0], _answer_fields(answer), provider)
    return tuple(content)


def _block(part: pm.ModelResponsePart, provider: str, names: Mapping[str, str]) -> AgentBlock:
    from pydantic_ai import messages as pm

    match part:
        case pm.TextPart():
            return Text(part.content, _opaque(part, provider))
        case pm.ThinkingPart():
            return Thinking(part.content, part.signature, part.id == "redacted_thinking", _opaque(part, provider))
        case pm.ToolCallPart(tool_kind=None):
            arguments, malformed = parse_arguments(part.args)
            name = names.get(part.tool_name, part.tool_name)
            return ToolCall(CallId(part.tool_call_id), name, arguments, malformed, _opaque(part, provider))
        case _:
            name = getattr(part, "provider_name", None) or provider
            return ProviderBlock(name, part.part_kind, {"part": _dump_part(part)})


def parse_arguments(args: str | Mapping[str, Any] | None) -> tuple[dict[str, Any], str | None]:
    """A call's arguments, and the raw text when it is no JSON object."""
    if isinstance(args, Mapping):
        return dict(args), None
    if not args or not args.strip():
        return {}, None
    try:
        value = msgspec.json.decode(args)
    except (msgspec.DecodeError, ValueError, RecursionError):
        return {}, args
    return (value, None) if isinstance(value, dict) else ({}, args)


def _opaque(part: pm.TextPart | pm.ThinkingPart | pm.ToolCallPart, provider: str) -> Opaque | None:
    details: dict[str, Any] = {}
    if part.provider_details is not None:
        details["part"] = _jsonable(part.provider_details)
    if citations := getattr(part, "citations", None):
        details["citations"] = _jsonable(citations)
    if part.provider_name is None and part.id is None and not details:
        return None
    if part.provider_name is not None and part.id is None and "part" not in details:
        # Nothing else says that the part names its provider; without it a signature is not accepted back.
        details["named"] = True
    return Opaque(part.provider_name or provider, part.id, details)


def _answer_fields(answer: pm.ModelResponse) -> dict[str, Any]:
    details = {k: v for k, v in (answer.provider_details or {}).items() if k not in _UNSENT_DETAILS}
    fields = {
        "provider": answer.provider_name,
        # Credentials in an address are a secret; without them the address would be another one, so it is left out.
        "url": None if answer.provider_url and "@" in answer.provider_url else answer.provider_url,
        "system": answer.canonical_system,
        "details": _jsonable(details) or None,
    }
    return {k: v for k, v in fields.items() if v is not None}


def _with_answer(block: AgentBlock, answer: dict[str, Any], provider: str) -> AgentBlock:
    if isinstance(block, ProviderBlock):
        return msgspec.structs.replace(block, data={**block.data, "answer": answer})
    opaque: Opaque | None = getattr(block, "opaque", None)
    if opaque is None:
        return msgspec.structs.replace(block, opaque=Opaque(provider, None, {"answer": answer}))
    return msgspec.structs.replace(
        block, opaque=msgspec.structs.replace(opaque, details={**opaque.details, "answer": answer})
    )


def stop_reason(answer: pm.ModelResponse) -> StopReason:
    raw = (answer.provider_details or {}).get("finish_reason")
    calls = any(part.part_kind == "tool-call" for part in answer.parts)
    match raw, answer.finish_reason:
        case "pause_turn", _:
            return "pause"
        case "stop_sequence", _:
            return "stop_sequence"
        case _, "length":
            return "max_tokens"
        case _, "content_filter":
            return "refusal"
        case _, "error":
            return "error"
        case _, "stop" | "tool_call":
            return "tool_use" if calls else "end_turn"
        case _:
            return "tool_use" if calls else "other"


def usage(answer: pm.ModelResponse) -> Usage:
    """Tokens and cost of one request. Prices come from the list installed with genai-prices, never from the network."""
    counted = answer.usage
    thinking = counted.output_reasoning_tokens or next(
        (counted.details[key] for key in _THINKING_TOKENS if counted.details.get(key)), 0
    )
    return Usage(
        input_tokens=counted.input_tokens,
        output_tokens=counted.output_tokens,
        cache_read_tokens=counted.cache_read_tokens,
        cache_write_tokens=counted.cache_write_tokens,
        thinking_tokens=thinking,
        requests=1,
        cost_usd=_cost(answer),
    )


def _cost(answer: pm.ModelResponse) -> float | None:
    reported = answer.usage.cost
    if reported is not None:
        return float(reported)
    if not answer.model_name or not (answer.usage.input_tokens or answer.usage.output_tokens):
        return None
    try:
        return float(answer.cost().total_price)
    except (LookupError, ValueError, AssertionError):
        return None


# --- storage of parts that have no block ----------------------------------------------------------------------------


def _dump_part(part: pm.ModelResponsePart) -> dict[str, Any]:
    # The messages' adapter is the one form pydantic-ai promises to read again in later versions.
    from pydantic_ai import messages as pm

    dumped = pm.ModelMessagesTypeAdapter.dump_python([pm.ModelResponse([part])], mode="json")
    fields: dict[str, Any] = dumped[0]["parts"][0]
    return {k: v for k, v in fields.items() if v is not None}


def _load_part(fields: dict[str, Any]) -> Any:
    from pydantic_ai import messages as pm

    return pm.ModelMessagesTypeAdapter.validate_python([{"kind": "response", "parts": [fields]}])[0].parts[0]


def _jsonable(value: Any) -> Any:
    from pydantic_core import to_jsonable_python

    return to_jsonable_python(value, bytes_mode="base64", fallback=str)


# --- secrets --------------------------------------------------------------------------------------------------------

_KEY_LIKE = re.compile(
    r"\b(?:sk|pk|rk|gsk|xai|key)-[A-Za-z0-9_\-]{8,}|\bgsk_[A-Za-z0-9]{8,}|\bAIza[\w\-]{10,}|(?i:bearer)\s+\S{8,}"
)


def without_secrets(text: str, secrets: Iterable[str]) -> str:
    """`text` with every known key, and whatever looks like one, replaced."""
    for secret in secrets:
        if secret:
            text = text.replace(secret, "[key]")
    return _KEY_LIKE.sub("[key]", text)
