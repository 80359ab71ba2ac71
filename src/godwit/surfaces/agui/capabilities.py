"""Capabilities: what an agent can do here, as front ends are told it (`AgentCapabilities`)."""

from __future__ import annotations

from typing import Any

from ...core.agent import AgentSpec
from ..server.roster import Offered
from .events import Shape


class _Capabilities(Shape, frozen=True, kw_only=True):
    identity: dict[str, Any]
    transport: dict[str, Any]
    tools: dict[str, Any]
    output: dict[str, Any]
    state: dict[str, Any]
    multi_agent: dict[str, Any]
    reasoning: dict[str, Any]
    multimodal: dict[str, Any]
    execution: dict[str, Any]
    human_in_the_loop: dict[str, Any]
    custom: dict[str, Any]


def capabilities(agent: Offered, version: str) -> _Capabilities:
    """Of this agent. `version`: godwit's."""
    spec = agent.spec
    runs_code = any(name in ("bash", "coding", "all") for name in spec.tools)
    return _Capabilities(
        identity={
            "name": agent.title,
            "type": "godwit",
            **({"description": agent.description} if agent.description else {}),
            "metadata": {"id": agent.id, "godwit": version},
        },
        transport={
            "streaming": True,
            "websocket": False,
            "httpBinary": False,
            "pushNotifications": False,
            "resumable": True,
        },
        tools={
            "supported": True,
            "items": [
                {"name": tool.name, "description": tool.description, "parameters": tool.parameters}
                for tool in spec.external_tools
            ],
            "parallelCalls": True,
            "clientProvided": True,
        },
        output={"structuredOutput": spec.output is not None, "supportedMimeTypes": ["text/plain"]},
        state={"snapshots": True, "deltas": True, "memory": spec.memory is not None, "persistentState": True},
        multi_agent=_subagents(spec),
        reasoning={"supported": True, "streaming": True, "encrypted": False},
        multimodal={"input": {"image": True, "pdf": True, "audio": False, "video": False, "file": False}},
        execution={
            "codeExecution": runs_code,
            "sandboxed": runs_code,
            "maxIterations": spec.limits.max_turns,
            **(
                {"maxExecutionTime": int(spec.limits.max_duration_s * 1000)}
                if spec.limits.max_duration_s is not None
                else {}
            ),
        },
        human_in_the_loop={
            "supported": True,
            "approvals": True,
            "interventions": True,
            "feedback": False,
            "interrupts": True,
            "approveWithEdits": True,
        },
        custom={
            "godwit": {"connect": True, "onDisconnect": ["continue", "stop"], "delivery": ["steer", "follow_up", "refuse"]}
        },
    )


def _subagents(spec: AgentSpec) -> dict[str, Any]:
    told = [{"name": name, **({"description": text} if text else {})} for name, text in spec.subagents.items()]
    return {"supported": bool(told), "delegation": bool(told), "handoffs": False, "subagents": told}


__all__ = ["capabilities"]
