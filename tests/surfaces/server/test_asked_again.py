"""What is asked twice is done once: by idempotency keys, and by the official SDK's silent repetitions."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anthropic
import httpx2
import msgspec
import pytest

from godwit.stores.sqlite import SqliteStore
from godwit.surfaces.server import ServerSettings
from godwit.surfaces.server.replies import Reply
from godwit.surfaces.server.retries import COUNT, LOST_S, SETTLED_S, UNSURE_S
from godwit.surfaces.server.service import Service
from tests.patience import PATIENCE_S

from .clocks import SteppedClock
from .echo import Echo
from .losing import losing
from .running import RunningServer, running

KEY = "idempotency-key"


class Watched:
    """A server whose echo is at hand."""

    def __init__(self, server: RunningServer, echo: Echo) -> None:
        self.server = server
        self.url = server.url
        self.echo = echo

    @property
    def said(self) -> list[Any]:
        return [what for what, _ in self.echo.done]


@contextlib.contextmanager
def watched(path: Path, **options: Any) -> Iterator[Watched]:
    made: list[Echo] = []

    def make(service: Service) -> Echo:
        made.append(Echo(service))
        return made[-1]

    with running(path, models={}, dialects=[make], **options) as server:
        yield Watched(server, made[0])


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Watched]:
    with watched(tmp_path / "g.db") as found:
        yield found


# --- with a key -------------------------------------------------------------------------------------------------------


def test_an_answer_comes_again_byte_for_byte(served: Watched) -> None:
    asked = {"headers": {KEY: "a", "content-type": "application/json"}, "content": b'{"b": 1}'}
    first = httpx2.post(f"{served.url}/echo", **asked)  # type: ignore[arg-type]
    second = httpx2.post(f"{served.url}/echo", **asked)  # type: ignore[arg-type]
    assert (first.status_code, first.content) == (second.status_code, second.content)
    assert second.headers["content-type"] == first.headers["content-type"]
    assert "idempotent-replayed" not in first.headers
    assert second.headers["idempotent-replayed"] == "true"
    assert second.headers["request-id"] != first.headers["request-id"]
    assert served.said == [{"b": 1}]
    assert served.echo.done[0][1] is not None


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [("POST", "/echo", b"2"), ("POST", "/echo?x=1", b"1"), ("POST", "/echo/answers/1", b"1"), ("POST", "/echo", b"")],
)
def test_a_key_is_for_one_request(served: Watched, method: str, path: str, body: bytes) -> None:
    assert httpx2.post(f"{served.url}/echo", content=b"1", headers={KEY: "a"}).status_code == 200
    refused = httpx2.request(method, f"{served.url}{path}", content=body, headers={KEY: "a"})
    assert (refused.status_code, refused.json()["echo"]["code"]) == (409, "key_reused")
    assert refused.headers["x-should-retry"] == "false"
    assert served.said == [1]


def test_a_key_is_its_tenants(tmp_path: Path) -> None:
    with watched(tmp_path / "g.db", settings=ServerSettings(keys=True)) as served:
        operator = {"x-api-key": str(served.server.key)}
        made = httpx2.post(f"{served.url}/admin/keys", json={"name": "a", "tenant": "acme"}, headers=operator).json()
        for headers in (operator, {"x-api-key": made["key"]}):
            answer = httpx2.post(f"{served.url}/echo", content=b"1", headers={**headers, KEY: "a"})
            assert "idempotent-replayed" not in answer.headers
        assert len(served.said) == 2


@pytest.mark.parametrize("key", ["", "x" * 256])
def test_a_key_that_is_none_is_refused(served: Watched, key: str) -> None:
    assert httpx2.post(f"{served.url}/echo", content=b"1", headers={KEY: key}).status_code == 400
    assert served.said == []


def test_a_refusal_is_kept_and_not_now_is_not(served: Watched) -> None:
    wrong = [httpx2.post(f"{served.url}/echo/busy", content=b"1", headers={KEY: "b"}) for _ in range(2)]
    assert [answer.status_code for answer in wrong] == [409, 409]
    assert served.said == ["busy", "busy"]
    broken = [httpx2.post(f"{served.url}/echo/broken", content=b"1", headers={KEY: "c"}) for _ in range(2)]
    assert [answer.status_code for answer in broken] == [500, 500]
    assert [(what, key is not None) for what, key in served.echo.done[2:]] == [("broken", True)]  # under one key


def test_who_asks_meanwhile_waits_for_the_answer(served: Watched) -> None:
    answers: list[httpx2.Response] = []

    def ask() -> None:
        answers.append(httpx2.post(f"{served.url}/echo/slow", content=b"s", headers={KEY: "a"}, timeout=PATIENCE_S))

    async def release() -> None:
        await served.echo.held.acquire()
        served.echo.hold.set()

    threads = [threading.Thread(target=ask) for _ in range(5)]
    for thread in threads:
        thread.start()
    served.server.call(release)
    for thread in threads:
        thread.join()
    assert {answer.content for answer in answers} == {b'{"number":1}'}
    assert served.said == ["s"]


def test_a_stream_is_done_again_under_its_key(served: Watched) -> None:
    for _ in range(2):
        with httpx2.stream("POST", f"{served.url}/echo/stream", content=b"1", headers={KEY: "s"}) as answer:
            assert next(answer.iter_lines()).startswith("retry:")
    assert served.said == ["stream"]


def test_a_key_is_good_for_a_day(tmp_path: Path) -> None:
    clock = SteppedClock()
    with watched(tmp_path / "g.db", clock=clock) as served:
        ask = {"content": b"1", "headers": {KEY: "a"}}
        httpx2.post(f"{served.url}/echo", **ask)  # type: ignore[arg-type]
        clock.advance(23 * 3600)
        assert "idempotent-replayed" in httpx2.post(f"{served.url}/echo", **ask).headers  # type: ignore[arg-type]
        assert served.said == [1]
        clock.advance(2 * 3600)
        other = httpx2.post(f"{served.url}/echo", content=b"2", headers={KEY: "a"})
        assert "idempotent-replayed" not in other.headers
        assert served.said == [1, 2]  # under another key for the engine, or that would take it for the first


async def test_what_a_process_that_died_left_is_done_again_under_its_key(tmp_path: Path) -> None:
    """It may have been done before the death, and the engine knows it by that key alone."""
    async with SqliteStore.open(tmp_path / "g.db") as store:
        gone = store.owner
    with watched(tmp_path / "g.db") as served:
        kept = served.server.runtime.store
        httpx2.post(f"{served.url}/echo/broken", headers={KEY: "a"})  # leaves a record without an answer

        async def die() -> None:
            (left,) = await kept.documents("reply", tenant=None)
            reply = msgspec.structs.replace(msgspec.json.decode(left.body, type=Reply), owner=gone)
            await kept.put_documents([left.changed(msgspec.to_builtins(reply))])

        served.server.call(die)
        httpx2.post(f"{served.url}/echo/broken", headers={KEY: "a"})
        assert served.said == ["broken"]


def test_an_answer_outlives_the_server(tmp_path: Path) -> None:
    ask = {"content": b"1", "headers": {KEY: "a"}}
    with watched(tmp_path / "g.db") as served:
        first = httpx2.post(f"{served.url}/echo", **ask)  # type: ignore[arg-type]
    with watched(tmp_path / "g.db") as served:
        again = httpx2.post(f"{served.url}/echo", **ask)  # type: ignore[arg-type]
        assert (again.content, served.said) == (first.content, [])


def test_two_servers_of_one_database_do_it_once(tmp_path: Path) -> None:
    with watched(tmp_path / "g.db") as one, watched(tmp_path / "g.db") as other:
        asking = threading.Thread(
            target=lambda: httpx2.post(f"{one.url}/echo/slow", content=b"s", headers={KEY: "a"}, timeout=PATIENCE_S)
        )
        asking.start()
        one.server.call(one.echo.held.acquire)
        early = httpx2.post(f"{other.url}/echo/slow", content=b"s", headers={KEY: "a"})
        assert (early.status_code, early.headers["x-should-retry"]) == (409, "true")

        async def release() -> None:
            one.echo.hold.set()

        one.server.call(release)
        asking.join()
        late = httpx2.post(f"{other.url}/echo/slow", content=b"s", headers={KEY: "a"})
        assert (late.content, late.headers["idempotent-replayed"]) == (b'{"number":1}', "true")
        assert (one.said, other.said) == (["s"], [])


# --- by an official SDK -------------------------------------------------------------------------------------------------


def client(url: str, **options: Any) -> anthropic.Anthropic:
    return anthropic.Anthropic(base_url=url, api_key="none-needed", **options)


def say(sdk: anthropic.Anthropic, text: str) -> dict[str, Any]:
    found: Any = sdk.post("/echo", body={"text": text}, cast_to=object)
    assert isinstance(found, dict)
    return found


def test_the_official_client_says_it_once_however_often_its_answer_is_lost(served: Watched) -> None:
    with losing(served.url) as proxy, client(proxy.url, max_retries=3) as sdk:
        proxy.lose(3)
        answer = say(sdk, "hello")
        assert (proxy.lost, len(proxy.passed)) == (3, 4)
        assert answer["number"] == 1
        assert served.said == [{"text": "hello"}]


def test_what_is_meant_twice_is_done_twice(served: Watched) -> None:
    with losing(served.url) as proxy, client(proxy.url) as sdk:
        for _ in range(2):
            proxy.lose(1)
            say(sdk, "again")
        say(sdk, "again")
        assert len(served.said) == 3


def test_a_first_attempt_that_never_came_is_not_taken_for_the_message_before(tmp_path: Path) -> None:
    """The message was said and answered; the same again is lost on its way here, and repeated by the client."""
    clock = SteppedClock()
    with watched(tmp_path / "g.db", clock=clock) as served, losing(served.url) as proxy, client(proxy.url) as sdk:
        say(sdk, "again")
        served.server.call(served.server.app.retries.settle)  # behind what the server still does for that answer
        clock.advance(SETTLED_S)
        served.server.call(served.server.app.retries.settle)
        proxy.drop(1)
        say(sdk, "again")
        assert len(proxy.passed) == 2
        assert len(served.said) == 2


def test_the_client_says_it_once_to_a_server_that_was_started_anew(tmp_path: Path) -> None:
    with watched(tmp_path / "g.db") as served, losing(served.url) as proxy:
        proxy.lose(1)
        with client(proxy.url, max_retries=0) as sdk, pytest.raises(anthropic.APIConnectionError):
            say(sdk, "hello")
        assert served.said == [{"text": "hello"}]
    with watched(tmp_path / "g.db") as served:
        repeated = httpx2.post(f"{served.url}/echo", content=proxy.passed[0].partition(b"\r\n\r\n")[2], headers=sent(1))
        assert repeated.json()["number"] == 1
        assert served.said == []


def sent(count: int, **more: str) -> dict[str, str]:
    return {COUNT: str(count), "content-type": "application/json", **more}


def raw(url: str, count: int, body: bytes = b'"hi"', **more: str) -> httpx2.Response:
    """As the SDK sends it, over a connection of its own."""
    with httpx2.Client() as own:
        return own.post(f"{url}/echo", content=body, headers=sent(count, **more))


def test_another_request_on_the_connection_proves_that_the_answer_came(served: Watched) -> None:
    with httpx2.Client() as own:
        own.post(f"{served.url}/echo", content=b'"hi"', headers=sent(0))
        own.get(f"{served.url}/echo/things/1")
    assert "idempotent-replayed" not in raw(served.url, 1).headers
    assert len(served.said) == 2


def test_a_connection_that_is_kept_proves_it_too_but_not_behind_a_proxy(served: Watched) -> None:
    with httpx2.Client() as own:
        own.post(f"{served.url}/echo", content=b'"hi"', headers=sent(0))
        assert "idempotent-replayed" not in raw(served.url, 1).headers
        own.post(f"{served.url}/echo", content=b'"ho"', headers=sent(0, via="1.1 gate"))
        assert "idempotent-replayed" in raw(served.url, 1, b'"ho"', via="1.1 gate").headers


def test_what_differs_is_another_request(served: Watched) -> None:
    raw(served.url, 0)
    raw(served.url, 1, b'"other"')
    with httpx2.Client() as own:
        own.post(f"{served.url}/echo?x=1", content=b'"hi"', headers=sent(1))
        own.post(f"{served.url}/echo/answers/1", content=b'"hi"', headers=sent(1))
    assert len(served.said) == 4
    assert "idempotent-replayed" in raw(served.url, 1).headers
    for count in ("", "x", "-1", "1" * 9):
        with httpx2.Client() as own:
            own.post(f"{served.url}/echo", content=b'"hi"', headers={COUNT: count})
    assert len(served.said) == 8


def done_with(served: Watched) -> None:
    """Return when the server has done with all that it was asked: a client may have its answer a moment before."""
    retries = served.server.app.retries

    async def wait() -> None:
        for attempt in list(retries._attempts.values()):
            await attempt.done.wait()

    served.server.call(wait)


def test_an_answer_that_may_have_come_counts_for_a_minute(tmp_path: Path) -> None:
    clock = SteppedClock(still=True)
    with watched(tmp_path / "g.db", clock=clock) as served:
        raw(served.url, 0)
        done_with(served)
        clock.advance(UNSURE_S - 1)
        assert "idempotent-replayed" in raw(served.url, 1).headers
        clock.advance(2)
        assert "idempotent-replayed" not in raw(served.url, 1).headers


def test_one_that_surely_did_not_come_counts_for_longer(tmp_path: Path) -> None:
    clock = SteppedClock(still=True)
    with watched(tmp_path / "g.db", clock=clock) as served:
        left = threading.Thread(target=lambda: asking_and_leaving(served))
        left.start()
        served.server.call(served.echo.held.acquire)
        left.join()

        async def release() -> None:
            served.echo.hold.set()

        served.server.call(release)
        done_with(served)
        clock.advance(LOST_S - 1)
        with httpx2.Client() as own:
            again = own.post(f"{served.url}/echo/slow", content=b"s", headers=sent(1))
            assert again.headers["idempotent-replayed"] == "true"
            clock.advance(2)
            own.post(f"{served.url}/echo/slow", content=b"s", headers=sent(1))
        assert served.said == ["s", "s"]


def asking_and_leaving(served: Watched) -> None:
    with httpx2.Client(timeout=0.3) as own, contextlib.suppress(httpx2.TimeoutException):
        own.post(f"{served.url}/echo/slow", content=b"s", headers=sent(0))


def test_what_has_surely_come_is_forgotten(tmp_path: Path) -> None:
    clock = SteppedClock()
    with watched(tmp_path / "g.db", clock=clock) as served, httpx2.Client() as own:
        own.post(f"{served.url}/echo", content=b'"hi"', headers=sent(0))

        async def kept() -> int:
            await served.server.app.retries.settle()
            return len(await served.server.runtime.store.documents("reply", tenant=None))

        assert served.server.call(kept) == 1
        clock.advance(SETTLED_S)
        assert served.server.call(kept) == 0


def test_an_answer_that_was_stored_is_not_kept_in_memory_as_well(served: Watched) -> None:
    """Behind a proxy nobody knows what has arrived, so each of them is stored."""
    retries, body = served.server.app.retries, b'"' + b"x" * 100_000 + b'"'
    first = raw(served.url, 0, body, via="1.1 gate")
    assert sum(len(one.kept.body) for one in retries._attempts.values() if one.kept is not None) > 100_000
    served.server.call(retries.settle)
    assert [one.kept.body for one in retries._attempts.values() if one.kept is not None] == [b""]
    again = raw(served.url, 1, body, via="1.1 gate")
    assert (again.headers["idempotent-replayed"], again.content) == ("true", first.content)
    assert len(served.said) == 1


def test_a_fault_is_tried_again_under_the_same_key(served: Watched) -> None:
    with client(served.url, max_retries=2) as sdk, pytest.raises(anthropic.InternalServerError):
        sdk.post("/echo/broken", body={}, cast_to=object)
    assert [what for what, _ in served.echo.done] == ["broken"]


async def test_many_clients_whose_answers_are_lost(tmp_path: Path) -> None:
    with watched(tmp_path / "g.db") as served, losing(served.url) as proxy:
        proxy.lose(10)
        async with anthropic.AsyncAnthropic(base_url=proxy.url, api_key="x", max_retries=12) as sdk:
            await asyncio.gather(*(sdk.post("/echo", body={"n": n}, cast_to=object) for n in range(20)))
        assert sorted(one["n"] for one in served.said) == list(range(20))


def test_an_answer_on_a_connection_that_ends_with_it_may_have_come(tmp_path: Path) -> None:
    clock = SteppedClock(still=True)
    with watched(tmp_path / "g.db", clock=clock) as served:
        raw(served.url, 0, connection="close")
        done_with(served)
        assert "idempotent-replayed" in raw(served.url, 1).headers
        clock.advance(UNSURE_S + 1)
        assert "idempotent-replayed" not in raw(served.url, 1).headers
