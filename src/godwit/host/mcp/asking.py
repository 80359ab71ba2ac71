"""What servers ask, as the questions that people get, and people's answers as servers take them.

Owns the three things a server may ask of people, in both generations of the protocol; roots are told without asking
anybody (`roots.py`). Leaves out when they are asked and answered (`legs.py`) and the model (`sampling.py`). Rules: who asks
stands before all that a server says; an address is shown as it is, and never looked at here.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import msgspec

from ...core.questions import Question, QuestionAnswer
from .forms import CannotAsk, form_of, plain
from .sampling import SampleAsk, arguments_of, sample_of

if TYPE_CHECKING:
    from mcp_types import CreateMessageRequestParams, ElicitRequestParams, ElicitResult

LONGEST_URL = 8 * 1024


class FormAsk(msgspec.Struct, frozen=True, tag="form"):
    message: str
    schema: dict[str, Any]


class UrlAsk(msgspec.Struct, frozen=True, tag="url"):
    message: str
    url: str


Ask = FormAsk | UrlAsk | SampleAsk


def ask_of(params: ElicitRequestParams | CreateMessageRequestParams) -> Ask:
    """What is asked. CannotAsk."""
    from mcp_types import CreateMessageRequestParams, ElicitRequestURLParams

    if isinstance(params, CreateMessageRequestParams):
        return sample_of(params)
    if isinstance(params, ElicitRequestURLParams):
        return UrlAsk(plain(params.message), _address(params.url))
    return FormAsk(plain(params.message), form_of(params.requested_schema))


def question_of(key: str, ask: Ask, server: str) -> Question:
    """As people get it. `server`: its name."""
    who = f"The MCP server {server!r}"
    match ask:
        case FormAsk(message, schema):
            return Question(key, "form", f"{who} asks: {message}", schema)
        case UrlAsk(message, url):
            return Question(key, "url", f"{who} asks you to open an address: {message}", url=url)
        case SampleAsk():
            return Question(key, "approval", f"{who} wants to ask the model something.", arguments=arguments_of(ask, server))


def elicited(ask: FormAsk | UrlAsk, answer: QuestionAnswer) -> ElicitResult:
    """The answer as the server takes it."""
    from mcp_types import ElicitResult

    if answer.action == "accept" and isinstance(ask, FormAsk):
        return ElicitResult(action="accept", content=answer.content or {})
    return ElicitResult(action=answer.action)


def digest_of(ask: Ask) -> str:
    """By which the same question is known again."""
    return hashlib.sha256(msgspec.json.encode(ask, order="sorted")).hexdigest()


def _address(url: str) -> str:
    try:
        parts = urlsplit(url)
        host = parts.hostname
    except ValueError:
        host = None
    if host is None or parts.scheme not in ("http", "https"):
        raise CannotAsk("it asks for an address to be opened that is neither http:// nor https://")
    if len(url) > LONGEST_URL or not url.isascii() or not url.isprintable() or " " in url:
        raise CannotAsk("it asks for an address to be opened that is none")
    if parts.username is not None:
        raise CannotAsk("it asks for an address to be opened with a user name in it, which hides where it leads")
    return url


__all__ = ["Ask", "FormAsk", "UrlAsk", "ask_of", "digest_of", "elicited", "question_of"]
