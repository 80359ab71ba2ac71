"""The providers godwit can speak to, and one live connection to each: key, address, HTTP client, SDK client.

A `Provider` is data. A `Connection` is made from it without importing anything; SDKs and the HTTP client come with the
first request and are shared by all models of the provider. Retries of the SDKs are off: the engine decides about those.
SDKs never get the key: it is put into each request on its way out, as it is then, and only to where the provider is.
"""

from __future__ import annotations

import base64
import threading
from collections.abc import Awaitable, Callable, Mapping
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Literal, cast, get_args

import msgspec

from ..core.errors import AuthenticationFailed, GodwitError, InvalidArgument, ModelError
from ..core.keys import OAuthSettings, ProviderKey
from .vendors import vendor_profile

if TYPE_CHECKING:
    import httpx2
    from pydantic_ai.embeddings import EmbeddingModel
    from pydantic_ai.models import Model as PydanticModel
    from pydantic_ai.profiles import ModelProfile

ProviderKind = Literal["openai-responses", "openai-chat", "anthropic", "google", "openrouter", "ollama", "deepseek"]
"""Which wire format a provider speaks. The last three are OpenAI chat with extras of their own."""

_NO_KEY = "no-key"
"""What stands in a request for the key until that is put there; who needs none gets this."""
_KEY_HEADERS = ("authorization", "x-api-key", "x-goog-api-key", "api-key")
_OWN_HEADER: dict[str, str] = {"anthropic": "x-api-key", "google": "x-goog-api-key"}

CurrentKey = Callable[[str | None], Awaitable[ProviderKey | None]]
"""Given the key that was refused last, if it was."""


class Provider(msgspec.Struct, frozen=True, omit_defaults=True):
    """How to reach a provider.

    `key_env`: environment variables that may hold the key, the first set one counts; none at all: no key is needed.
    `url_env`: the variable that replaces `base_url`. `key_optional_with_url`: no key is needed at a replaced address.
    `api_key`: a key, `!command` or `$NAME`. `oauth`: how to log in.
    """

    name: str
    kind: ProviderKind
    base_url: str | None = None
    key_env: tuple[str, ...] = ()
    url_env: str | None = None
    key_optional_with_url: bool = False
    api_key: str | None = None
    oauth: OAuthSettings | None = None

    def __repr__(self) -> str:
        return f"Provider({self.name!r}, {self.kind!r}, {self.base_url!r})"

    def __post_init__(self) -> None:
        if not self.name or ":" in self.name:
            raise InvalidArgument(f"provider name {self.name!r} must be a word without a colon")
        if self.kind not in get_args(ProviderKind):
            raise InvalidArgument(f"provider kind {self.kind!r} is none of {', '.join(get_args(ProviderKind))}")

    @property
    def system(self) -> str:
        """What pydantic-ai calls the provider, and so what stands in stored blocks."""
        if self.kind in ("openai-responses", "openai-chat"):
            return "openai" if self.name in ("openai", "openai-responses", "openai-chat") else self.name
        return self.kind


_OPENAI = {"key_env": ("OPENAI_API_KEY",), "url_env": "OPENAI_BASE_URL", "key_optional_with_url": True}

KNOWN_PROVIDERS: tuple[Provider, ...] = (
    Provider("anthropic", "anthropic", key_env=("ANTHROPIC_API_KEY",), url_env="ANTHROPIC_BASE_URL"),
    Provider("openai", "openai-responses", **_OPENAI),  # type: ignore[arg-type]
    Provider("openai-responses", "openai-responses", **_OPENAI),  # type: ignore[arg-type]
    Provider("openai-chat", "openai-chat", **_OPENAI),  # type: ignore[arg-type]
    Provider("google", "google", key_env=("GEMINI_API_KEY", "GOOGLE_API_KEY"), url_env="GOOGLE_GEMINI_BASE_URL"),
    Provider("openrouter", "openrouter", "https://openrouter.ai/api/v1", ("OPENROUTER_API_KEY",), "OPENROUTER_BASE_URL"),
    Provider("deepseek", "deepseek", "https://api.deepseek.com", ("DEEPSEEK_API_KEY",), "DEEPSEEK_BASE_URL"),
    Provider("groq", "openai-chat", "https://api.groq.com/openai/v1", ("GROQ_API_KEY",), "GROQ_BASE_URL"),
    Provider("mistral", "openai-chat", "https://api.mistral.ai/v1", ("MISTRAL_API_KEY",), "MISTRAL_BASE_URL"),
    Provider("xai", "openai-chat", "https://api.x.ai/v1", ("XAI_API_KEY",), "XAI_BASE_URL"),
    Provider("ollama", "ollama", "http://127.0.0.1:11434/v1", (), "OLLAMA_BASE_URL"),
    Provider("vllm", "openai-chat", "http://127.0.0.1:8000/v1", (), "VLLM_BASE_URL"),
    Provider("llama.cpp", "openai-chat", "http://127.0.0.1:8080/v1", (), "LLAMA_CPP_BASE_URL"),
)


RESPONSES: ContextVar[list[httpx2.Response] | None] = ContextVar("godwit_model_responses", default=None)
"""Where HTTP responses opened in this context are noted, so that whoever asked can close them; SDKs may forget to."""


async def _note_response(response: httpx2.Response) -> None:
    noted = RESPONSES.get()
    if noted is not None:
        noted.append(response)


def _load_prices() -> None:
    from genai_prices.data_snapshot import get_snapshot

    get_snapshot()


def _pass_untransformed(resource: Any, history: str) -> None:
    """Let the OpenAI SDK send the argument named `history` as it is.

    The SDK walks every old message against its type hints before each request, a second per 5,000 messages in which the
    event loop stands still. pydantic-ai hands over plain JSON data, on which the walk changes nothing (a test compares
    the bodies), and what comes as `extra_body` is not walked.
    """
    create = resource.create

    async def untransformed(**arguments: Any) -> Any:
        extra = arguments.get("extra_body")
        if isinstance(arguments.get(history), list) and (extra is None or isinstance(extra, dict)):
            arguments["extra_body"] = {history: arguments[history], **(extra or {})}
            arguments[history] = []
        return await create(**arguments)

    resource.create = untransformed


def _pass_contents_untransformed(models: Any) -> None:
    """The same for Google's SDK, which makes an object of every old part, a second per 5,000 messages.

    Its `extra_body` replaces the contents after that. The SDK does no more to the few kinds of part a history is made of
    than to rename keys and to encode bytes; a history with any other kind goes the long way.
    """
    create = models.generate_content_stream

    async def untransformed(*, model: str, contents: Any, config: Any) -> Any:
        history = _google_history(contents)
        options = config.get("http_options") if isinstance(config, dict) else None
        if history is not None and isinstance(options, dict) and not options.get("extra_body"):
            config = {**config, "http_options": {**options, "extra_body": {"contents": history}}}
            contents = contents[-1:]
        return await create(model=model, contents=contents, config=config)

    models.generate_content_stream = untransformed


def _google_history(contents: Any) -> list[dict[str, Any]] | None:
    """The contents as they go over the wire, or None when there is a part this does not know."""
    history: list[dict[str, Any]] = []
    if not isinstance(contents, list) or not contents:
        return None
    for content in contents:
        if not isinstance(content, dict) or not content.keys() <= {"role", "parts"}:
            return None
        parts = [_google_part(part) for part in content.get("parts") or ()]
        if not parts or None in parts:
            return None
        history.append({"parts": parts, "role": content.get("role")})
    return history


def _google_part(part: Any) -> dict[str, Any] | None:
    made: dict[str, Any] = {}
    for key, value in part.items():
        match key, value:
            case _, None:
                pass
            case "text", str():
                made["text"] = value
            case "thought", bool():
                made["thought"] = value
            case "thought_signature", bytes():
                made["thoughtSignature"] = base64.urlsafe_b64encode(value).decode()
            case "function_call", {"name": str(), "args": dict()} if value.keys() <= {"name", "args", "id"}:
                made["functionCall"] = {k: value[k] for k in ("id", "args", "name") if value.get(k) is not None}
            case "function_response", {"name": str(), "response": dict(response)} if value.keys() <= {
                "name",
                "response",
                "id",
            } and all(isinstance(v, str) for v in response.values()):
                made["functionResponse"] = {k: value[k] for k in ("id", "name", "response") if value.get(k) is not None}
            case "inline_data", {"data": bytes(data), "mime_type": str(kind)} if len(value) == 2:
                made["inlineData"] = {"data": base64.urlsafe_b64encode(data).decode(), "mime_type": kind}
            case _:
                return None
    return made or None


class Connection:
    """One provider, reachable. May be made and asked for models in any thread; used on one event loop.

    `connect_timeout_s`: to open a connection. `read_timeout_s`: between two pieces of an answer. `shortcut`: hand the
    history past the transformations of the OpenAI and Google SDKs, see `_pass_untransformed`. `profiles`: what a user says
    of models, by their ids, as pydantic-ai calls it. `key`: asked for the key before each request, in place of `api_key`.
    """

    def __init__(
        self,
        provider: Provider,
        *,
        api_key: str | None = None,
        key: CurrentKey | None = None,
        base_url: str | None = None,
        connect_timeout_s: float = 10.0,
        read_timeout_s: float = 600.0,
        shortcut: bool = True,
        profiles: Mapping[str, Mapping[str, Any]] | None = None,
    ) -> None:
        self.provider = provider
        self._profiles = profiles or {}
        self._shortcut = shortcut
        self._asked = key
        self._key = ProviderKey(api_key) if api_key else None
        self._used: tuple[str, ...] = (api_key,) if api_key else ()
        self._refused: str | None = None
        self.base_url = base_url
        self._connect_timeout_s = connect_timeout_s
        self._read_timeout_s = read_timeout_s
        self._lock = threading.Lock()
        self._http: httpx2.AsyncClient | None = None
        self._provider: Any = None
        self._models: dict[str, PydanticModel] = {}

    @property
    def secrets(self) -> tuple[str, ...]:
        """The keys that were sent of late: a request under way may still have the one before."""
        return self._used

    async def authorize(self) -> None:
        """Take the key as it is now for the requests to come. AuthenticationFailed, or ModelUnavailable when it may be had
        later."""
        if self._asked is None:
            return
        try:
            key = await self._asked(self._refused)
        except ModelError:
            raise
        except GodwitError as error:
            raise AuthenticationFailed(error.message, provider=self.provider.name) from None
        if key != self._key:
            self._key, self._refused = key, None
            if key is not None:
                self._used = (key.value, *self._used)[:4]

    def refuse(self) -> None:
        """The provider does not take the key: a token may have been called back, and another be had."""
        self._refused = self._key.value if self._key is not None else None

    async def ask(self, url: str, headers: Mapping[str, str], timeout_s: float) -> int:
        """The status with which `url` of the provider answers, asked with the key. The HTTP client's errors."""
        marked = {**headers, "Authorization": f"Bearer {_NO_KEY}"}
        return (await self._client().get(url, headers=marked, timeout=timeout_s, follow_redirects=False)).status_code

    async def _put_key(self, request: httpx2.Request) -> None:
        """Put the key in the place that was kept for it. A redirect to elsewhere gets none, whatever the SDK allows."""
        origin = (request.url.scheme, request.url.host, request.url.port)
        if request.extensions.setdefault("godwit.origin", origin) != origin:
            for name in _KEY_HEADERS:
                request.headers.pop(name, None)
            return
        key = self._key
        if key is None:
            return
        kept = [n for n in _KEY_HEADERS if request.headers.get(n, "").removeprefix("Bearer ") == _NO_KEY]
        for name in kept:
            del request.headers[name]
        if kept:
            own = _OWN_HEADER.get(self.provider.kind)
            if own is None or key.bearer:
                request.headers["Authorization"] = f"Bearer {key.value}"
            else:
                request.headers[own] = key.value

    def ready(self, name: str) -> PydanticModel | None:
        """What `model` made for this name, or None when it would have to make it."""
        return self._models.get(name)

    def model(self, name: str) -> PydanticModel:
        """pydantic-ai's model object. Imports the SDK the first time: about a second, so call it off the event loop."""
        with self._lock:
            if name not in self._models:
                if self._provider is None:
                    self._provider = self._make_provider()
                    # The price list takes a quarter of a second to load; it does so while the first answer is awaited,
                    # instead of on the event loop when the first usage arrives.
                    threading.Thread(target=_load_prices, name="godwit-prices").start()
                self._models[name] = self._make_model(name)
            return self._models[name]

    def embedding_model(self, name: str) -> EmbeddingModel:
        """pydantic-ai's object that makes vectors of texts. Off the event loop, as `model`. InvalidArgument for a provider
        that makes none in a format which is known here."""
        with self._lock:
            if self._provider is None:
                self._provider = self._make_provider()
            if self.provider.kind == "google":
                from pydantic_ai.embeddings.google import GoogleEmbeddingModel

                return GoogleEmbeddingModel(name, provider=self._provider)
            if self.provider.kind in ("anthropic", "deepseek"):
                raise InvalidArgument(f"provider {self.provider.name!r} makes no vectors of texts: name another as embedder")
            from pydantic_ai.embeddings.openai import OpenAIEmbeddingModel

            return OpenAIEmbeddingModel(name, provider=self._provider)

    def profile(self, name: str) -> Mapping[str, Any]:
        """What pydantic-ai knows of this model, as `model` will use it. Imports the SDK the first time, as that does."""
        with self._lock:
            known = self._models.get(name)
            if known is None:
                if self._provider is None:
                    self._provider = self._make_provider()
                known = self._make_model(name)
            return cast("Mapping[str, Any]", known.profile)

    async def close(self) -> None:
        """Close the HTTP client; the next request would make a new one."""
        with self._lock:
            http, self._http, self._provider = self._http, None, None
            self._models.clear()
        if http is not None:
            await http.aclose()

    def _client(self) -> httpx2.AsyncClient:
        import httpx2
        from pydantic_ai.models import create_async_httpx2_client

        if self._http is None:
            self._http = create_async_httpx2_client(
                timeout=httpx2.Timeout(self._read_timeout_s, connect=self._connect_timeout_s)
            )
            hooks = self._http.event_hooks
            self._http.event_hooks = {
                "request": [*hooks.get("request", ()), self._put_key],
                "response": [*hooks.get("response", ()), _note_response],
            }
        return self._http

    def _make_provider(self) -> Any:
        http = self._client()
        match self.provider.kind:
            case "anthropic":
                from anthropic import AsyncAnthropic
                from pydantic_ai.providers.anthropic import AnthropicProvider

                anthropic = AsyncAnthropic(
                    api_key=_NO_KEY, base_url=self.base_url, http_client=http, max_retries=0, timeout=http.timeout
                )
                return AnthropicProvider(anthropic_client=anthropic)
            case "google":
                from pydantic_ai.providers.google import GoogleProvider

                google = GoogleProvider(api_key=_NO_KEY, base_url=self.base_url, http_client=http)
                if self._shortcut:
                    _pass_contents_untransformed(google.client.aio.models)
                return google
        from openai import AsyncOpenAI

        openai = AsyncOpenAI(api_key=_NO_KEY, base_url=self.base_url, http_client=http, max_retries=0, timeout=http.timeout)
        if self._shortcut:
            _pass_untransformed(openai.chat.completions, "messages")
            _pass_untransformed(openai.responses, "input")
        match self.provider.kind:
            case "openrouter":
                from pydantic_ai.providers.openrouter import OpenRouterProvider

                return OpenRouterProvider(openai_client=openai)
            case "deepseek":
                from pydantic_ai.providers.deepseek import DeepSeekProvider

                return DeepSeekProvider(openai_client=openai)
            case "ollama":
                from pydantic_ai.providers.ollama import OllamaProvider

                return OllamaProvider(openai_client=openai)
        if self.provider.system == "openai":
            from pydantic_ai.providers.openai import OpenAIProvider

            return OpenAIProvider(openai_client=openai)
        from pydantic_ai.providers.openai_compatible import OpenAICompatibleProvider

        return OpenAICompatibleProvider(self.provider.name, openai_client=openai)

    def _make_model(self, name: str) -> PydanticModel:
        profile = cast("ModelProfile", dict(self._profiles.get(name) or {})) or None
        match self.provider.kind:
            case "anthropic":
                from pydantic_ai.models.anthropic import AnthropicModel

                return AnthropicModel(name, provider=self._provider, profile=profile)
            case "google":
                from pydantic_ai.models.google import GoogleModel

                return GoogleModel(name, provider=self._provider, profile=profile)
            case "openai-responses":
                from pydantic_ai.models.openai import OpenAIResponsesModel

                return OpenAIResponsesModel(name, provider=self._provider, profile=profile)
            case "openrouter":
                from pydantic_ai.models.openrouter import OpenRouterModel

                return OpenRouterModel(name, provider=self._provider, profile=profile)
            case "ollama":
                from pydantic_ai.models.ollama import OllamaModel

                return OllamaModel(name, provider=self._provider, profile=profile)
        from pydantic_ai.models.openai import OpenAIChatModel

        told = cast("ModelProfile", {**vendor_profile(self.provider.name, name), **(profile or {})}) or None
        return OpenAIChatModel(name, provider=self._provider, profile=told)
