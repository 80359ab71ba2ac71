"""The verify tool: the model has the session's checks run and is told what did not pass.

Which checks there are and how they run is the engine's (`ToolContext.verify`). Rule: the model cannot say which commands
run. They are the host's and are not asked about; a command of the model's own goes through `bash` and its permissions.
"""

from __future__ import annotations

import msgspec

from ..contracts import ToolContext, ToolOutput, ToolTraits
from ..core.verification import failures_text
from .typed import Arguments, TypedTool, told


class VerifyArguments(Arguments, frozen=True):
    """It takes none."""


class Verify(TypedTool[VerifyArguments]):
    """Runs alone, as bash does. A verification that was cut off by a crash may be run again."""

    name = "verify"
    description = (
        "Run the checks of this project (its tests, and what else it is verified by) and return what did not pass, with the "
        "end of the output. Use it when you believe that a change is finished, and before you say so."
    )
    traits = ToolTraits(exclusive=True, repeatable=True, bound=True)
    arguments = VerifyArguments

    async def work(self, arguments: VerifyArguments, context: ToolContext) -> ToolOutput:
        report, outputs = await context.verify()
        facts = {"report": msgspec.to_builtins(report), "status": report.status}
        ids = ", ".join(c.id for c in report.checks)
        match report.status:
            case "passed":
                return told(f"All checks pass: {ids}", facts)
            case "failed":
                passed = ", ".join(c.id for c in report.checks if c.status == "passed") or "none"
                text = f"These checks do not pass.\n\n{failures_text(report, outputs)}\n\nPassed: {passed}"
                return told(text, facts, is_error=True)
            case "needs_review":
                return told(f"Not verified: {'; '.join(dict.fromkeys(report.risks))}", facts, is_error=True)
            case "skipped":
                return told("There is nothing to verify here: no checks are known for this project.", facts)
