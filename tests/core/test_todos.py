"""Todos and goals as events: which lists are none, how they go back and along with forks, what a model is told of them."""

from __future__ import annotations

import pytest
from hypothesis import given, settings, strategies as st
from tests.core.walk import CREATED, Walk, event

from godwit.core.agent import AgentRef
from godwit.core.errors import InvalidArgument
from godwit.core.events import (
    EventData,
    GoalUpdated,
    InputDelivered,
    RunClaimed,
    RunFinished,
    RunNudged,
    RunStarted,
    SessionCompacted,
    SessionForked,
    SessionRewound,
    TodosUpdated,
    UserMessage,
)
from godwit.core.goal import Goal
from godwit.core.ids import AgentName, CallId, InputId, RunId, SessionId
from godwit.core.messages import Text, text_of
from godwit.core.state import State, fold
from godwit.core.todos import (
    TODO_CHARACTERS,
    TODOS,
    Todo,
    TodoChange,
    changed_todos,
    checked_todos,
    todos_summary,
    todos_text,
)
from godwit.core.transcript import Transcript

LIST = (Todo("look", "completed"), Todo("mend it", "in_progress"), Todo("tell"), Todo("sing", "cancelled"))


@pytest.mark.parametrize(
    ("todos", "says"),
    [
        ([Todo("  ")], "item 1 is empty"),
        ([Todo("a"), Todo("x" * (TODO_CHARACTERS + 1))], "item 2 has 501 characters"),
        ([Todo("a", "in_progress"), Todo("b"), Todo("c", "in_progress")], "items 1, 3 are in progress at once"),
        ([Todo(str(n)) for n in range(TODOS + 1)], "at most 100 items, not 101"),
        ([Todo("a", "doing")], "item 1: status 'doing' is none of pending, in_progress"),  # type: ignore[arg-type]
    ],
)
def test_what_is_no_list_is_refused_with_what_to_do(todos: list[Todo], says: str) -> None:
    with pytest.raises(InvalidArgument, match=says):
        checked_todos(todos)


def test_items_are_changed_by_their_place_all_or_none() -> None:
    assert changed_todos(LIST, [TodoChange(2, "completed"), TodoChange(3, "in_progress", "tell them")]) == (
        Todo("look", "completed"),
        Todo("mend it", "completed"),
        Todo("tell them", "in_progress"),
        Todo("sing", "cancelled"),
    )
    with pytest.raises(InvalidArgument, match="there is no item 5: the list has items 1 to 4"):
        changed_todos(LIST, [TodoChange(2, "completed"), TodoChange(5, "completed")])
    with pytest.raises(InvalidArgument, match="item 2 is changed twice"):
        changed_todos(LIST, [TodoChange(2, "completed"), TodoChange(2, "pending")])
    with pytest.raises(InvalidArgument, match="items 2, 3 are in progress at once"):
        changed_todos(LIST, [TodoChange(3, "in_progress")])
    with pytest.raises(InvalidArgument, match="the list is empty: write it first"):
        changed_todos((), [TodoChange(1, "completed")])


def test_a_list_as_it_is_shown() -> None:
    assert todos_text(LIST) == "1. [x] look\n2. [>] mend it\n3. [ ] tell\n4. [-] sing"
    assert todos_text(LIST, only_open=True) == "2. [>] mend it\n3. [ ] tell"
    assert todos_text([Todo("look\n2. [x] mend it")]) == "1. [ ] look 2. [x] mend it", "one item is one line"
    assert todos_summary(LIST) == "2 of 4 done, now: mend it"


STEPS = st.lists(
    st.tuples(st.sampled_from(["todos", "goal", "end", "rewind", "fork", "say", "compact"]), st.integers(0, 10**6)),
    min_size=1,
    max_size=25,
)


def lists(number: int) -> tuple[Todo, ...]:
    return tuple(Todo(f"item {number} {n}", "completed" if number >> n & 1 else "pending") for n in range(number % 4))


@given(STEPS)
@settings(max_examples=150, deadline=None)
def test_what_is_to_be_done_goes_back_with_a_rewind_and_along_with_a_fork(steps: list[tuple[str, int]]) -> None:
    """Whatever is written, gone back to and forked from, the fold says what held where the conversation stands; and a model
    that is spoken to has read of the open goal and of the list as they are."""
    walk = Walk()
    walk.take(CREATED)
    todos: list[tuple[Todo, ...]] = [(), ()]  # by seq, as they should be
    goals: list[Goal | None] = [None, None]

    def take(data: EventData) -> None:
        walk.take(data)
        todos.append(todos[-1])
        goals.append(goals[-1])

    for kind, number in steps:
        head = walk.state.seq
        match kind:
            case "todos":
                take(TodosUpdated(lists(number), CallId("c") if number % 2 else None))
                todos[-1] = lists(number)
            case "goal":
                take(GoalUpdated(Goal(f"g{head}", f"goal {number}")))
                goals[-1] = Goal(f"g{head}", f"goal {number}")
            case "end":
                before = goals[-1]
                if before is not None:
                    ended = Goal(before.id, before.text, "met" if number % 2 else "abandoned", "so it is", "host")
                    take(GoalUpdated(ended))
                    goals[-1] = ended
            case "rewind":
                to = 1 + number % head
                take(SessionRewound(to, todos=todos[to], goal=goals[to]))
                todos[-1], goals[-1] = todos[to], goals[to]
            case "fork":
                to = 1 + number % head
                forked = Walk()
                for one in walk.events[:to]:
                    forked.take(one.data)
                if forked.state.run is None:
                    walk = forked
                    del todos[to + 1 :], goals[to + 1 :]
                    take(SessionForked(SessionId("origin"), AgentRef(AgentName("coder"), 1)))
            case "compact":
                goal = goals[-1]
                take(SessionCompacted("so far", 1, todos=todos[-1], goal=goal if goal is not None and goal.open else None))
            case "say":
                run, said = RunId(f"r{head}"), InputId(f"i{head}")
                for data in (
                    UserMessage(said, (Text("go on"),)),
                    RunStarted(run, said),
                    RunClaimed(run, 1),
                    InputDelivered(said),
                ):
                    take(data)
                reads(walk.transcript, todos[-1], goals[-1])
                take(RunFinished(run, "done"))
        assert (walk.state.todos, walk.state.goal) == (todos[-1], goals[-1])
    assert refolded(walk) == walk.state


def reads(transcript: Transcript, todos: tuple[Todo, ...], goal: Goal | None) -> None:
    """The newest of what the model reads of a goal and of the list is how they are."""
    texts = [text_of(message.content) for message in transcript.messages]
    about_goals = [text for text in texts if "[Goal]" in text]
    if goal is not None and goal.open:
        assert f"<goal>\n{goal.text}\n</goal>" in about_goals[-1]
    elif about_goals:
        assert "set a goal" not in about_goals[-1]
    about_lists = [text for text in texts if "list of todos" in text]
    if todos:
        assert todos_text(todos) in about_lists[-1]
    elif about_lists:
        assert "(empty)" in about_lists[-1]


def refolded(walk: Walk) -> State:
    state = State()
    for one in walk.events:
        state = fold(state, event(one.seq, one.data))
    return state


def nudged(walk: Walk, attempt: int) -> None:
    assert walk.state.run is not None
    walk.take(RunNudged(walk.state.run.id, ("todos",), InputId(f"n{attempt}"), attempt))


@pytest.mark.parametrize(
    ("data", "counts_on"),
    [
        (TodosUpdated((Todo("a", "completed"), Todo("b")), CallId("c")), False),
        (TodosUpdated((Todo("a"), Todo("b", "in_progress")), CallId("c")), True),
        (TodosUpdated((Todo("a"), Todo("b")), CallId("c")), True),
        (GoalUpdated(Goal("g", "x", "blocked", by="model")), False),
        (UserMessage(InputId("i2"), (Text("no"),), "steer"), False),
        (UserMessage(InputId("i2"), (Text("go on"),), "steer", sender="nudge"), True),
    ],
)
def test_what_counts_as_progress(data: EventData, counts_on: bool) -> None:
    walk = Walk()
    for one in (
        CREATED,
        TodosUpdated((Todo("a"), Todo("b"))),
        UserMessage(InputId("i1"), (Text("go"),)),
        RunStarted(RunId("r"), InputId("i1")),
        RunClaimed(RunId("r"), 1),
        InputDelivered(InputId("i1")),
    ):
        walk.take(one)
    nudged(walk, 1)
    nudged(walk, 2)
    walk.take(data)
    assert walk.state.run is not None
    assert walk.state.run.nudges == (2 if counts_on else 0)
