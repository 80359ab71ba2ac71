"""Promises about search: what was said is found by its words, at once, of the right tenant, until it is deleted."""

from __future__ import annotations

from ...contracts import EventStore
from ...core.errors import InvalidArgument
from ...core.events import AgentMessage, InputDelivered, Labels, ModelStarted, SessionConfigured, SessionForked, TurnStarted
from ...core.ids import InputId, MessageId, SessionId
from ...core.messages import Assistant, Image, Text, Thinking, ToolCall
from ..words import AGENT, CALL, RUN, T0, S, drafts, drive, message, new_session, prompt, refused
from .suite import StoreSuite

OTHER = SessionId("other")


async def said(
    store: EventStore, session: SessionId, text: str, answer: str | None = None, *, labels: Labels | None = None
) -> None:
    """A session in which this was said, and answered."""
    await new_session(store, session, labels=labels)
    await store.append(session, drafts(message(1, text)))
    if answer is not None:
        await prompt(store, session, number=2)
        lease = await drive(store, session)
        content = (Thinking("hidden thought"), Text(answer), ToolCall(CALL, "bash", {"command": "secretword"}))
        steps = drafts(
            InputDelivered(InputId("input-1")),
            InputDelivered(InputId("input-2")),
            TurnStarted(1),
            ModelStarted(MessageId("m"), "p:m"),
            AgentMessage(Assistant(MessageId("m"), content, "p:m", "tool_use")),
            run=RUN,
        )
        await store.append(session, steps, epoch=lease.epoch)


class Searches(StoreSuite):
    """Finding what was said."""

    async def test_words_are_found_where_they_were_said(self) -> None:
        async with self.opened() as store:
            await said(store, S, "Where do the Godwits fly in Época de lluvias?", "They fly to New Zealand, over the ocean.")
            await said(store, OTHER, "Something else entirely.")
            (found,) = await store.search("godwits fly")
            assert (found.session, found.seq, found.kind, found.at_ms) == (S, 2, "user", T0)
            assert [found.text[a:b] for a, b in found.marks] == ["Godwits", "fly"]
            assert [one.seq for one in await store.search("epoca")] == [2]
            (answer,) = await store.search('"new zealand"')
            assert answer.kind == "agent"
            assert await store.search('"zealand new"') == []
            assert len(await store.search("zeal*")) == 1
            assert await store.search("zeal") == []
            assert {one.kind for one in await store.search("fly")} == {"user", "agent"}
            # What was thought, and what tools were called with, is not what was said.
            assert await store.search("hidden") == []
            assert await store.search("secretword") == []
            assert await store.search("nowhere") == []

    async def test_what_is_new_is_found_at_once(self) -> None:
        async with self.opened() as store:
            await said(store, S, "first")
            assert len(await store.search("first")) == 1
            await store.append(
                S, drafts(message(7, "second", "prompt"), SessionConfigured(name="A named flight"), at_ms=T0 - 9)
            )
            assert len(await store.search("second")) == 1
            (named,) = await store.search("named")
            assert (named.seq, named.kind, named.text) == (0, "name", "A named flight")
            await store.append(S, drafts(SessionConfigured(name="Another")))
            assert await store.search("named") == []
            await said(store, OTHER, "much older second")
            assert len(await store.search("second")) == 2

    async def test_many_sessions_and_pages(self) -> None:
        async with self.opened() as store:
            for number in range(230):
                await said(store, SessionId(f"s{number}"), f"common word number{number}")
            await store.append(
                SessionId("s5"), drafts(*(message(n, "common common word", "follow_up") for n in range(50, 60)))
            )
            found = await store.search("common", limit=500)
            assert len({one.session for one in found}) == 230
            assert sum(one.session == "s5" for one in found) == 3
            assert len(await store.search("common", limit=500, per_session=99)) == 240
            assert [one.session for one in await store.search("number117")] == ["s117"]
            assert len(await store.search("common", limit=7)) == 7

    async def test_each_tenant_finds_its_own(self) -> None:
        async with self.opened() as store:
            await said(store, S, "a secret", labels=Labels(tenant="t"))
            await said(store, OTHER, "a secret")
            assert [one.session for one in await store.search("secret", tenant="t")] == [S]
            assert [one.session for one in await store.search("secret")] == [OTHER]
            assert await store.search("secret", tenant="u") == []
            assert len(await store.search("secret", every_tenant=True)) == 2

    async def test_of_one_folder(self) -> None:
        async with self.opened() as store:
            await new_session(store, workspace="/a")
            await store.append(S, drafts(message(1, "here")))
            await said(store, OTHER, "here")
            assert [one.session for one in await store.search("here", workspace="/a")] == [S]

    async def test_what_is_deleted_is_not_found(self) -> None:
        async with self.opened() as store:
            await said(store, S, "gone soon")
            await said(store, OTHER, "stays")
            await store.search("gone")
            await store.delete(S)
            assert await store.search("gone") == []
            await said(store, S, "again")
            assert [one.session for one in await store.search("again")] == [S]
            assert await store.search("gone") == []

    async def test_a_shared_past_is_found_once_and_stays(self) -> None:
        async with self.opened() as store:
            await said(store, S, "shared past")
            await store.fork(OTHER, S, 2, drafts(SessionForked(S, AGENT)))
            await store.append(OTHER, drafts(message(9, "own future")))
            assert [one.session for one in await store.search("past")] == [S]
            assert [one.session for one in await store.search("future")] == [OTHER]
            await store.delete(S)
            (found,) = await store.search("past")
            assert (found.session, found.seq) == (OTHER, 2)

    async def test_a_query_is_nothing_but_words(self) -> None:
        async with self.opened() as store:
            await said(store, S, 'say "hello" AND goodbye: it\'s (fine) - NEAR text:x ünïcode')
            for query in (
                "hello",
                '"hello"',
                "AND",
                "goodbye:",
                "it's",
                "(fine)",
                "-",
                "NEAR",
                "text:x",
                "ünïcode",
                "hel*",
                '"hel',
            ):
                if query in ("-",):
                    await refused(InvalidArgument, store.search(query))
                    continue
                expected = 0 if query == '"hel' else 1
                assert len(await store.search(query)) == expected, query
            for empty in ("", "   ", "***", '""', "!?"):
                await refused(InvalidArgument, store.search(empty))
            await refused(InvalidArgument, store.search("x", limit=0))

    async def test_scripts_without_spaces_are_found_by_any_part(self) -> None:
        async with self.opened() as store:
            await said(store, S, "毎日、日本語を勉強しています。GPT日本版", "ภาษาไทย กินข้าว")
            for query, expected in {
                "日本語": ["日本語"],
                "勉強": ["勉強"],
                "本": ["本", "本"],
                "を": ["を"],
                "gpt日本": ["GPT日本"],
                '"日本語を勉強"': ["日本語を勉強"],
                "語 毎日": ["毎日", "語"],
                "ไทย": ["ไทย"],
                "ข้าว": ["ข้าว"],
            }.items():
                (found,) = await store.search(query)
                assert [found.text[a:b] for a, b in found.marks] == expected, query
            for query in ("日語", "本日", "日本語 中国", "勉強した", "ภาษาข้าว"):
                assert await store.search(query) == [], query

    async def test_case_and_accents_of_any_script_do_not_matter(self) -> None:
        async with self.opened() as store:
            await said(store, S, "Ελληνικά ΚΕΊΜΕΝΑ, Straße, e\u0301tude, \ufb01ve, Ёж")
            for query in ("ελληνικα", "Κείμενα", "STRASSE", "étude", "etude", "five", "ЕЖ"):
                (found,) = await store.search(query)
                assert len(found.marks) == 1, query

    async def test_what_is_shown_stays_short(self) -> None:
        async with self.opened() as store:
            filler = "nothing to see here, " * 400
            await said(store, S, f"{filler}two far words apart {filler} near the words far end {filler}", "x" * 100_000)
            (found,) = await store.search("end near")
            assert [found.text[a:b] for a, b in found.marks] == ["near", "end"]
            assert len(found.text) < 200
            (found,) = await store.search("xxx*")
            assert len(found.text) < 200

    async def test_signs_that_are_no_text_hide_nothing(self) -> None:
        async with self.opened() as store:
            await said(store, S, "\0first\0second \x02third\x03")
            for query in ("first", "second", "third", "first\0second"):
                assert len(await store.search(query)) == 1, query
            await refused(InvalidArgument, store.search("\0"))
            # A long query ends with a whole word.
            assert len(await store.search("second third " * 100)) == 1

    async def test_pictures_say_nothing(self) -> None:
        async with self.opened() as store:
            await new_session(store)
            picture = message(1, "look")
            picture = type(picture)(picture.id, (Image("image/png", data=b"x"), Text("look here")), picture.delivery)
            await store.append(S, drafts(picture))
            assert len(await store.search("look")) == 1
