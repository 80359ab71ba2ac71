"""Provider failures as godwit's errors: which leaf, whether asking again may help, and how long to wait.

pydantic-ai has sorted the SDKs' exceptions already; here its categories become `ModelError` leaves. The text keeps what
the provider said and loses whatever could be a key. Exceptions are not chained: the SDK's own text may quote the key.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from typing import Any

from ..core.errors import (
    AuthenticationFailed,
    ContextTooLong,
    ModelError,
    ModelRefused,
    ModelUnavailable,
    RateLimited,
    StreamBroken,
)
from .translation import without_secrets

_MESSAGE_CHARACTERS = 1000

# Servers that send no code for it: llama.cpp, vLLM, Ollama, LM Studio, TGI and gateways in front of others.
_TOO_LONG = re.compile(
    r"context[ _](?:length|window|size)|exceed_context|maximum context|prompt is too long|input is too long"
    r"|too many (?:input )?tokens|input token count|reduce the length",
    re.IGNORECASE,
)


def model_error(error: BaseException, *, model: str, secrets: Iterable[str] = (), streaming: bool = False) -> ModelError:
    """What to raise for `error`. `streaming`: the answer had begun."""
    from pydantic_ai import exceptions as px

    secrets = tuple(secrets)
    if isinstance(error, ModelError):
        return error
    said = without_secrets(_said(error), secrets)
    details: dict[str, Any] = {"model": model}
    if not isinstance(error, px.ModelAPIError):
        details["error"] = type(error).__name__
        return _unsorted(error, model, said, details, streaming)
    status = error.status_code if isinstance(error, px.ModelHTTPError) else None
    for key, value in (("status", status), ("code", error.provider_error_code), ("type", error.provider_error_type)):
        if value is not None:
            details[key] = without_secrets(value, secrets) if isinstance(value, str) else value
    where = f" (HTTP {status})" if status is not None else ""
    told = error.provider_retry_hint if isinstance(error, px.ModelHTTPError) else None

    def leaf(kind: type[ModelError], what: str, *, retryable: bool | None = None) -> ModelError:
        retryable = told if told is not None else retryable
        return kind(f"{model}: {what}{where}: {said}", retryable=retryable, retry_after_s=error.retry_after, **details)

    match error:
        case px.ModelContextWindowExceededError():
            return leaf(ContextTooLong, "the request is longer than the context window", retryable=False)
        case px.ModelAuthenticationError():
            return leaf(AuthenticationFailed, "the provider does not accept the key", retryable=False)
        case px.ModelQuotaExceededError() if status == 429:
            return leaf(RateLimited, "the account's quota is used up", retryable=False)
        case px.ModelQuotaExceededError():
            return leaf(ModelRefused, "the account's quota or credit is used up", retryable=False)
        case px.ModelRateLimitError():
            return leaf(RateLimited, "the provider limits the rate")
        case px.ModelTimeoutError() | px.ModelRequestTimeout():
            return leaf(ModelUnavailable, "the provider did not answer in time")
        case px.ModelConnectionError() if streaming or _cut(error):
            return leaf(StreamBroken, "the connection broke before the answer's end")
        case px.ModelConnectionError():
            return leaf(ModelUnavailable, "the provider cannot be reached")
        case px.ModelUnavailableError() | px.ModelServerError():
            return leaf(ModelUnavailable, "the provider is failing")
    if status in (400, 413, 422) and (status == 413 or _TOO_LONG.search(said)):
        return leaf(ContextTooLong, "the request is longer than the context window", retryable=False)
    if status in (408, 409) or (status is not None and status >= 500):
        return leaf(ModelUnavailable, "the provider is failing")
    if status is not None or isinstance(error, px.ModelRequestRejectedError):
        return leaf(ModelRefused, "the provider rejected the request", retryable=False)
    if _TOO_LONG.search(said):
        return leaf(ContextTooLong, "the request is longer than the context window", retryable=False)
    if error.provider_error_type == "invalid_request_error":
        # The model's own call did not fit the tool: another try may. Anything else stays as it is.
        again = error.provider_error_code == "tool_use_failed"
        return leaf(ModelRefused, "the provider rejected the request", retryable=again)
    if error.in_stream:
        return leaf(ModelUnavailable, "the provider failed in the middle of the answer")
    # What is left says that the answer could not be read to its end.
    return leaf(StreamBroken, "the answer cannot be read")


def _unsorted(error: BaseException, model: str, said: str, details: dict[str, Any], streaming: bool) -> ModelError:
    from pydantic_ai import exceptions as px

    match error:
        case px.UserError():
            return ModelRefused(f"{model}: the request cannot be made: {said}", **details)
        case px.UnexpectedModelBehavior() | json.JSONDecodeError() | UnicodeDecodeError():
            return StreamBroken(f"{model}: the answer ended without its end: {said}", **details)
        case OSError() | TimeoutError():
            kind: type[ModelError] = StreamBroken if streaming else ModelUnavailable
            return kind(f"{model}: the connection failed: {said}", **details)
    if type(error).__module__.partition(".")[0] in ("httpx2", "httpx", "httpcore2", "httpcore", "anyio", "ssl"):
        kind = StreamBroken if streaming else ModelUnavailable
        return kind(f"{model}: the connection failed: {said}", **details)
    return ModelError(f"{model}: the answer cannot be understood ({type(error).__name__}): {said}", **details)


def _cut(error: BaseException) -> bool:
    """Whether the body had begun: an adapter reads the first event before it hands the stream over."""
    seen: set[int] = set()
    current: BaseException | None = error
    while current is not None and id(current) not in seen:
        seen.add(id(current))
        if "incomplete chunked read" in str(current) or "complete message body" in str(current):
            return True
        current = current.__cause__
    return False


def _said(error: BaseException) -> str:
    """The provider's own sentence, else the exception's text."""
    body = getattr(error, "body", None)
    text = _sentence(body) if body is not None else None
    if not text:
        text = getattr(error, "message", None) or str(error) or type(error).__name__
    text = " ".join(str(text).split())
    return text if len(text) <= _MESSAGE_CHARACTERS else text[:_MESSAGE_CHARACTERS] + "..."


def _sentence(body: Any) -> str | None:
    match body:
        case {"error": dict(inner)}:
            return _sentence(inner)
        case {"message": str(message)} if message:
            return message
        case {"error": str(message)} | {"detail": str(message)} if message:
            return message
        case [dict(first), *_]:
            return _sentence(first)
        case str(text):
            return text
        case dict() | list():
            return json.dumps(body, default=str)
        case _:
            return None
