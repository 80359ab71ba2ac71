"""Output: holds a run's last answer to the form it must have, before the run may end as done.

What was found is an event, so whoever goes on after a restart decides the same. Leaves out what the form is and whether a
value fits (`core.output`, `contracts.OutputTypes`).
"""

from __future__ import annotations

from ..core.agent import AgentSpec
from ..core.events import EventData, OutputChecked, UserMessage
from ..core.gate import INBOX_LIMIT
from ..core.ids import InputId, derived_id
from ..core.messages import Assistant, Text, UserBlock
from ..core.output import OUTPUT, OutputSpec, told, told_again, value_of
from ..core.state import Run
from .driver import Driver


def output_of(run: Run, spec: AgentSpec) -> OutputSpec | None:
    """The form that the run's last answer must have."""
    return spec.output if run.output is None else run.output


def with_form(run: Run | None, content: tuple[UserBlock, ...], delivery: str) -> tuple[UserBlock, ...]:
    """A run's own prompt as its model reads it: with the form that was asked for with it."""
    if run is None or run.output is None or delivery != "prompt":
        return content
    return (*content, Text(f"\n\n{told(run.output, here=True)}"))


async def check_output(driver: Driver) -> None:
    """Find out whether the last answer fits, and tell the model where it does not and may try again."""
    await driver.log.commit()  # the answer is in the transcript once its turn's end is stored
    run = driver.state.run
    assert run is not None
    spec = output_of(run, driver.spec)
    assert spec is not None
    value, problem = value_of(_last_answer(driver))
    if problem is None:
        problem = driver.parts.outputs.problem(spec, value)
    attempt = run.misfits + 1
    if problem is None:
        driver.log.stage(OutputChecked(run.id, attempt, value=value))
        return
    events: list[EventData] = [OutputChecked(run.id, attempt, problem=problem)]
    # With a full inbox the run goes on with what is in it, and is checked again at its end.
    if attempt <= spec.retries and sum(q.delivery == "steer" for q in driver.state.gate.queue) < INBOX_LIMIT:
        input_id = InputId(derived_id("in", run.id, OUTPUT, str(run.checkpoint), str(attempt)))
        events.append(UserMessage(input_id, (Text(told_again(spec, problem)),), "steer", "batch", OUTPUT))
    await driver.log.commit(*events)


def _last_answer(driver: Driver) -> Assistant | None:
    for entry in reversed(driver.log.transcript.entries):
        if isinstance(entry.message, Assistant):
            return entry.message
    return None


__all__ = ["check_output", "output_of", "with_form"]
