"""Writes the four `scripted_*.json` beside this file: `python -m tests.acceptance.recordings.make_recordings`.

They have the shape of recordings, and are none: a person wrote this conversation down once for each wire format, as the
provider's documentation describes the wire, so that all four are proven where real recordings are absent. In each the
model thinks (signed, where the wire has signatures), says a sentence, calls two tools at once, answers, and answers a
second prompt. Requests are written here as well, by hand and not by our adapters: they are what a session must send.
"""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent
SYSTEM = "Answer in one sentence."
PROMPT = "Is it warmer in Oslo or in Lima?"
THOUGHT = ["Two cities, ", "so I look at both."]
SAYS = ["I will look ", "at both cities."]
CALLS = [("Oslo", "4 C, rain"), ("Lima", "19 C, clear")]
ANSWER = ["Lima is warmer: ", "19 C against 4 C ", "in Oslo."]
AGAIN = "And in Fahrenheit?"
LAST = ["That is 66 F ", "against 39 F."]
SIGNATURE = base64.b64encode(b"scripted proof that this thought is the model's own").decode()
TOOL = "weather"
TOLD = "The weather of a city, now."
SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {"city": {"type": "string"}},
    "required": ["city"],
    "additionalProperties": False,
}


def halves(city: str) -> list[str]:
    """A call's arguments in two pieces, cut within the value."""
    text = json.dumps({"city": city})
    return [text[:-4], text[-4:]]


def stream(events: list[dict[str, Any]], *, named: bool = False, done: bool = False) -> str:
    out = [(f"event: {e['type']}\n" if named else "") + f"data: {json.dumps(e)}\n\n" for e in events]
    return "".join(out) + ("data: [DONE]\n\n" if done else "")


def recording(host: str, path: str, bodies: list[dict[str, Any]], streams: list[str]) -> dict[str, Any]:
    return {
        "source": "Scripted by make_recordings.py beside this file; no provider said this.",
        "licence": "Apache-2.0",
        "exchanges": [
            {
                "request": {"method": "POST", "host": host, "path": path, "body": body},
                "response": {"status": 200, "content_type": "text/event-stream; charset=utf-8", "body": text},
            }
            for body, text in zip(bodies, streams, strict=True)
        ],
    }


# --- Anthropic messages ---------------------------------------------------------------------------------------------


def anthropic() -> dict[str, Any]:
    def message(number: int, blocks: list[tuple[dict[str, Any], list[dict[str, Any]]]], stop: str) -> str:
        start: dict[str, Any] = {
            "id": f"msg_scripted_{number}",
            "type": "message",
            "role": "assistant",
            "model": "claude-sonnet-4-5",
            "content": [],
            "stop_reason": None,
            "stop_sequence": None,
            "usage": {"input_tokens": 200, "output_tokens": 1},
        }
        events: list[dict[str, Any]] = [{"type": "message_start", "message": start}]
        for index, (block, deltas) in enumerate(blocks):
            events.append({"type": "content_block_start", "index": index, "content_block": block})
            events += [{"type": "content_block_delta", "index": index, "delta": d} for d in deltas]
            events.append({"type": "content_block_stop", "index": index})
        delta = {"stop_reason": stop, "stop_sequence": None}
        events.insert(2, {"type": "ping"})
        events.append({"type": "message_delta", "delta": delta, "usage": {"input_tokens": 200, "output_tokens": 60}})
        events.append({"type": "message_stop"})
        return stream(events, named=True)

    def text(pieces: list[str]) -> tuple[dict[str, Any], list[dict[str, Any]]]:
        return {"type": "text", "text": ""}, [{"type": "text_delta", "text": p} for p in pieces]

    thinking = {"type": "thinking", "thinking": "", "signature": ""}
    thought: list[dict[str, Any]] = [{"type": "thinking_delta", "thinking": p} for p in THOUGHT]
    thought.append({"type": "signature_delta", "signature": SIGNATURE})
    calls = [
        (
            {"type": "tool_use", "id": f"toolu_scripted_{city}", "name": TOOL, "input": {}},
            [{"type": "input_json_delta", "partial_json": p} for p in ["", *halves(city)]],
        )
        for city, _ in CALLS
    ]
    streams = [
        message(1, [(thinking, thought), text(SAYS), *calls], "tool_use"),
        message(2, [text(ANSWER)], "end_turn"),
        message(3, [text(LAST)], "end_turn"),
    ]
    first: list[dict[str, Any]] = [{"role": "user", "content": [{"type": "text", "text": PROMPT}]}]
    uses = [{"type": "tool_use", "id": f"toolu_scripted_{city}", "name": TOOL, "input": {"city": city}} for city, _ in CALLS]
    results = [
        {"type": "tool_result", "tool_use_id": f"toolu_scripted_{city}", "content": [{"type": "text", "text": r}]}
        for city, r in CALLS
    ]
    own: list[dict[str, Any]] = [{"type": "thinking", "thinking": "".join(THOUGHT), "signature": SIGNATURE}]
    own += [{"type": "text", "text": "".join(SAYS)}, *uses]
    second = [*first, {"role": "assistant", "content": own}, {"role": "user", "content": results}]
    third = [
        *second,
        {"role": "assistant", "content": [{"type": "text", "text": "".join(ANSWER)}]},
        {"role": "user", "content": [{"type": "text", "text": AGAIN}]},
    ]
    bodies = [
        {
            "model": "claude-sonnet-4-5",
            "max_tokens": 4096,
            "stream": True,
            "system": SYSTEM,
            "thinking": {"type": "enabled", "budget_tokens": 1024},
            "messages": messages,
            "tools": [{"name": TOOL, "description": TOLD, "input_schema": SCHEMA}],
        }
        for messages in (first, second, third)
    ]
    return recording("api.anthropic.com", "/v1/messages", bodies, streams)


# --- OpenAI chat completions ----------------------------------------------------------------------------------------


def chat() -> dict[str, Any]:
    def completion(number: int, deltas: list[dict[str, Any]], stop: str) -> str:
        head = {
            "id": f"chatcmpl-scripted-{number}",
            "object": "chat.completion.chunk",
            "created": 1_760_000_000,
            "model": "gpt-4o",
        }
        first = {"role": "assistant", "content": ""}
        events: list[dict[str, Any]] = [
            {**head, "choices": [{"index": 0, "delta": d, "finish_reason": None}]} for d in (first, *deltas)
        ]
        events.append({**head, "choices": [{"index": 0, "delta": {}, "finish_reason": stop}]})
        events.append({**head, "choices": [], "usage": {"prompt_tokens": 200, "completion_tokens": 60, "total_tokens": 260}})
        return stream(events, done=True)

    def pieces(index: int, city: str) -> list[dict[str, Any]]:
        begun = {"index": index, "id": f"call_scripted_{city}", "type": "function"}
        parts = [{**begun, "function": {"name": TOOL, "arguments": ""}}]
        parts += [{"index": index, "function": {"arguments": p}} for p in halves(city)]
        return [{"tool_calls": [p]} for p in parts]

    deltas: list[dict[str, Any]] = [{"reasoning_content": p} for p in THOUGHT]
    deltas += [{"content": p} for p in SAYS]
    for index, (city, _) in enumerate(CALLS):
        deltas += pieces(index, city)
    streams = [
        completion(1, deltas, "tool_calls"),
        completion(2, [{"content": p} for p in ANSWER], "stop"),
        completion(3, [{"content": p} for p in LAST], "stop"),
    ]
    first: list[dict[str, Any]] = [{"role": "system", "content": SYSTEM}, {"role": "user", "content": PROMPT}]
    calls = [
        {
            "id": f"call_scripted_{city}",
            "type": "function",
            "function": {"name": TOOL, "arguments": json.dumps({"city": city})},
        }
        for city, _ in CALLS
    ]
    second = [*first, {"role": "assistant", "content": "".join(SAYS), "tool_calls": calls}]
    second += [{"role": "tool", "tool_call_id": f"call_scripted_{city}", "content": r} for city, r in CALLS]
    third = [*second, {"role": "assistant", "content": "".join(ANSWER)}, {"role": "user", "content": AGAIN}]
    bodies = [
        {
            "model": "gpt-4o",
            "stream": True,
            "stream_options": {"include_usage": True},
            "messages": messages,
            "tools": [{"type": "function", "function": {"name": TOOL, "description": TOLD, "parameters": SCHEMA}}],
        }
        for messages in (first, second, third)
    ]
    return recording("api.openai.com", "/v1/chat/completions", bodies, streams)


# --- OpenAI responses -----------------------------------------------------------------------------------------------


def responses() -> dict[str, Any]:
    def response(number: int, items: list[tuple[list[dict[str, Any]], dict[str, Any]]]) -> str:
        head: dict[str, Any] = {
            "id": f"resp_scripted_{number}",
            "object": "response",
            "created_at": 1_760_000_000,
            "model": "gpt-5",
            "status": "in_progress",
            "error": None,
            "incomplete_details": None,
            "instructions": SYSTEM,
            "metadata": {},
            "output": [],
            "parallel_tool_calls": True,
            "temperature": 1.0,
            "tool_choice": "auto",
            "tools": [],
            "top_p": 1.0,
            "usage": None,
        }
        events: list[dict[str, Any]] = [{"type": "response.created", "response": head}]
        for index, (parts, item) in enumerate(items):
            events += [{**e, "output_index": index} for e in parts]
            events.append({"type": "response.output_item.done", "output_index": index, "item": item})
        usage = {
            "input_tokens": 200,
            "input_tokens_details": {"cached_tokens": 0},
            "output_tokens": 60,
            "output_tokens_details": {"reasoning_tokens": 20},
            "total_tokens": 260,
        }
        ended = {**head, "status": "completed", "output": [item for _, item in items], "usage": usage}
        events.append({"type": "response.completed", "response": ended})
        return stream([{**e, "sequence_number": n} for n, e in enumerate(events)], named=True)

    def added(item: dict[str, Any]) -> dict[str, Any]:
        return {"type": "response.output_item.added", "item": {**item, "status": "in_progress"}}

    def text(number: int, pieces: list[str]) -> tuple[list[dict[str, Any]], dict[str, Any]]:
        own = f"msg_scripted_{number}"
        place: dict[str, Any] = {"item_id": own, "content_index": 0}
        item: dict[str, Any] = {"type": "message", "id": own, "role": "assistant", "status": "completed", "content": []}
        part: dict[str, Any] = {"type": "output_text", "text": "", "annotations": []}
        events = [added(item), {"type": "response.content_part.added", **place, "part": part}]
        events += [{"type": "response.output_text.delta", **place, "delta": p, "logprobs": []} for p in pieces]
        whole = {**part, "text": "".join(pieces)}
        events.append({"type": "response.output_text.done", **place, "text": whole["text"], "logprobs": []})
        events.append({"type": "response.content_part.done", **place, "part": whole})
        return events, {**item, "content": [whole]}

    def reasoning() -> tuple[list[dict[str, Any]], dict[str, Any]]:
        own = "rs_scripted_1"
        place: dict[str, Any] = {"item_id": own, "summary_index": 0}
        part = {"type": "summary_text", "text": ""}
        whole = {**part, "text": "".join(THOUGHT)}
        item: dict[str, Any] = {"type": "reasoning", "id": own, "summary": []}
        events = [{"type": "response.output_item.added", "item": item}]
        events.append({"type": "response.reasoning_summary_part.added", **place, "part": part})
        events += [{"type": "response.reasoning_summary_text.delta", **place, "delta": p} for p in THOUGHT]
        events.append({"type": "response.reasoning_summary_text.done", **place, "text": whole["text"]})
        events.append({"type": "response.reasoning_summary_part.done", **place, "part": whole})
        return events, {**item, "summary": [whole], "encrypted_content": SIGNATURE}

    def call(city: str) -> tuple[list[dict[str, Any]], dict[str, Any]]:
        own = f"fc_scripted_{city}"
        item = {"type": "function_call", "id": own, "call_id": f"call_responses_{city}", "name": TOOL, "arguments": ""}
        whole = json.dumps({"city": city})
        delta = {"type": "response.function_call_arguments.delta", "item_id": own}
        events = [added(item), *({**delta, "delta": p} for p in halves(city))]
        events.append({"type": "response.function_call_arguments.done", "item_id": own, "name": TOOL, "arguments": whole})
        return events, {**item, "arguments": whole, "status": "completed"}

    streams = [
        response(1, [reasoning(), text(1, SAYS), *(call(city) for city, _ in CALLS)]),
        response(2, [text(2, ANSWER)]),
        response(3, [text(3, LAST)]),
    ]
    first: list[dict[str, Any]] = [{"role": "user", "content": PROMPT}]
    second = [
        *first,
        {
            "type": "reasoning",
            "id": "rs_scripted_1",
            "summary": [{"type": "summary_text", "text": "".join(THOUGHT)}],
            "encrypted_content": SIGNATURE,
        },
        {"role": "assistant", "content": "".join(SAYS)},
        *(
            {
                "type": "function_call",
                "call_id": f"call_responses_{city}",
                "name": TOOL,
                "arguments": json.dumps({"city": city}),
            }
            for city, _ in CALLS
        ),
        *({"type": "function_call_output", "call_id": f"call_responses_{city}", "output": r} for city, r in CALLS),
    ]
    third = [*second, {"role": "assistant", "content": "".join(ANSWER)}, {"role": "user", "content": AGAIN}]
    bodies = [
        {
            "model": "gpt-5",
            "stream": True,
            "instructions": SYSTEM,
            "input": items,
            "include": ["reasoning.encrypted_content"],
            "tools": [{"type": "function", "name": TOOL, "description": TOLD, "parameters": SCHEMA}],
        }
        for items in (first, second, third)
    ]
    return recording("api.openai.com", "/v1/responses", bodies, streams)


# --- Google ---------------------------------------------------------------------------------------------------------


def google() -> dict[str, Any]:
    def answer(number: int, parts: list[dict[str, Any]]) -> str:
        events: list[dict[str, Any]] = []
        for place, part in enumerate(parts):
            candidate: dict[str, Any] = {"content": {"parts": [part], "role": "model"}, "index": 0}
            if place == len(parts) - 1:
                candidate["finishReason"] = "STOP"
            usage = {"promptTokenCount": 200, "candidatesTokenCount": 40, "totalTokenCount": 260, "thoughtsTokenCount": 20}
            events.append(
                {
                    "candidates": [candidate],
                    "usageMetadata": usage,
                    "modelVersion": "gemini-3-pro-preview",
                    "responseId": f"scripted-{number}",
                }
            )
        return stream(events)

    def call(city: str, n: int) -> dict[str, Any]:
        part: dict[str, Any] = {"functionCall": {"name": TOOL, "args": {"city": city}}}
        # Of parallel calls the first alone carries the signature.
        return {**part, "thoughtSignature": SIGNATURE} if n == 0 else part

    calls = [call(city, n) for n, (city, _) in enumerate(CALLS)]
    streams = [
        answer(1, [*({"text": p, "thought": True} for p in THOUGHT), *({"text": p} for p in SAYS), *calls]),
        answer(2, [{"text": p} for p in ANSWER]),
        answer(3, [{"text": p} for p in LAST]),
    ]
    first: list[dict[str, Any]] = [{"role": "user", "parts": [{"text": PROMPT}]}]
    own = [{"text": "".join(THOUGHT), "thought": True}, {"text": "".join(SAYS)}, *calls]
    results = [{"functionResponse": {"name": TOOL, "response": {"return_value": r}}} for _, r in CALLS]
    second = [*first, {"role": "model", "parts": own}, {"role": "user", "parts": results}]
    third = [
        *second,
        {"role": "model", "parts": [{"text": "".join(ANSWER)}]},
        {"role": "user", "parts": [{"text": AGAIN}]},
    ]
    bodies = [
        {
            "systemInstruction": {"parts": [{"text": SYSTEM}], "role": "user"},
            "contents": contents,
            "tools": [{"functionDeclarations": [{"name": TOOL, "description": TOLD, "parameters_json_schema": SCHEMA}]}],
        }
        for contents in (first, second, third)
    ]
    path = "/v1beta/models/gemini-3-pro-preview:streamGenerateContent"
    return recording("generativelanguage.googleapis.com", path, bodies, streams)


SCRIPTED = {
    "scripted_anthropic": anthropic,
    "scripted_chat": chat,
    "scripted_google": google,
    "scripted_responses": responses,
}


def as_file(name: str) -> bytes:
    return (json.dumps(SCRIPTED[name](), indent=1, ensure_ascii=False) + "\n").encode()


if __name__ == "__main__":
    for each in SCRIPTED:
        (FOLDER / f"{each}.json").write_bytes(as_file(each))
