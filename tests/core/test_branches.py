"""The tree of a conversation agrees with what the model sees, whatever happened and wherever somebody went."""

from __future__ import annotations

import pytest
from hypothesis import given
from tests.core.walk import CREATED, Walk, picker, walks

from godwit.core.agent import AgentRef
from godwit.core.branches import BRANCH_TYPES, SessionTree, tree_of
from godwit.core.errors import InvalidArgument
from godwit.core.events import (
    AgentMessage,
    EventData,
    InputDelivered,
    ModelStarted,
    RunClaimed,
    RunFinished,
    RunStarted,
    SessionCompacted,
    SessionForked,
    SessionLabelled,
    SessionRewound,
    TurnFinished,
    TurnStarted,
    UserMessage,
)
from godwit.core.ids import AgentName, InputId, MessageId, RunId, SessionId
from godwit.core.messages import Assistant, Text, User, text_of
from godwit.core.transcript import Transcript, transcript_of


def talk(text: str, number: int) -> list[EventData]:
    """One run: a message, and the answer yes."""
    run, said, asked = RunId(f"r{number}"), InputId(f"i{number}"), MessageId(f"m{number}")
    begin: list[EventData] = [CREATED] if number == 1 else []
    return [
        *begin,
        UserMessage(said, (Text(text),)),
        RunStarted(run, said),
        RunClaimed(run, 1),
        InputDelivered(said),
        TurnStarted(number),
        ModelStarted(asked, "p:m"),
        AgentMessage(Assistant(asked, (Text("yes"),), "p:m")),
        TurnFinished(number),
        RunFinished(run, "done"),
    ]


def agrees(tree: SessionTree, transcript: Transcript) -> None:
    """Each message of the session's own branch is on the way to the head, and nothing else is but earlier summaries."""
    shown = [*transcript.behind, *transcript.own_entries]
    path = {node.seq: node for node in tree.path()}
    for entry in shown:
        assert entry.seq in path, (entry, tree)
        expected = {"user", "compaction", "branch_summary", "context"} if isinstance(entry.message, User) else {"agent"}
        assert path[entry.seq].kind in expected
    placed = {entry.seq for entry in shown}
    for node in tree.path():
        # An earlier summary stands nowhere any more; an answer that was thought alone leaves nothing behind a summary.
        assert node.seq in placed or node.kind == "compaction" or transcript.summary is not None
    seqs = [node.seq for node in tree.nodes]
    assert seqs == sorted(set(seqs))
    assert all(node.parent is None or node.parent < node.seq for node in tree.nodes)


@given(walks(120))
def test_the_tree_agrees_with_the_transcript(numbers: list[int]) -> None:
    walk, pick = Walk(), picker(numbers)
    for _ in range(len(numbers) // 2):
        walk.step(pick)
    agrees(tree_of(walk.events), transcript_of(walk.events))
    assert tree_of(walk.events) == tree_of([event for event in walk.events if event.type in BRANCH_TYPES])


def test_a_place_is_found_by_its_seq_or_its_label() -> None:
    walk = Walk()
    for data in talk("one", 1):
        walk.take(data)
    asked, answered = (node.seq for node in tree_of(walk.events).nodes)
    walk.take(SessionLabelled(answered, "done"))
    tree = tree_of(walk.events)
    assert tree.find("done") == tree.find(answered) == tree.nodes[1]
    assert tree.children(None) == [tree.nodes[0]]
    assert tree.children(asked) == [tree.nodes[1]]
    for wrong in ("gone", 0, asked + 1, 99):
        with pytest.raises(InvalidArgument):
            tree.find(wrong)
    walk.take(SessionLabelled(answered))
    with pytest.raises(InvalidArgument):
        tree_of(walk.events).find("done")
    assert tree_of([]).nodes == ()


def test_a_fork_goes_on_from_where_it_was_forked() -> None:
    walk = Walk()
    for data in talk("one", 1):
        walk.take(data)
    at = walk.state.seq
    walk.take(SessionForked(SessionId("origin"), AgentRef(AgentName("a"), 1)))
    for data in talk("two", 2):
        walk.take(data)
    tree = tree_of(walk.events)
    assert (tree.origin, tree.forked_at) == ("origin", at)
    assert [(node.text, node.current) for node in tree.nodes] == [("one", True), ("yes", True), ("two", True), ("yes", True)]
    assert tree.head == tree.nodes[-1].seq


def test_a_summary_of_a_branch_is_where_it_was_left_for() -> None:
    walk = Walk()
    for number in (1, 2):
        for data in talk(str(number), number):
            walk.take(data)
    nodes = tree_of(walk.events).nodes
    walk.take(SessionRewound(nodes[1].seq, summary="two was tried"))
    walk.take(SessionCompacted("all of it", walk.state.seq + 1))
    tree = tree_of(walk.events)
    assert [(n.kind, n.current) for n in tree.nodes] == [
        ("user", True),
        ("agent", True),
        ("user", False),
        ("agent", False),
        ("branch_summary", True),
        ("compaction", True),
    ]
    assert tree.nodes[4].parent == nodes[1].seq
    assert "two was tried" in text_of(transcript_of(walk.events[:-1]).messages[-1].content)
    agrees(tree, transcript_of(walk.events))
