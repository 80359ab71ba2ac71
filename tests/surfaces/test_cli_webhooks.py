"""`godwit webhooks` and `godwit secrets`, and a server that sends what the command line asked for."""

from __future__ import annotations

from dataclasses import dataclass

from tests.host.webhook_site import Inbox, verified
from tests.parts.web_site import page, site
from tests.surfaces.terminal import Command, Ended


@dataclass(frozen=True)
class Configured:
    """The command line of a person whose webhooks may reach this."""

    command: Command
    here: str

    async def run(self, *words: str) -> Ended:
        file = self.command.folder.parent / "own.toml"
        file.write_text(f'[server]\nreach = ["{self.here}"]\n')
        return await self.command.run(*words, GODWIT_CONFIG=str(file))


async def test_a_list_is_of_one_tenants_and_says_so(command: Command) -> None:
    added = await command.run("webhooks", "add", "https://1.1.1.1/hook", "--tenant", "acme", "--json")
    assert added.code == 0, added.err
    nobodys = await command.run("webhooks", "list")
    assert (nobodys.code, nobodys.out, "--tenant" in nobodys.err) == (0, "", True)
    assert added.lines[0]["id"] in (await command.run("webhooks", "list", "--tenant", "acme")).out
    assert "'globex' has none" in (await command.run("webhooks", "list", "--tenant", "globex")).err


async def test_an_endpoint_is_added_listed_tested_changed_and_removed(command: Command) -> None:
    async with site() as here:
        inbox = Inbox(here)
        refused = await command.run("webhooks", "add", inbox.url)
        assert (refused.code, "not reached" in refused.err) == (2, True)
        await _changed(Configured(command, here.here), inbox)


async def _changed(command: Configured, inbox: Inbox) -> None:
    added = await command.run("webhooks", "add", inbox.url, "--type", "session.idled", "--json")
    assert added.code == 0, added.err
    (made,) = added.lines
    assert (made["status"], made["types"]) == ("enabled", ["session.idled"])
    listed = await command.run("webhooks", "list")
    assert made["id"] in listed.out
    assert made["secret"] not in listed.out
    tested = await command.run("webhooks", "test", made["id"][:8])
    assert (tested.code, "answered 204" in tested.out) == (0, True)
    assert verified(inbox.requests[0], made["secret"])["type"] == "webhook.test"
    inbox.always = page("", status="500 Broken")
    assert (await command.run("webhooks", "test", made["id"])).code == 1
    rotated = await command.run("webhooks", "rotate", made["id"])
    assert rotated.out.startswith("whsec_")
    disabled = await command.run("webhooks", "disable", made["id"])
    assert disabled.out.strip() == f"{made['id']}: disabled"
    assert (await command.run("webhooks", "log", made["id"])).out == ""
    assert (await command.run("secrets", "rotate", "--json")).lines[0]["sealed"] == 1
    assert (await command.run("webhooks", "remove", made["id"])).code == 0
    assert (await command.run("webhooks", "test", made["id"])).code == 5


async def test_what_cannot_be_meant_is_told(command: Command) -> None:
    for words in (("webhooks", "sing"), ("webhooks", "remove"), ("secrets", "burn")):
        assert (await command.run(*words)).code == 2
