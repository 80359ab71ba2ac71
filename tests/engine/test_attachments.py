"""Attachments: files from paths, bytes and addresses, how they are sent and kept, and which are refused."""

from __future__ import annotations

import asyncio
import base64
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

import godwit
from godwit.contracts import ModelChunk, ModelRequest
from godwit.core.attachments import check_attachments
from godwit.core.errors import AttachmentRefused, InvalidArgument
from godwit.core.events import UserMessage
from godwit.core.messages import Document, Image, Text, UserBlock, text_of
from godwit.core.model_info import ModelInfo
from godwit.engine.session import Session
from godwit.host.config import load
from godwit.host.runtime import Runtime
from godwit.models.attachment_limits import limits_for
from godwit.models.script import Script, ScriptedModel, hold, say
from tests.engine.conftest import Bench
from tests.files import gif, jpeg, packed_pdf, pdf, png, webp
from tests.parts.web_site import Site, page, redirect, site

MIB = 1024 * 1024
MODEL = "anthropic:test"


class Seeing(ScriptedModel):
    """A model of a provider that says what it takes, and keeps what it was asked."""

    def __init__(self, script: Script, provider: str = "anthropic", **info: Any) -> None:
        super().__init__(script, MODEL)
        self.info = ModelInfo(MODEL, provider, images=True, documents=True, origin="configured", **info)
        self.asked: list[ModelRequest] = []

    async def stream(self, request: ModelRequest) -> AsyncIterator[ModelChunk]:
        self.asked.append(request)
        async for chunk in super().stream(request):
            yield chunk


async def said(session: Session) -> list[tuple[UserBlock, ...]]:
    return [e.data.content for e in await session.events() if isinstance(e.data, UserMessage)]


@pytest.fixture
async def seeing() -> AsyncIterator[tuple[Session, Seeing, Runtime]]:
    model = Seeing(["One.", "Two.", "Three.", "Four."])
    async with await Runtime.open(":memory:", models={MODEL: model}) as runtime:
        yield await runtime.start_session(godwit.Agent("a", model=MODEL)), model, runtime


Opened = tuple[Session, Seeing, Runtime]


# --- what is attached -------------------------------------------------------------------------------------------------


async def test_paths_bytes_and_blocks_go_in_front_of_the_words(seeing: Opened, tmp_path: Path) -> None:
    session, model, _ = seeing
    (tmp_path / "shot").write_bytes(png(3, 2))
    (tmp_path / "plan.docx").write_bytes(pdf(2))
    (tmp_path / "notes.bin").write_text("Déjà vu.\n")
    given: list[Any] = [
        str(tmp_path / "shot"),
        tmp_path / "plan.docx",
        tmp_path / "notes.bin",
        gif(1, 1),
        godwit.image(jpeg(4, 4), name="a.jpg"),
    ]
    await session.send("What is this?", attachments=given)
    expected = (
        Image("image/png", png(3, 2), name="shot"),
        Document("application/pdf", pdf(2), name="plan.docx"),
        Document("text/plain", "Déjà vu.\n".encode(), name="notes.bin"),
        Image("image/gif", gif(1, 1)),
        Image("image/jpeg", jpeg(4, 4), name="a.jpg"),
        Text("What is this?"),
    )
    assert await said(session) == [expected]
    assert model.asked[0].entries[0].message.content == expected
    assert text_of(expected) == "What is this?"


async def test_files_need_no_words_and_a_slash_beside_them_is_no_command(seeing: Opened) -> None:
    session, _, _ = seeing
    await session.send("", attachments=[png(1, 1)])
    await session.send("/help", attachments=[webp(1, 1)])
    async for _ in session.stream("/help", attachments=[webp(2, 2)]):
        pass
    assert await said(session) == [
        (Image("image/png", png(1, 1)),),
        (Image("image/webp", webp(1, 1)), Text("/help")),
        (Image("image/webp", webp(2, 2)), Text("/help")),
    ]
    with pytest.raises(InvalidArgument):
        await session.send("", attachments=[])


async def test_steers_and_follow_ups_have_them_too() -> None:
    gate = asyncio.Event()
    model = Seeing([say("One.") + hold(gate), "Two.", "Three."])
    async with await Runtime.open(":memory:", models={MODEL: model}) as runtime:
        session = await runtime.start_session(godwit.Agent("a", model=MODEL))
        run = await session.prompt("Go.")
        await session.steer("See.", attachments=[png(1, 1)])
        await session.follow_up("Read.", attachments=[b"a text"])
        gate.set()
        await session.wait(run)
        assert (await said(session))[1:] == [
            (Image("image/png", png(1, 1)), Text("See.")),
            (Document("text/plain", b"a text"), Text("Read.")),
        ]


def test_bytes_say_what_a_file_is_and_what_it_is_not(tmp_path: Path) -> None:
    assert godwit.file(png(1, 1), name='../"a"\n.txt') == Image("image/png", png(1, 1), name="../ a .txt")
    assert godwit.file(b"\xff\xfe" + "ä".encode("utf-16-le")) == Document("text/plain", "ä".encode())
    assert godwit.file("HTTPS://example.org/a.png") == godwit.Link("HTTPS://example.org/a.png")
    assert godwit.image("https://example.org/a", name="b") == godwit.Link("https://example.org/a", "image", "b")
    for wrong, words in (
        (b"", "nothing in it"),
        (b"PK\3\4\0", "seems to be application/zip"),
        (b"\0\0\0\x18ftypheic\0", "seems to be image/heic.*convert it"),
        (b"\0\1\2", "no png, jpeg, gif or webp image, no PDF and no text"),
    ):
        with pytest.raises(AttachmentRefused, match=words) as raised:
            godwit.file(wrong)
        assert raised.value.details["field"] == "attachments"
    with pytest.raises(AttachmentRefused, match=r"use godwit\.file for a PDF"):
        godwit.image(pdf(1))
    (tmp_path / "sparse").touch()
    os.truncate(tmp_path / "sparse", 200 * MIB)
    os.mkfifo(tmp_path / "pipe")
    for name, words in (
        ("missing", "No such file"),
        (".", "it is a folder"),
        ("pipe", "no ordinary file"),
        ("sparse", "are more than"),
        ("a\0b", "cannot be read"),
    ):
        with pytest.raises(AttachmentRefused, match=words):
            godwit.file(str(tmp_path / name) if "\0" not in name else name)
    with pytest.raises(AttachmentRefused, match="not int"):
        godwit.file(7)  # type: ignore[arg-type]


# --- what is refused --------------------------------------------------------------------------------------------------


async def test_what_is_refused_names_its_place_size_and_limit_and_nothing_changes(seeing: Opened, tmp_path: Path) -> None:
    session, model, _ = seeing
    before = await session.events()
    large = png(10, 10, size=4 * MIB)
    for attachments, details, words in (
        (
            [png(1, 1), large],
            {"index": 1, "size": 5592408, "limit": 5 * MIB},
            "attachments.1.: an image of 5592408 bytes .* Anthropic takes: make it smaller",
        ),
        ([png(8001, 10)], {"index": 0, "size": 8001, "limit": 8000}, "8001 x 10 pixels are more than the 8000 x 8000"),
        (
            [png(1, 1)] * 20 + [godwit.image(jpeg(10, 2001), name="long.jpg")],
            {"index": 20, "size": 2001, "limit": 2000},
            r"\(long.jpg\): 10 x 2001 pixels .* when there are more than 20 \(here 21\)",
        ),
        ([png(1, 1)] * 101, {"index": 100, "size": 101, "limit": 100}, "101 images are more than the 100"),
        ([pdf(60), pdf(41)], {"index": 1, "size": 101, "limit": 100}, "PDFs of 101 pages"),
        ([packed_pdf(101)], {"index": 0, "size": 101, "limit": 100}, "PDFs of 101 pages"),
        ([pdf(1, size=25 * MIB)], {"index": 0, "limit": 32 * MIB}, "a document of .* bytes in base64"),
        ([pdf(1, size=13 * MIB)] * 2, {"index": 1, "limit": 32 * MIB}, "files of .* in one request: send less"),
        ([b"a" * (MIB + 1)], {"index": 0, "size": MIB + 1, "limit": MIB}, "let the agent read it"),
        ([b"ok", tmp_path / "gone"], {"index": 1, "path": str(tmp_path / "gone")}, "cannot be read: No such file"),
        (
            [Image("image/png", jpeg(1, 1))],
            {"index": 0, "found": "image/jpeg"},
            "called image/png and its bytes are image/jpeg",
        ),
        ([Image("image/png", b"<script>")], {"index": 0}, "no image that models see"),
        ([Document("application/pdf", b"text")], {"index": 0}, "called application/pdf and its bytes are none"),
        ([Document("text/plain", b"\xff")], {"index": 0}, "no UTF-8 text"),
        ([Image("image/png")], {"index": 0}, "nothing in it"),
        ([object()], {"index": 0}, "bytes or a block is needed, not object"),
    ):
        with pytest.raises(AttachmentRefused, match=words) as raised:
            await session.send("See.", attachments=attachments)  # type: ignore[arg-type]
        assert raised.value.code == "attachment_refused"
        assert {"field": "attachments", **details}.items() <= raised.value.details.items()
    with pytest.raises(AttachmentRefused, match="is a list"):
        await session.send("See.", attachments="a.png")
    assert await session.events() == before
    assert model.asked == []


async def test_an_image_that_would_be_too_large_among_the_earlier_ones_is_refused(seeing: Opened) -> None:
    session, _, _ = seeing
    await session.send("See.", attachments=[png(3000, 10)] * 20)
    with pytest.raises(AttachmentRefused, match="here 21"):
        await session.send("See.", attachments=[png(3000, 10)])
    await session.send("See.", attachments=[png(2000, 10)])
    # A history of one's own is what goes with it then.
    await session.send("See.", attachments=[png(3000, 10)], history=[])
    await session.rewind((await session.turnings())[0].seq)
    await session.send("See.", attachments=[png(3000, 10)])


@pytest.mark.parametrize(
    ("provider", "window", "images", "pages"),
    [
        ("anthropic", 200_000, 100, 100),
        ("anthropic", 1_000_000, 600, 600),
        ("openai", 400_000, 500, None),
        ("google", 1_000_000, 3600, 1000),
        ("acme", 8000, None, None),
    ],
)
def test_each_provider_has_its_limits(provider: str, window: int, images: int | None, pages: int | None) -> None:
    limits = limits_for(ModelInfo(f"{provider}:x", provider, context_window=window))
    assert (limits.images, limits.pages) == (images, pages)
    dots = [Image("image/png", png(1, 1))]
    most = min(images or 1000, 1000)
    check_attachments(dots * most, limits, 10_000)
    with pytest.raises(AttachmentRefused, match=f"{most + 1} (images|files) are more than"):
        check_attachments(dots * (most + 1), limits)
    if pages is not None:
        check_attachments([Document("application/pdf", pdf(pages))], limits)
        with pytest.raises(AttachmentRefused):
            check_attachments([Document("application/pdf", pdf(pages + 1))], limits)
    # Words alone are never refused for what was sent before.
    check_attachments([Text("Go on.")], limits, 10_000)


# --- addresses --------------------------------------------------------------------------------------------------------


@pytest.fixture
async def pages() -> AsyncIterator[Site]:
    async with site() as made:
        made.answers |= {
            "/a.txt": page(png(5, 5), "text/plain"),
            "/plan": page(pdf(1), "application/octet-stream", Content_Encoding="identity"),
            "/notes.md": page("# Notes", "text/markdown"),
            "/moved": redirect("/a.txt"),
            "/inside": redirect("http://169.254.169.254/latest/meta-data"),
            "/zip": page(b"PK\3\4\0\0", "image/png"),
        }
        yield made


async def test_an_address_is_fetched_once_and_what_was_there_is_kept(pages: Site) -> None:
    model = Seeing(["One.", "Two."])
    async with await Runtime.open(":memory:", models={MODEL: model}, link_reach=[pages.here]) as runtime:
        session = await runtime.start_session(godwit.Agent("a", model=MODEL))
        links = [
            pages.url("/a.txt?token=geheim"),
            godwit.image(pages.url("/moved"), name="mine"),
            pages.url("/plan"),
            pages.url("/notes.md"),
        ]
        await session.send("See.", attachments=links)
        [(first, second, third, fourth, _)] = await said(session)
        assert first == Image("image/png", png(5, 5), pages.url("/a.txt?token=REDACTED"), "a.txt")
        assert second == Image("image/png", png(5, 5), pages.url("/moved"), "mine")
        assert third == Document("application/pdf", pdf(1), pages.url("/plan"), "plan")
        assert fourth == Document("text/plain", b"# Notes", pages.url("/notes.md"), "notes.md")
        asked = len(pages.requests)
        await session.send("And now?")
        assert len(pages.requests) == asked == 5
        assert model.asked[1].entries[0].message.content[0] == first
        head = len(await session.events())
        for wrong, words in (
            (pages.url("/zip"), "seems to be application/zip"),
            (pages.url("/gone"), "status 404"),
            (pages.url("/inside"), "metadata service"),
            (f"http://user:pass@{pages.here}/a.txt", "attachments.1.: it was not fetched"),
            ("http://[::1]/x", "address of this machine.*link_reach"),
        ):
            with pytest.raises(AttachmentRefused, match=words) as raised:
                await session.send("See.", attachments=[png(1, 1), wrong])
            assert raised.value.details["index"] == 1
        with pytest.raises(AttachmentRefused, match=r"use godwit\.file for a PDF"):
            await session.send("See.", attachments=[godwit.image(pages.url("/plan"))])
        with pytest.raises(AttachmentRefused, match="are more than 20"):
            await session.send("See.", attachments=[pages.url("/a.txt")] * 21)
        assert len(await session.events()) == head


async def test_addresses_of_private_networks_are_not_reached(pages: Site) -> None:
    model = Seeing(["One."])
    async with await Runtime.open(":memory:", models={MODEL: model}) as runtime:
        session = await runtime.start_session(godwit.Agent("a", model=MODEL))
        for wrong in (pages.url("/a.txt"), "http://localhost/x.png", "http://10.0.0.1/x", "http://169.254.169.254/latest"):
            with pytest.raises(AttachmentRefused, match="not reached from here"):
                await session.send("See.", attachments=[wrong])
        assert pages.connections == 0
        assert await said(session) == []


async def test_a_setting_says_what_else_is_reached(pages: Site, tmp_path: Path) -> None:
    said = load(tmp_path, environment={"GODWIT_ATTACHMENTS__REACH": f'["{pages.here}"]', "GODWIT_CONFIG": ""})
    model = Seeing(["One."])
    async with await Runtime.open(":memory:", models={MODEL: model}, config=said) as runtime:
        session = await runtime.start_session(godwit.Agent("a", model=MODEL))
        await session.send("See.", attachments=[pages.url("/a.txt")])
    async with await Runtime.open(":memory:", models={MODEL: model}, config=said, link_reach=()) as runtime:
        session = await runtime.start_session(godwit.Agent("a", model=MODEL))
        with pytest.raises(AttachmentRefused, match=r"not reached from here|this machine"):
            await session.send("See.", attachments=[pages.url("/a.txt")])


async def test_what_the_provider_is_to_fetch_is_for_providers_that_do() -> None:
    image, document = (
        Image("image/png", url="https://example.org/a.png"),
        Document("application/pdf", url="https://example.org/a.pdf"),
    )
    for provider, taken in (("anthropic", True), ("openai", True), ("google", False)):
        model = Seeing(["One.", "Two."], provider)
        async with await Runtime.open(":memory:", models={MODEL: model}) as runtime:
            session = await runtime.start_session(godwit.Agent("a", model=MODEL))
            for block in (image, document):
                if taken:
                    await session.send([Text("See."), block])
                    continue
                with pytest.raises(AttachmentRefused, match=r"Google does not fetch it .* use godwit.file"):
                    await session.send([Text("See."), block])
            assert len(await said(session)) == (2 if taken else 0)


# --- how they are kept ------------------------------------------------------------------------------------------------


async def test_they_are_there_after_a_restart_a_fork_and_a_rewind(bench: Bench) -> None:
    script: Script = ["One.", "Two.", "Three.", "Four."]
    session = await bench.start(script)
    content = (Image("image/png", png(2, 2), name="a.png"), Document("application/pdf", pdf(1)), Text("See."))
    await session.send("See.", attachments=[godwit.file(png(2, 2), name="a.png"), pdf(1)])
    await session.send("And?")
    fork = await session.fork()
    await fork.send("Well?")
    assert (await fork.history())[0].content == content
    turning = (await session.turnings())[1]
    await session.rewind(turning.seq)
    assert (await session.history())[0].content == content
    runtime = await bench.runtime(script)
    again = await runtime.open_session(session.id)
    assert (await again.history())[0].content == content
    assert (await (await runtime.open_session(fork.id)).history())[0].content == content


async def test_a_compaction_is_told_their_names(seeing: Opened) -> None:
    session, model, _ = seeing
    await session.send(
        "See.",
        attachments=[
            godwit.image(png(2, 2), name="chart.png"),
            godwit.file(pdf(1), name="plan.pdf"),
            godwit.file(b"alpha beta", name="notes.txt"),
        ],
    )
    await session.compact(keep_tokens=1)
    told = text_of(model.asked[-1].entries[-1].message.content)
    for words in ("chart.png", "plan.pdf", "notes.txt", "alpha beta"):
        assert words in told


async def test_they_are_exported_and_come_in_again(tmp_path: Path) -> None:
    content = (
        Image("image/png", png(2, 2), name="chart.png"),
        Document("application/pdf", pdf(1), name="plan.pdf"),
        Document("text/plain", b"alpha <b>", name="notes.txt"),
        Text("See."),
    )
    models = {MODEL: Seeing(["One."])}
    async with await Runtime.open(tmp_path / "a.db", models=models) as runtime:
        session = await runtime.start_session(godwit.Agent("a", model=MODEL))
        await session.send("See.", attachments=content[:3])
        taken = {}
        for form in ("html", "md", "jsonl", "pi"):
            taken[form] = b"".join([piece async for piece in runtime.export_session(session.id, form)])
    page = taken["html"].decode()
    assert f'src="data:image/png;base64,{base64.b64encode(png(2, 2)).decode()}"' in page
    assert "plan.pdf" in page
    assert "alpha &lt;b&gt;" in page
    for name in ("chart.png", "plan.pdf", "notes.txt"):
        assert name in taken["md"].decode()
    assert "alpha" in taken["pi"].decode()
    (tmp_path / "s.jsonl").write_bytes(taken["jsonl"])
    async with await Runtime.open(tmp_path / "b.db", check_models=False) as runtime:
        report = await runtime.import_session(tmp_path / "s.jsonl")
        brought = await runtime.open_session(report.session, drive=False)
        assert (await brought.history())[0].content == content


async def test_a_subagent_is_asked_with_files() -> None:
    model = Seeing(["One.", "Two."])
    async with await Runtime.open(":memory:", models={MODEL: model}) as runtime:
        child = godwit.SubagentSession(runtime, godwit.Agent("a", model=MODEL))
        assert (await child.send("See.", attachments=[png(2, 2)])).text == "One."
        with pytest.raises(AttachmentRefused, match=r"attachments.0."):
            await child.send("See.", attachments=[png(9000, 2)])
        assert (await child.send("", attachments=[b"a text"])).text == "Two."
        assert [message.content for message in await child.transcript()][::2] == [
            (Image("image/png", png(2, 2)), Text("See.")),
            (Document("text/plain", b"a text"),),
        ]
