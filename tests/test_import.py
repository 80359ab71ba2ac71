"""`import godwit` is light: it loads no provider, no web server and no terminal library, and costs little memory."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.patience import PATIENCE_S

# httpx and its like come with the providers; msgspec is what the core is made of and may be there.
UNWANTED = (
    "anthropic", "fastapi", "genai_prices", "google", "httpx", "mcp", "nicegui", "openai", "pydantic", "pydantic_ai", "rich",
    "starlette", "textual", "tree_sitter", "tree_sitter_bash", "typer", "uvicorn",
)  # fmt: skip

_PROBE = """
import json, resource, sys
{code}
if sys.platform == "linux":  # there ru_maxrss begins with what the parent held when it forked
    with open("/proc/self/status") as status:
        peak = next(int(line.split()[1]) for line in status if line.startswith("VmHWM:")) / 1024
else:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024 / 1024
print(json.dumps({{"modules": sorted({{m.split(".")[0] for m in sys.modules}}), "peak_mib": peak}}))
"""


def probe(code: str, **environment: str) -> dict[str, Any]:
    """What a fresh interpreter has loaded after `code`, and its peak memory in MiB."""
    run = subprocess.run(
        [sys.executable, "-c", _PROBE.format(code=code)],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=True,
        timeout=PATIENCE_S,
    )
    found: dict[str, Any] = json.loads(run.stdout)
    return found


TOUCH = "import godwit\nfor name in getattr(godwit, '__all__', ()): getattr(godwit, name)"


def test_a_bare_import_loads_nothing_heavy() -> None:
    loaded = set(probe("import godwit")["modules"])
    assert "godwit" in loaded
    assert loaded & {*UNWANTED, "sqlite3"} == set()


def test_nor_does_touching_the_public_names() -> None:
    assert set(probe(TOUCH)["modules"]) & set(UNWANTED) == set()


SESSION = """
import asyncio, godwit
from godwit.models.script import ScriptedModel

async def main():
    models = {"scripted:any": ScriptedModel(["Hello."])}
    async with await godwit.Runtime.open(":memory:", models=models, mcp=godwit.McpSettings(reach=("127.0.0.1",))) as runtime:
        session = await runtime.start_session(godwit.Agent("a", model="scripted:any"))
        assert (await session.send("Hi.")).text == "Hello."

asyncio.run(main())
"""


def test_nor_does_a_session_without_mcp_servers_load_their_client() -> None:
    assert set(probe(SESSION)["modules"]) & {"mcp", "mcp_types", "httpx2"} == set()


def test_the_public_names_cost_little_memory(tmp_path: Path) -> None:
    # What is measured is the code, and not the compiler, which takes some MiB the first time.
    compiled = {"PYTHONPYCACHEPREFIX": str(tmp_path), "PYTHONDONTWRITEBYTECODE": ""}
    probe(TOUCH, **compiled)
    assert probe(TOUCH, **compiled)["peak_mib"] - probe("", **compiled)["peak_mib"] < 32
