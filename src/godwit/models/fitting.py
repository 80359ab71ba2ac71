"""Fitting: what of a history made elsewhere has to be said otherwise to a provider, so that it takes it.

The history itself never changes; this is what `translation.py` and `live.py` say of it. Each rule is the documented or
observed one of the provider, and holds for one message or two neighbours, never for where a message stands in the whole:
so what was sent once is sent the same again. Leaves out what pydantic-ai sees to: the order of results, signatures that
Gemini wants, the numbers of OpenAI's items, images that a tool returns where results are texts.

    ids        letters, digits, - and _ (Anthropic: ^[a-zA-Z0-9_-]+$), 40 of them in chat completions, 64 elsewhere;
               for Mistral nine letters and digits ("must be a-z, A-Z, 0-9, with a length of 9")
    thinking   goes back to its own provider alone; what another one thought is not told
    files      a model that takes no images or no documents is told that there was one, and of one at an address where its
               provider fetches none; a text file is text to every model
    texts      no empty ones: Anthropic refuses them
    roles      Mistral wants an answer between a tool's result and the user ("Unexpected role 'user' after role 'tool'")
"""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING

from ..core.attachments import ByUrl, by_url_kind, clean_name, is_text_file
from ..core.media import text_of_file
from ..core.messages import Block, Document, Image, Opaque, Thinking
from ..core.model_info import ModelInfo

if TYPE_CHECKING:
    from pydantic_ai import messages as pm

    from .providers import ProviderKind

_NINE = re.compile(r"[a-zA-Z0-9]{9}")
_NOT_IN_IDS = re.compile(r"[^a-zA-Z0-9_-]")
_LONGEST: dict[ProviderKind, int] = {"anthropic": 64, "openai-responses": 64, "google": 64}
_LONGEST_IN_CHAT = 40
# What providers fetch from an address by themselves. What is not named here would be fetched on our side, for each request.
_FETCHED: dict[ProviderKind, tuple[ByUrl, ...]] = {
    "anthropic": ("image", "pdf"),
    "openai-responses": ("image", "pdf"),
    "openai-chat": ("image",),
    "openrouter": ("image",),
    "deepseek": ("image",),
    "google": (),
    "ollama": (),
}
_DIGITS = 12

BETWEEN = "OK."
"""What the model is made to have said where its provider wants an answer and there was none."""


def fitting_id(call: str, provider: str, kind: ProviderKind) -> str:
    """The id by which a provider of this kind is told of a call: its own, or one made of it that fits."""
    if provider == "mistral":
        return call if _NINE.fullmatch(call) else _digest(call)[:9]
    longest = _LONGEST.get(kind, _LONGEST_IN_CHAT)
    clean = _NOT_IN_IDS.sub("_", call)
    if call and clean == call and len(call) <= longest:
        return call
    return f"{clean[: longest - _DIGITS - 1] or 'call'}_{_digest(call)}"


def _digest(call: str) -> str:
    return hashlib.blake2b(call.encode(), digest_size=_DIGITS // 2).hexdigest()


def is_foreign(block: Thinking, provider: str) -> bool:
    """Whether another provider thought it, or nobody knows who did."""
    opaque: Opaque | None = block.opaque
    return opaque is None or opaque.provider != provider


def told_of(block: Block, info: ModelInfo | None, kind: ProviderKind | None = None) -> str | None:
    """What stands for a file: a text file's text, and words for what the model does not take, or a provider of this kind
    would have to fetch and does not. None for all else."""
    if not isinstance(block, Image | Document):
        return None
    if is_text_file(block):
        return _as_text(block)
    name = f" {clean_name(block.name)!r}" if block.name else ""
    if isinstance(block, Image):
        if info is not None and info.images is False:
            return f"[An image{name} ({block.media_type}) was here. You cannot see images.]"
    elif info is not None and info.documents is False:
        return f"[A document{name} ({block.media_type}) was here. You cannot read documents.]"
    if block.data is None and kind is not None and by_url_kind(block) not in _FETCHED[kind]:
        what = "An image" if isinstance(block, Image) else "A document"
        return f"[{what}{name} is at {block.url}. You cannot open it.]"
    return None


def name_before(block: Block) -> str | None:
    """What is said in front of a file that goes to the model as it is: its name, by which a person may speak of it."""
    return f"{clean_name(block.name)}:" if isinstance(block, Image | Document) and block.name else None


def _as_text(block: Document | Image) -> str:
    text = text_of_file(block.data or b"")
    name = f' name="{clean_name(block.name)}"' if block.name else ""
    said = (block.data or b"").decode("utf-8", "replace") if text is None else text
    return f"<file{name}>\n{said}\n</file>"


def with_answers_between(history: list[pm.ModelMessage]) -> list[pm.ModelMessage]:
    """The history with an answer between each tool's results and what the user says right behind them."""
    from pydantic_ai import messages as pm

    made: list[pm.ModelMessage] = []
    for message in history:
        if not isinstance(message, pm.ModelRequest) or not any(isinstance(p, pm.ToolReturnPart) for p in message.parts):
            made.append(message)
            continue
        results: list[pm.ModelRequestPart] = []
        rest: list[pm.ModelRequestPart] = []
        for part in message.parts:
            if not isinstance(part, pm.ToolReturnPart):
                rest.append(part)
                continue
            text, files = _apart(part)
            results.append(text)
            rest += [pm.UserPromptPart([f"From the tool {part.tool_name}:", *files])] if files else []
        made.append(pm.ModelRequest(results))
        if rest:
            made += [pm.ModelResponse([pm.TextPart(BETWEEN)]), pm.ModelRequest(rest)]
    return made


def _apart(part: pm.ToolReturnPart) -> tuple[pm.ToolReturnPart, list[pm.UserContent]]:
    """A result as text, and the files that go to the user's side."""
    from pydantic_ai import messages as pm

    if not isinstance(part.content, list):
        return part, []
    texts = [item for item in part.content if isinstance(item, str)]
    files = [item for item in part.content if not isinstance(item, str)]
    said = "\n".join([*texts, *(["What it returned follows."] if files else [])])
    return (
        pm.ToolReturnPart(tool_name=part.tool_name, content=said, tool_call_id=part.tool_call_id, outcome=part.outcome),
        files,
    )


__all__ = ["BETWEEN", "fitting_id", "is_foreign", "name_before", "told_of", "with_answers_between"]
