"""`godwit models`: which models there are here or on a server, and what is known of one."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from ..core.model_info import ModelInfo, Origin
from .cli_exit import DONE, CliError
from .cli_place import KnowsModels, Place
from .cli_view import write_json
from .cli_words import clean

if TYPE_CHECKING:
    from .cli_server import ServerPlace


_ORIGINS: dict[Origin, str] = {
    "listed": "the provider's list",
    "configured": "your configuration",
    "guessed": "its name alone",
}


class _Here:
    """What the files and the environment of this machine say; it needs no database."""

    def __init__(self, folder: Path | None) -> None:
        from ..host.configured import registry_of
        from .cli_settings import load

        self._registry = registry_of(load(os.fspath((folder or Path(".")).resolve())))

    async def list_models(
        self, provider: str | None = None, *, ready: bool = False, deprecated: bool = False
    ) -> list[ModelInfo]:
        return list(await asyncio.to_thread(self._registry.list, provider, ready=ready, deprecated=deprecated))

    async def find_model(self, hint: str) -> ModelInfo:
        return await asyncio.to_thread(self._registry.find, hint)


async def models(
    place: Place | ServerPlace,
    hint: str | None,
    *,
    provider: str | None,
    everything: bool,
    folder: Path | None,
    as_json: bool,
) -> int:
    """List them, or show the one that is meant. Without `everything` those that can be asked and are not given up."""
    if hint is not None and provider is not None:
        raise CliError("one model is shown, or those of a provider are listed: give a name or --provider")
    if isinstance(place, Place):
        return await _told(_Here(folder), hint, provider, everything, as_json)
    async with place.reach() as host:
        return await _told(host, hint, provider, everything, as_json)


async def _told(host: KnowsModels, hint: str | None, provider: str | None, everything: bool, as_json: bool) -> int:
    if hint is not None:
        one = await host.find_model(hint)
        write_json(one) if as_json else print(clean("\n".join(_shown(one))))
        return DONE
    found = await host.list_models(provider, ready=not everything, deprecated=everything)
    if as_json:
        for info in found:
            write_json(info)
        return DONE
    width = max((len(info.name) for info in found), default=0)
    for info in found:
        print(clean(_line(info, width)))
    if not everything:
        more = "godwit models --all lists those that need a key as well"
        print(more if found else f"no listed model can be asked here: {more}", file=sys.stderr)
    return DONE


def _line(info: ModelInfo, width: int) -> str:
    window = _tokens(info.context_window)
    price = "" if info.price is None else f"${info.price.input:g}/${info.price.output:g}"
    able = [word for word, holds in (("images", info.images), ("pdf", info.documents)) if holds]
    able += ["thinks"] if info.thinking is not None and info.thinking != ("off",) else []
    marks = ", ".join([*info.aliases, *([] if info.ready else ["no key"]), *(["given up"] if info.deprecated else [])])
    told = f"{info.name:<{width}}  {window:>6}  {price:>12}  {' '.join(able):<18}"
    return f"{told}  {marks}".rstrip()


def _tokens(count: int | None) -> str:
    if count is None:
        return "?"
    return f"{count / 1_000_000:g}M" if count >= 1_000_000 and count % 50_000 == 0 else f"{count // 1000}k"


def _shown(info: ModelInfo) -> list[str]:
    def said(holds: bool | None) -> str:
        return "not known" if holds is None else "yes" if holds else "no"

    def count(tokens: int | None) -> str:
        return "not known" if tokens is None else f"{tokens:,} tokens"

    price = "not known"
    if info.price is not None:
        parts = [f"{info.price.input:g} in", f"{info.price.output:g} out"]
        parts += [f"{info.price.cache_read:g} from a cache"] if info.price.cache_read is not None else []
        parts += [f"{info.price.cache_write:g} into one"] if info.price.cache_write is not None else []
        price = f"USD per million tokens: {', '.join(parts)}" + ("; long requests cost more" if info.tiered else "")
    ready = "yes" if info.ready else "no" + (f": set {' or '.join(info.missing)}" if info.missing else "")
    lines = [
        ("name", info.name),
        ("title", info.title or "-"),
        ("aliases", ", ".join(info.aliases) or "-"),
        ("can be asked here", ready),
        ("context window", count(info.context_window)),
        ("longest answer", count(info.max_output)),
        ("price", price),
        ("images", said(info.images)),
        ("documents", said(info.documents)),
        ("tools", said(info.tools)),
        ("several calls at once", said(info.parallel_tools)),
        ("structured output", said(info.structured_output)),
        ("thinking", "not known" if info.thinking is None else ", ".join(info.thinking)),
        ("known from", _ORIGINS[info.origin]),
    ]
    lines += [("given up", "its provider no longer recommends it")] if info.deprecated else []
    return [f"{name:<22} {value}" for name, value in lines]
