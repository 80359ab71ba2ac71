"""Our OpenAPI document is true: what is sent to a server as it says, or against what it says, is answered as it says.

Cases are generated from the document (schemathesis), for a real server with something in it: most are sent to a session that
there is, the others to what has been made up.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings, strategies as st
from schemathesis.checks import not_a_server_error
from schemathesis.core.result import Ok
from schemathesis.generation import GenerationMode
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from godwit.models.script import ScriptedModel
from godwit.surfaces.api import Api
from tests.patience import PATIENCE_S
from tests.surfaces.server.running import RunningServer, running

MODEL = "scripted:test"
CHECKED = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
]
STREAMS = ("/godwit/v1/sessions/{session}/stream", "/godwit/v1/sessions/{session}/tree")
"""They do not end; `test_api` and `test_tree` read them."""
ENDS = {"archive_session", "delete_session"}
"""They are given a session of their own each time."""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    folder: Path = tmp_path_factory.mktemp("schema")
    model = ScriptedModel(["answer"] * 20_000, MODEL)
    with running(folder / "g.db", models={MODEL: model}, dialects=[Api]) as made:
        yield made


class Known:
    """What there is on the server."""

    def __init__(self, api: httpx2.Client) -> None:
        self._api = api
        agent = {
            "models": [MODEL],
            "subagents": {"explore": "Looks."},
            "tools": ["files", "bash"],
            "permissions": {"ask": ["bash"]},
        }
        api.put("/agents/coder", json=agent).raise_for_status()
        self.session = self.another(own_workspace=True)
        self.bare = self.another()
        api.put(f"/sessions/{self.session}/tasks/known", json={"agent": "far"}).raise_for_status()
        started = api.post(f"/sessions/{self.session}/prompt", json={"prompt": "Go."}).raise_for_status()
        self.run = started.json()["run"]
        api.get(f"/sessions/{self.session}/result", params={"wait_s": 30}).raise_for_status()

    def another(self, **body: Any) -> str:
        made = self._api.post("/sessions", json={"agent": "coder", **body}).raise_for_status()
        found: str = made.json()["session"]["id"]
        return found

    def put_in(self, case: schemathesis.Case[Any]) -> None:
        """Have the case be about something that there is."""
        name = case.operation.definition.raw["operationId"]
        if "session" in case.path_parameters:
            # What is run there finds no folder to do anything in.
            runs = name in ("call_tool", "verify", "command")
            case.path_parameters["session"] = self.another() if name in ENDS else self.bare if runs else self.session
        if "run" in case.path_parameters:
            case.path_parameters["run"] = self.run
        if "task" in case.path_parameters:
            case.path_parameters["task"] = "known"
        if name == "start_task" and isinstance(case.body, dict) and "agent" in case.body:
            case.body["agent"] = "explore"
        if "agent" in case.path_parameters:
            case.path_parameters["agent"] = "other" if name in ("put_agent", "delete_agent", "archive_agent") else "coder"
        if name == "put_agent" and isinstance(case.body, dict) and case.body.get("models"):
            case.body["models"] = [MODEL]
        if name == "start_session" and isinstance(case.body, dict) and "agent" in case.body:
            case.body["agent"] = "coder"


TRIES = 10


@pytest.mark.parametrize("mode", [GenerationMode.POSITIVE, GenerationMode.NEGATIVE], ids=lambda mode: mode.value)
@pytest.mark.parametrize("examples", [4, pytest.param(150, marks=pytest.mark.slow)])
def test_every_operation_answers_as_its_document_says(server: RunningServer, mode: GenerationMode, examples: int) -> None:
    with httpx2.Client(base_url=f"{server.url}/godwit/v1", timeout=PATIENCE_S) as api:
        document = api.get("/openapi.json").raise_for_status().json()
        for stream in STREAMS:
            del document["paths"][stream]
        known = Known(api)
        schema = schemathesis.openapi.from_dict(document)
        asked = 0
        for result in schema.get_all_operations():
            asked += 1
            assert isinstance(result, Ok), result
            _ask(result.ok(), mode, examples, known, server.url)
        assert asked == sum(len(methods) for methods in document["paths"].values()) > 60
        assert api.get("/sessions").status_code == 200


def _ask(operation: Any, mode: GenerationMode, examples: int, known: Known, url: str) -> None:
    strategy = operation.as_strategy(generation_mode=mode)

    @settings(
        max_examples=examples,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=strategy, real=st.sampled_from([True, True, True, False]))
    def ask(case: schemathesis.Case[Any], real: bool) -> None:
        if real:
            known.put_in(case)
        # Who waits for what never comes is answered late, and schemathesis does not wait for long.
        if "wait_s" in (case.query or {}):
            case.query["wait_s"] = 0
        if isinstance(case.body, dict) and isinstance(wait_s := case.body.get("wait_s"), int | float):
            case.body["wait_s"] = min(wait_s, 0)
        answer = case.call(base_url=url, timeout=PATIENCE_S)
        # An MCP server that was named and cannot be had is an error of another server, and is told as one.
        theirs = answer.status_code == 502 and answer.json()["error"]["code"] == "mcp_server_failed"
        case.validate_response(answer, checks=[one for one in CHECKED if one is not not_a_server_error or not theirs])

    for left in reversed(range(TRIES)):
        try:
            ask()
            return
        except schemathesis.errors.InvalidSchema:
            # Of what a document forbids it makes schemas of its own, and now and then one that nothing fits.
            if mode is GenerationMode.POSITIVE or not left:
                raise
        except Exception as error:
            if "Unsatisfiable" in type(error).__name__:
                return  # nothing can be wrong about an operation without parameters
            raise
