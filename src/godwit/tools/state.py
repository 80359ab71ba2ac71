"""The tool `update_state`: a model reads and changes the state that it shares with the application of its user.

Leaves out what a patch is and where the state is kept. Rules: a change is stored before its result, and once however often
the call is run again after a crash; a result shows what the state is like then, so a model never has to work it out; what is
refused says what the state is like, so that the model can do it right.
"""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from msgspec import Meta

from ..contracts import ToolContext, ToolOutput, ToolTraits, Workspace
from ..core.errors import InvalidArgument, PatchFailed, ToolFailed
from ..core.messages import Text
from ..core.shared_state import STATE_TOOL, PatchOp, PatchOperation, at_pointer, state_text
from .typed import Arguments, TypedTool

_OPERATIONS = 200


class StateOperation(Arguments, frozen=True, rename={"from_": "from"}):
    op: PatchOp
    path: Annotated[str, Meta(description="Where, as /name or /list/0; /list/- is behind a list's last item.")]
    value: Annotated[Any, Meta(description="Of add, replace and test: any JSON value.")] = msgspec.UNSET
    from_: Annotated[str, Meta(description="Of move and copy: the path it comes from.")] | None = None


class StateArguments(Arguments, frozen=True):
    operations: (
        Annotated[
            list[StateOperation], Meta(max_length=_OPERATIONS, description="A JSON Patch: all of it is done, or none.")
        ]
        | None
    ) = None
    show: Annotated[str, Meta(description="Change nothing, and show what stands at this path.")] | None = None


class UpdateState(TypedTool[StateArguments]):
    """Changes the session's shared state."""

    name = STATE_TOOL
    description = (
        "Read or change the state that you share with the user's application: one JSON value, which the user sees and may"
        ' change as well. Give `operations`, a JSON Patch (RFC 6902): {"op": "replace", "path": "/title", "value": ...},'
        " add (also into a list), remove, move, copy, test. What holds a new value has to be there: add /a before /a/b."
        " Without arguments it shows the state."
    )
    traits = ToolTraits(repeatable=True, read_only=True, bound=True)
    arguments = StateArguments

    def locks(self, arguments: dict[str, Any], workspace: Workspace | None) -> frozenset[str]:
        return frozenset({"godwit:state"})

    async def work(self, arguments: StateArguments, context: ToolContext) -> ToolOutput:
        if arguments.operations and arguments.show is not None:
            raise ToolFailed("give `operations`, which show the whole state, or `show`: not both")
        if not arguments.operations:
            return _shown(at_pointer(context.shared_state, arguments.show or ""))
        patch = [PatchOperation(one.op, one.path, one.value, one.from_) for one in arguments.operations]
        try:
            return _shown(await context.patch_shared_state(patch, key=f"{context.key}/state"))
        except (PatchFailed, InvalidArgument) as error:
            raise ToolFailed(f"{error.message}\nThe state is: {state_text(context.shared_state)}") from error


def _shown(value: Any) -> ToolOutput:
    return ToolOutput((Text(state_text(value)),))


__all__ = ["UpdateState"]
