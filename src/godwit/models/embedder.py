"""LiveEmbedder: vectors of texts from a provider, over pydantic-ai's embedding models. Implements `contracts.Embedder`.

Leaves out what vectors are for (`engine.memory`). Rules: the key is asked for before each request, as for answers; no key
stands in an error; nothing of a provider is loaded before the first request.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING

from ..core.errors import AuthenticationFailed, InvalidArgument
from .failures import model_error
from .registry import Registry

if TYPE_CHECKING:
    from pydantic_ai.embeddings import EmbeddingModel


class LiveEmbedder:
    """`name`: the `provider:model`. ModelNotFound for an unknown provider, when it is asked first; InvalidArgument for one
    that makes no vectors in a format which is known here: OpenAI's and Google's are."""

    def __init__(self, name: str, registry: Registry) -> None:
        self.name = name
        self._registry = registry
        self._model: EmbeddingModel | None = None

    async def embed(self, texts: Sequence[str]) -> Sequence[Sequence[float]]:
        """A vector for each text. ModelError's leaves."""
        provider, _, model = self.name.partition(":")
        connection = self._registry.connection(provider)
        await connection.authorize()
        failure = None
        try:
            if self._model is None:
                self._model = await asyncio.to_thread(connection.embedding_model, model)
            return (await self._model.embed(list(texts), input_type="document")).embeddings
        except InvalidArgument:
            raise
        except Exception as error:
            failure = model_error(error, model=self.name, secrets=connection.secrets, streaming=False)
            if isinstance(failure, AuthenticationFailed):
                connection.refuse()
        # Outside the handler: the SDK's exception, whose text may quote the key, is not chained.
        raise failure


__all__ = ["LiveEmbedder"]
