"""Asides: what a model is asked beside the conversation, by a tool for instance: a summary, a title, a judgement.

One request, no tools, no deltas, nothing in the transcript. The budget is asked as before any model step, and what was used
is recorded (`usage.recorded`), so that it counts for the session and for those it works for. Rule a change must keep: what
was used is recorded although nobody waits for the answer any more, and also by a process that has lost the session.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

from ..contracts import Model, ModelAnswer, ModelRequest, SupportsModelInfo, TextDelta
from ..core.agent import ModelSettings
from ..core.errors import BudgetExhausted, Conflict, InvalidArgument, ModelError, NotFound, StreamBroken, ToolFailed
from ..core.events import EventData, UsageRecorded
from ..core.ids import MessageId, RunId, SessionId
from ..core.messages import Message, Text, Usage, User, text_of
from ..core.model_info import not_taken
from ..core.transcript import Entry
from .budget import Budgets, Means, refusal
from .cancel import Cancel
from .estimate import estimated_tokens
from .log import append_outside

RETRY_FIRST_S: Final = 1.0
RETRY_LONGEST_S: Final = 30.0
"""A provider that asks for a longer wait is given up."""
CLOSING_S: Final = 2.0
"""How long a stream that was left may take to close."""


class Asides:
    """Asks for one call of a tool. `model`: the one that is asked unless told otherwise; `retries`: after failures that may
    pass; `recorded`: called after something was appended to the log."""

    def __init__(
        self,
        parts: Means,
        session: SessionId,
        budget: Budgets,
        token: Cancel,
        *,
        run: RunId | None,
        model: str,
        retries: int,
        tenant: str | None,
        recorded: Callable[[], Awaitable[object]] | None = None,
    ) -> None:
        self._parts = parts
        self._session = session
        self._budget = budget
        self._token = token
        self._run = run
        self._model = model
        self._retries = retries
        self._tenant = tenant
        self._recorded = recorded

    async def ask(self, prompt: str, *, model: str | None = None, purpose: str = "tool") -> str:
        """The answer's text. BudgetExhausted when it cannot be paid for, ToolFailed when the call was ended meanwhile,
        ModelError's leaves, ModelNotFound, InvalidArgument (nothing is asked)."""
        if not prompt.strip():
            raise InvalidArgument("a model is asked something: the prompt is empty")
        return text_of((await self.answer([User((Text(prompt),))], model=model, purpose=purpose)).content)

    async def answer(
        self,
        messages: Sequence[Message],
        *,
        instructions: str = "",
        settings: ModelSettings | None = None,
        model: str | None = None,
        purpose: str = "tool",
    ) -> ModelAnswer:
        """The whole answer to a conversation that ends with a message of the user. What `ask` raises."""
        if not messages or not isinstance(messages[-1], User):
            raise InvalidArgument("a model is asked something: the last message has to be the user's")
        name = model or self._model
        asked = self._parts.models.resolve(name)
        models = self._parts.models
        info = models.known(name) if isinstance(models, SupportsModelInfo) else None
        if refused := not_taken(info, [block for message in messages for block in message.content]):
            raise InvalidArgument(f"{name} takes no {type(refused[0]).__name__.lower()}s", model=name)
        request = ModelRequest(
            [Entry(message) for message in messages],
            instructions,
            (),
            settings or ModelSettings(),
            self._session,
            MessageId(self._parts.ids.new("msg")),
            turn=0,
        )
        estimate = estimated_tokens(messages, (), lambda: len(instructions))
        tried = 0
        while True:
            decision = await self._budget.before_aside(estimate, name)
            if self._token.cancelled:
                raise ToolFailed("[interrupted]")
            if decision.verdict == "deny":
                raise BudgetExhausted(
                    refusal(decision), resource=decision.resource, consumed=decision.consumed, limit=decision.limit
                )
            if decision.verdict == "warn":
                await self._append(*self._budget.recorded(decision))
            try:
                return await self._answer(asked, name, purpose, request, estimate)
            except ModelError as error:
                wait_s = (
                    min(RETRY_FIRST_S * 2**tried, RETRY_LONGEST_S) if error.retry_after_s is None else error.retry_after_s
                )
                if not error.retryable or tried >= self._retries or wait_s > RETRY_LONGEST_S:
                    raise
                tried += 1
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._token.wait(), wait_s)

    async def _answer(self, model: Model, name: str, purpose: str, request: ModelRequest, estimate: int) -> ModelAnswer:
        said: list[str] = []
        lanes = self._parts.lanes
        ticket = lanes.ask("generate", session=self._session, tenant=self._tenant)
        if not await ticket.granted(self._token):
            raise ToolFailed("[interrupted]")
        streaming = asyncio.ensure_future(_streamed(model, request, said))
        ended = asyncio.ensure_future(self._token.wait())
        answer: ModelAnswer | None = None
        try:
            await asyncio.wait([streaming, ended], return_when=asyncio.FIRST_COMPLETED)
            if not streaming.done():
                raise ToolFailed("[interrupted]")
            answer = streaming.result()
        finally:
            ended.cancel()
            if not streaming.done():
                streaming.cancel()
                await asyncio.wait([streaming], timeout=CLOSING_S)
            ticket.end("completed" if answer is not None else "failed")
            content = answer.content if answer is not None else (Text("".join(said)),)
            if answer is not None or said:
                usage = answer.usage if answer is not None else Usage(requests=1)
                usage = self._budget.counted(name, usage, lambda: estimate, content)
                await asyncio.shield(self._count(purpose, name, usage, complete=answer is not None))
        return answer

    async def _count(self, purpose: str, model: str, usage: Usage, *, complete: bool) -> None:
        await self._append(UsageRecorded(purpose, model, usage))
        if complete:
            await self._append(*self._budget.recorded(await self._budget.after_model(usage)))

    async def _append(self, *data: EventData) -> None:
        if not data:
            return
        # A session that was archived or deleted meanwhile has nothing more to pay with.
        with contextlib.suppress(Conflict, NotFound):
            await append_outside(self._parts.store, self._session, data, self._parts.clock, run=self._run)
            if self._recorded is not None:
                await self._recorded()


async def _streamed(model: Model, request: ModelRequest, said: list[str]) -> ModelAnswer:
    stream = model.stream(request)
    try:
        async for chunk in stream:
            if isinstance(chunk, TextDelta):
                said.append(chunk.text)
            if isinstance(chunk, ModelAnswer):
                return chunk
    finally:
        close = getattr(stream, "aclose", None)
        if close is not None:
            await close()
    raise StreamBroken(f"the stream of {model.name} ended without an answer", model=model.name)
