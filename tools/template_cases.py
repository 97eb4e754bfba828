"""Conversations and options that every chat template of the tests is rendered with. Data only."""

from __future__ import annotations

from typing import Any

NOW = (2025, 3, 9, 14, 5, 6)
"""What `strftime_now` reads while goldens are written and compared."""
SPECIAL_TOKENS = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>", "pad_token": "<pad>"}

Message = dict[str, Any]


def _user(content: Any) -> Message:
    return {"role": "user", "content": content}


def _assistant(content: Any, **more: Any) -> Message:
    return {"role": "assistant", "content": content, **more}


def _call(call_id: str, name: str, arguments: Any) -> dict[str, Any]:
    return {"id": call_id, "type": "function", "function": {"name": name, "arguments": arguments}}


def _result(call_id: str, content: Any) -> Message:
    return {"role": "tool", "tool_call_id": call_id, "content": content}


SYSTEM: Message = {"role": "system", "content": "Be brief. Answer in <b>German</b>. "}
WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "Today's weather & wind in a city, 'quoted' <tags>.",
        "parameters": {
            "type": "object",
            "properties": {
                "city": {"type": "string", "description": "Name, such as Köln"},
                "unit": {"type": "string", "enum": ["celsius", "fahrenheit"], "default": "celsius"},
                "days": {"type": ["integer", "null"]},
                "places": {"type": "array", "items": {"type": "object", "properties": {"lat": {"type": "number"}}}},
                "when": {"oneOf": [{"type": "string"}, {"type": "array", "items": {"type": "integer"}}]},
            },
            "required": ["city"],
        },
    },
}
CLOCK = {"type": "function", "function": {"name": "clock", "description": "What time is it?", "parameters": {}}}
QUESTION = _user("How is the weather in Köln?")
CALL = _assistant(None, tool_calls=[_call("abcdefghi", "get_weather", {"city": "Köln", "days": 2, "exact": True})])
ROUND = [QUESTION, CALL, _result("abcdefghi", '{"sky": "<clear>"}')]
PAIR = _assistant(
    "Let me look.",
    tool_calls=[_call("abcdefghi", "get_weather", {"city": "Köln"}), _call("jklmnopqr", "clock", {})],
)

CASES: dict[str, dict[str, Any]] = {
    "one question": {"messages": [_user("Hi")]},
    "no prompt for an answer": {"messages": [_user("Hi"), _assistant("Hello")], "add_generation_prompt": False},
    "a system message": {"messages": [SYSTEM, _user(" Hi\n")]},
    "several turns": {"messages": [SYSTEM, _user("1+1?"), _assistant("2 "), _user("And 🙂 + ü?\n\nQuick!")]},
    "an empty message": {"messages": [_user("")]},
    "two questions in a row": {"messages": [_user("a"), _user("b")]},
    "an answer first": {"messages": [_assistant("a"), _user("b")]},
    "a late system message": {"messages": [_user("a"), _assistant("b"), SYSTEM, _user("c")]},
    "an unknown role": {"messages": [{"role": "wizard", "content": "abracadabra"}, _user("b")]},
    "a developer message": {"messages": [{"role": "developer", "content": "Obey."}, _user("b")]},
    "content in parts": {"messages": [_user([{"type": "text", "text": "Hi "}, {"type": "text", "text": "there"}])]},
    "one tool": {"messages": [QUESTION], "tools": [WEATHER]},
    "tools and a system message": {"messages": [SYSTEM, QUESTION], "tools": [WEATHER, CLOCK]},
    "no tools in a list": {"messages": [QUESTION], "tools": []},
    "tools outside of the user's message": {
        "messages": [SYSTEM, QUESTION],
        "tools": [WEATHER],
        "tools_in_user_message": False,
    },
    "a call and its result": {"messages": ROUND, "tools": [WEATHER]},
    "a call, its result and an answer": {"messages": [*ROUND, _assistant("Clear."), _user("Thanks")]},
    "two calls, two results": {
        "messages": [QUESTION, PAIR, _result("abcdefghi", "clear"), _result("jklmnopqr", "noon")],
        "tools": [WEATHER, CLOCK],
    },
    "arguments as text": {
        "messages": [QUESTION, _assistant("", tool_calls=[_call("abcdefghi", "clock", '{"zone": "CET"}')])]
    },
    "a short call id": {"messages": [QUESTION, _assistant("", tool_calls=[_call("1", "clock", {})])]},
    "a result in parts": {"messages": [QUESTION, CALL, _result("abcdefghi", [{"type": "text", "text": "clear"}])]},
    "a result without a call": {"messages": [QUESTION, _result("abcdefghi", "clear")]},
    "reasoning in its field": {
        "messages": [_user("1+1?"), _assistant("2", reasoning_content="\nTwo, surely.\n"), _user("2+2?")]
    },
    "reasoning under another name": {"messages": [_user("1+1?"), _assistant("2", reasoning="Two, surely.")]},
    "reasoning before a call": {
        "messages": [QUESTION, {**CALL, "thinking": "I must look."}, _result("abcdefghi", "clear")]
    },
    "reasoning in the text": {
        "messages": [_user("1+1?"), _assistant("<think>\nTwo.\n</think>\n\n2"), _user("2+2?")],
        "add_generation_prompt": False,
    },
    "thinking on": {"messages": [_user("Hi")], "enable_thinking": True, "thinking": True, "reasoning_effort": "high"},
    "thinking off": {"messages": [_user("Hi")], "enable_thinking": False, "thinking": False},
    "thinking off in the text": {"messages": [{"role": "system", "content": "Be kind. /no_think"}, _user("Hi")]},
    "documents": {
        "messages": [_user("Who?")],
        "documents": [{"doc_id": 7, "title": "A", "text": "It was <A>."}, {"title": "B", "text": "No, B."}],
        "controls": {"citations": True, "length": "short"},
    },
    "a date of its own": {"messages": [_user("Hi")], "date_string": "1 April 2030"},
    "an open answer": {"messages": [_user("Tell."), _assistant("Once upon")], "continue_final_message": True},
    "an open answer with a space": {"messages": [_user("Tell."), _assistant("Once ")], "continue_final_message": True},
}
"""Name -> `messages`, `tools` and so on; what else is there is a further variable of the template."""
