"""Secrets: who has the database alone cannot read them, and they open in their own place only."""

from __future__ import annotations

import base64
import logging
import os
import stat
import threading
from pathlib import Path

import pytest

import godwit
from godwit.core.document import Document
from godwit.core.errors import ConfigurationError, DocumentNotFound, SecretUnreadable
from godwit.host.secret_keys import VARIABLE, GivenKeys, KeyFile, Keys, SecretKey, keys_for
from godwit.host.secrets import KIND, Secrets
from godwit.stores.sqlite import SqliteStore

TOKEN = b"sk-very-secret-token-0123456789abcdef"


def kept(store: SqliteStore, *keys: SecretKey) -> Secrets:
    given: Keys = GivenKeys(keys) if keys else keys_for(store.file)
    return Secrets(store, given)


async def test_what_is_kept_comes_back_to_its_own_alone(tmp_path: Path) -> None:
    async with SqliteStore.open(tmp_path / "g.db") as store:
        secrets = kept(store)
        await secrets.put("credential", "a", TOKEN, tenant="t")
        assert await secrets.get("credential", "a", tenant="t") == TOKEN
        await secrets.put("credential", "a", b"another", tenant="t")
        assert await secrets.get("credential", "a", tenant="t") == b"another"
        for kind, id_, tenant in (("credential", "a", None), ("credential", "b", "t"), ("webhook", "a", "t")):
            with pytest.raises(DocumentNotFound):
                await secrets.get(kind, id_, tenant=tenant)
        assert await secrets.delete("credential", "a", tenant="t")
        assert not await secrets.delete("credential", "a", tenant="t")


async def test_the_database_does_not_hold_its_bytes(tmp_path: Path) -> None:
    store = SqliteStore.open(tmp_path / "g.db")
    await kept(store).put("credential", "a", TOKEN, tenant="t")
    open_files = b"".join(path.read_bytes() for path in sorted(tmp_path.glob("g.db*")) if path.is_file())
    await store.close()
    everything = open_files + (tmp_path / "g.db").read_bytes()
    (key,) = KeyFile(tmp_path / "g.db.key").all()
    for hidden in (TOKEN, TOKEN[4:20], base64.b64encode(TOKEN)[:20], key.raw):
        assert hidden not in everything
    assert key.text().encode() not in (tmp_path / "g.db").read_bytes()


async def test_the_key_is_in_a_file_for_its_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "g.db.key"
    async with SqliteStore.open(tmp_path / "g.db") as store:
        assert not path.exists()
        await kept(store).put("credential", "a", TOKEN, tenant=None)
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert await kept(store).get("credential", "a", tenant=None) == TOKEN
        path.chmod(0o644)
        with pytest.raises(ConfigurationError, match="chmod 600"):
            await kept(store).get("credential", "a", tenant=None)
        path.chmod(0o600)
        path.write_text("# nothing\n")
        with pytest.raises(ConfigurationError, match="holds no key"):
            await kept(store).get("credential", "a", tenant=None)


async def test_another_key_says_which_one_is_missing() -> None:
    one, two = SecretKey.new(), SecretKey.new()
    async with SqliteStore.open(":memory:") as store:
        await kept(store, one).put("credential", "a", TOKEN, tenant=None)
        with pytest.raises(SecretUnreadable) as caught:
            await kept(store, two).get("credential", "a", tenant=None)
        assert one.id in caught.value.message
        assert two.id in caught.value.message
        assert await kept(store, two, one).get("credential", "a", tenant=None) == TOKEN


@pytest.mark.parametrize(
    ("kind", "id_", "tenant"), [("credential", "b", None), ("credential", "a", "t"), ("webhook", "a", None)]
)
async def test_what_is_moved_does_not_open(kind: str, id_: str, tenant: str | None) -> None:
    async with SqliteStore.open(":memory:") as store:
        secrets = kept(store, SecretKey.new())
        await secrets.put("credential", "a", TOKEN, tenant=None)
        taken = await store.get_document(KIND, "credential/a", tenant=None)
        await store.put_documents([Document(KIND, f"{kind}/{id_}", taken.body, tenant, keys=taken.keys)])
        with pytest.raises(SecretUnreadable, match="moved"):
            await secrets.get(kind, id_, tenant=tenant)


async def test_what_is_changed_does_not_open() -> None:
    async with SqliteStore.open(":memory:") as store:
        secrets = kept(store, SecretKey.new())
        for part in ("secret", "own_key"):
            await secrets.put("credential", "a", TOKEN, tenant=None)
            await secrets.put("credential", "b", TOKEN, tenant=None)
            mine = await store.get_document(KIND, "credential/a", tenant=None)
            other = await store.get_document(KIND, "credential/b", tenant=None)
            for wrong in (other.data()[part], "", "%", mine.data()[part][:20], None):
                (mine,) = await store.put_documents([mine.changed({**mine.data(), part: wrong})])
                with pytest.raises(SecretUnreadable, match="changed"):
                    await secrets.get("credential", "a", tenant=None)


async def test_a_rotation_seals_all_anew_and_can_be_cut_off(tmp_path: Path) -> None:
    async with SqliteStore.open(tmp_path / "g.db") as store:
        secrets = kept(store)
        for number in range(5):
            await secrets.put("credential", str(number), TOKEN, tenant=f"t{number % 2}")
        file = KeyFile(tmp_path / "g.db.key")
        (first,) = file.all()
        # A process that dies right after it has made a new key.
        file.renew([first.id])
        rotation = await secrets.rotate()
        assert rotation.sealed == 5
        assert (rotation.key, len(file.all())) == (file.all()[0].id, 3)
        assert [await secrets.get("credential", str(n), tenant=f"t{n % 2}") for n in range(5)] == [TOKEN] * 5
        again = await secrets.rotate()
        assert again.sealed == 5
        ids = [key.id for key in file.all()]
        assert ids == [again.key, rotation.key]
        # With what is in the file now all of them open; the first key is needed no more.
        assert [await kept(store).get("credential", str(n), tenant=f"t{n % 2}") for n in range(5)] == [TOKEN] * 5


async def test_keys_from_outside_rotate_by_order() -> None:
    old, new = SecretKey.new(), SecretKey.new()
    async with SqliteStore.open(":memory:") as store:
        await kept(store, old).put("credential", "a", TOKEN, tenant="t")
        assert (await kept(store, new, old).rotate()).sealed == 1
        assert await kept(store, new).get("credential", "a", tenant="t") == TOKEN
        assert (await kept(store, new).rotate()).sealed == 0


def test_of_two_who_make_the_file_one_key_is_left(tmp_path: Path) -> None:
    found: list[str] = []
    barrier = threading.Barrier(8)

    def make() -> None:
        barrier.wait()
        found.append(KeyFile(tmp_path / "k").all()[0].id)

    threads = [threading.Thread(target=make) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(found)) == 1
    assert sorted(os.listdir(tmp_path)) == ["k"]


async def test_a_runtime_takes_its_keys_from_settings_or_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, two = SecretKey.new(), SecretKey.new()
    async with await godwit.Runtime.open(tmp_path / "g.db", secret_keys=[one.text()]) as runtime:
        await runtime.secrets.put("credential", "a", TOKEN, tenant=None)
    monkeypatch.setenv(VARIABLE, f"{two.text()},{one.text()}")
    async with await godwit.Runtime.open(tmp_path / "g.db") as runtime:
        assert await runtime.secrets.get("credential", "a", tenant=None) == TOKEN
        assert (await runtime.secrets.rotate()).key == two.id
    assert not (tmp_path / "g.db.key").exists()
    with pytest.raises(ConfigurationError, match="base64 of 32 bytes"):
        await godwit.Runtime.open(":memory:", secret_keys=["short"])


async def test_nothing_shows_it(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    key = SecretKey.new()
    async with SqliteStore.open(tmp_path / "g.db") as store:
        secrets = kept(store, key)
        document = await secrets.seal("credential", "a", TOKEN, tenant=None)
        await secrets.put("credential", "a", TOKEN, tenant=None)
        with pytest.raises(SecretUnreadable) as caught:
            await kept(store, SecretKey.new()).get("credential", "a", tenant=None)
        shown = repr((document, secrets, key, caught.value, caught.value.details, str(caught.value))) + caplog.text
    assert TOKEN.decode() not in shown
    assert key.text() not in shown
    assert repr(key) == f"SecretKey({key.id!r})"


async def test_the_key_lies_where_no_command_and_no_checkpoint_reaches(tmp_path: Path) -> None:
    from godwit.host.workspaces import database_files
    from godwit.workspaces.exclusions import BESIDE_DATABASE

    assert str(tmp_path / "g.db.key") in database_files(str(tmp_path / "g.db"))
    assert ".key" in BESIDE_DATABASE
