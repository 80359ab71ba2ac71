"""The requests that a server may answer with questions, as they are sent: a call of a tool, a resource, a prompt.

Leaves out how one goes on with the answers (`legs.py`). Rule: one is sent once more only where the server says that it knows
its tool otherwise than we do, and so has done nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from ...core.errors import OutcomeUnknown

if TYPE_CHECKING:
    from mcp import Client
    from mcp_types import InputResponses

    from ...tools.mcp import Order
    from .held import HeldCall

UNKNOWN = "Its outcome is unknown: it may or may not have taken effect. Check before doing it again."


class Opened(NamedTuple):
    """What a server wants to have been opened before it does anything."""

    elicitations: list[Any]


class Given(NamedTuple):
    """What a request brings with it. `again`: it is one that a server of the newer protocol has asked for."""

    responses: InputResponses | None = None
    request_state: str | None = None
    again: bool = False

    @property
    def is_first(self) -> bool:
        return self.responses is None and self.request_state is None


async def sent(client: Client, order: Order, call: HeldCall, given: Given) -> Any:
    """What the server answers, or `Opened`. Whatever the library raises; OutcomeUnknown."""
    from mcp import MCPError
    from mcp_types import HEADER_MISMATCH, URL_ELICITATION_REQUIRED, ElicitationRequiredErrorData
    from pydantic import ValidationError

    from ...tools.guarded import SEEN
    from .client import all_tools

    call.seen = SEEN.get()
    old = client.session.initialize_result is not None
    if given.again and old:
        raise OutcomeUnknown(f"the MCP server speaks an older protocol than before, which knows no answers. {UNKNOWN}")
    for last in (False, True):
        try:
            return await _request(client, order, call, given)
        except MCPError as error:
            if error.code == URL_ELICITATION_REQUIRED and old:
                try:
                    return Opened(ElicitationRequiredErrorData.model_validate(error.data).elicitations)
                except ValidationError:
                    raise error from None
            if error.code != HEADER_MISMATCH or order.what != "tool" or old or last:
                raise
            await all_tools(client)
    raise AssertionError


async def _request(client: Client, order: Order, call: HeldCall, given: Given) -> Any:
    session, name = client.session, order.name
    match order.what:
        case "tool":
            return await session.call_tool(
                name,
                order.arguments,
                progress_callback=call.tell,
                input_responses=given.responses,
                request_state=given.request_state,
                allow_input_required=True,
            )
        case "resource":
            return await session.read_resource(
                name, input_responses=given.responses, request_state=given.request_state, allow_input_required=True
            )
        case "prompt":
            return await session.get_prompt(
                name,
                order.arguments,
                input_responses=given.responses,
                request_state=given.request_state,
                allow_input_required=True,
            )


__all__ = ["UNKNOWN", "Given", "Opened", "sent"]
