"""What the four formats have in common, said in each of them, and how to see it in a request of each.

A feature is what a client's body says more than a plain one, and one question to a target's body: does it say
so too? Only meaning is asked for, not spelling.
"""

import json

from tests.wire.saying import (
    ANTHROPIC,
    ASK,
    CHAT,
    COMPLETIONS,
    FORMATS,
    GEMINI,
    GEMINI_SCHEMA,
    JSON_SCHEMA,
    PDF,
    PICTURE,
    PNG,
    RESPONSES,
    SCHEMA,
    SIGNATURES,
    WAV,
    Feature,
    counts_results,
    equals,
    holds,
    never,
    say_called,
    say_config,
    say_content,
    say_signed,
    say_tools,
    say_with_tools,
)

FEATURES: tuple[Feature, ...] = (
    Feature(
        "system prompt",
        {
            CHAT: {"messages": [{"role": "system", "content": "Be a pirate."},
                                {"role": "user", "content": ASK}]},
            RESPONSES: {"instructions": "Be a pirate."},
            ANTHROPIC: {"system": "Be a pirate."},
            GEMINI: {"systemInstruction": {"parts": [{"text": "Be a pirate."}]}},
        },
        holds("Be a pirate."),
    ),
    Feature(
        "system prompt in blocks",
        {
            CHAT: {"messages": [
                {"role": "system", "content": [{"type": "text", "text": "Be a pirate."},
                                               {"type": "text", "text": "Be brief."}]},
                {"role": "user", "content": ASK}]},
            RESPONSES: {"input": [
                {"role": "developer", "content": [{"type": "input_text", "text": "Be a pirate."},
                                                  {"type": "input_text", "text": "Be brief."}]},
                {"role": "user", "content": ASK}]},
            ANTHROPIC: {"system": [{"type": "text", "text": "Be a pirate."},
                                   {"type": "text", "text": "Be brief."}]},
            GEMINI: {"systemInstruction": {"parts": [{"text": "Be a pirate."}, {"text": "Be brief."}]}},
        },
        holds("Be brief."),
    ),
    Feature(
        "image, inline",
        {
            CHAT: say_content(CHAT, {"type": "image_url",
                                  "image_url": {"url": f"data:image/png;base64,{PNG}"}}),
            RESPONSES: say_content(RESPONSES, {"type": "input_image", "detail": "auto",
                                            "image_url": f"data:image/png;base64,{PNG}"}),
            ANTHROPIC: say_content(ANTHROPIC, {"type": "image", "source": {
                "type": "base64", "media_type": "image/png", "data": PNG}}),
            GEMINI: say_content(GEMINI, {"inlineData": {"mimeType": "image/png", "data": PNG}}),
        },
        holds(PNG),
    ),
    Feature(
        "image by address",
        {
            CHAT: say_content(CHAT, {"type": "image_url", "image_url": {"url": PICTURE}}),
            RESPONSES: say_content(RESPONSES, {"type": "input_image", "detail": "auto",
                                            "image_url": PICTURE}),
            ANTHROPIC: say_content(ANTHROPIC, {"type": "image",
                                            "source": {"type": "url", "url": PICTURE}}),
            GEMINI: say_content(GEMINI, {"fileData": {"mimeType": "image/png", "fileUri": PICTURE}}),
        },
        holds(PICTURE),
    ),
    Feature(
        "document, inline",
        {
            CHAT: say_content(CHAT, {"type": "file", "file": {
                "filename": "a.pdf", "file_data": f"data:application/pdf;base64,{PDF}"}}),
            RESPONSES: say_content(RESPONSES, {"type": "input_file", "filename": "a.pdf",
                                            "file_data": f"data:application/pdf;base64,{PDF}"}),
            ANTHROPIC: say_content(ANTHROPIC, {"type": "document", "source": {
                "type": "base64", "media_type": "application/pdf", "data": PDF}}),
            GEMINI: say_content(GEMINI, {"inlineData": {"mimeType": "application/pdf", "data": PDF}}),
        },
        holds(PDF),
    ),
    Feature(
        "audio, inline",
        {
            CHAT: say_content(CHAT, {"type": "input_audio",
                                  "input_audio": {"data": WAV, "format": "wav"}}),
            GEMINI: say_content(GEMINI, {"inlineData": {"mimeType": "audio/wav", "data": WAV}}),
        },
        holds(WAV),
    ),
    Feature("tools", {one: say_tools(one) for one in FORMATS}, holds("get_weather")),
    Feature(
        "strict tools",
        {one: say_tools(one, is_strict=True) for one in (CHAT, RESPONSES, ANTHROPIC)},
        {
            CHAT: equals(("tools", 0, "function", "strict"), value=True),
            RESPONSES: equals(("tools", 0, "strict"), value=True),
            ANTHROPIC: equals(("tools", 0, "strict"), value=True),
            GEMINI: equals(("toolConfig", "functionCallingConfig", "mode"), "VALIDATED"),
        },
    ),
    Feature(
        "a tool has to be called",
        {
            CHAT: say_with_tools(CHAT, tool_choice="required"),
            RESPONSES: say_with_tools(RESPONSES, tool_choice="required"),
            ANTHROPIC: say_with_tools(ANTHROPIC, tool_choice={"type": "any"}),
            GEMINI: say_with_tools(GEMINI, toolConfig={"functionCallingConfig": {"mode": "ANY"}}),
        },
        {
            CHAT: equals(("tool_choice",), "required"),
            RESPONSES: equals(("tool_choice",), "required"),
            ANTHROPIC: equals(("tool_choice", "type"), "any"),
            GEMINI: equals(("toolConfig", "functionCallingConfig", "mode"), "ANY"),
        },
    ),
    Feature(
        "one tool has to be called",
        {
            CHAT: say_with_tools(CHAT, tool_choice={"type": "function",
                                                 "function": {"name": "get_weather"}}),
            RESPONSES: say_with_tools(RESPONSES, tool_choice={"type": "function",
                                                           "name": "get_weather"}),
            ANTHROPIC: say_with_tools(ANTHROPIC, tool_choice={"type": "tool", "name": "get_weather"}),
            GEMINI: say_with_tools(GEMINI, toolConfig={"functionCallingConfig": {
                "mode": "ANY", "allowedFunctionNames": ["get_weather"]}}),
        },
        {
            CHAT: equals(("tool_choice", "function", "name"), "get_weather"),
            RESPONSES: equals(("tool_choice", "name"), "get_weather"),
            ANTHROPIC: equals(("tool_choice", "name"), "get_weather"),
            GEMINI: equals(("toolConfig", "functionCallingConfig", "allowedFunctionNames", 0),
                           "get_weather"),
        },
    ),
    Feature(
        "no tool may be called",
        {
            CHAT: say_with_tools(CHAT, tool_choice="none"),
            RESPONSES: say_with_tools(RESPONSES, tool_choice="none"),
            ANTHROPIC: say_with_tools(ANTHROPIC, tool_choice={"type": "none"}),
            GEMINI: say_with_tools(GEMINI, toolConfig={"functionCallingConfig": {"mode": "NONE"}}),
        },
        {
            CHAT: equals(("tool_choice",), "none"),
            RESPONSES: equals(("tool_choice",), "none"),
            ANTHROPIC: equals(("tool_choice", "type"), "none"),
            GEMINI: equals(("toolConfig", "functionCallingConfig", "mode"), "NONE"),
        },
    ),
    Feature(
        "one call at a time",
        {
            CHAT: say_with_tools(CHAT, parallel_tool_calls=False),
            RESPONSES: say_with_tools(RESPONSES, parallel_tool_calls=False),
            ANTHROPIC: say_with_tools(ANTHROPIC, tool_choice={
                "type": "auto", "disable_parallel_tool_use": True}),
        },
        {
            CHAT: equals(("parallel_tool_calls",), value=False),
            RESPONSES: equals(("parallel_tool_calls",), value=False),
            ANTHROPIC: equals(("tool_choice", "disable_parallel_tool_use"), value=True),
           GEMINI: never},
    ),
    Feature("parallel calls and results", {one: say_called(one) for one in FORMATS}, counts_results(2)),
    Feature(
        "a tool's error",
        {one: say_called(one, result="no such city", is_error=True) for one in (ANTHROPIC, GEMINI)},
        {
            CHAT: lambda body: "error" in json.dumps(body["messages"]).lower(),
            RESPONSES: lambda body: "error" in json.dumps(body["input"]).lower(),
            ANTHROPIC: lambda body: '"is_error": true' in json.dumps(body),
            GEMINI: lambda body: '"error"' in json.dumps(body),
        },
    ),
    Feature(
        "JSON by a schema",
        {
            CHAT: {"response_format": {"type": "json_schema", "json_schema": JSON_SCHEMA}},
            RESPONSES: {"text": {"format": {"type": "json_schema", **JSON_SCHEMA}}},
            ANTHROPIC: {"output_config": {"format": {"type": "json_schema", "schema": SCHEMA}}},
            GEMINI: say_config(**GEMINI_SCHEMA),
        },
        {
            CHAT: equals(("response_format", "json_schema", "schema"), SCHEMA),
            RESPONSES: equals(("text", "format", "schema"), SCHEMA),
            ANTHROPIC: equals(("output_config", "format", "schema"), SCHEMA),
            GEMINI: equals(("generationConfig", "responseJsonSchema"), SCHEMA),
        },
    ),
    Feature(
        "any JSON",
        {
            CHAT: {"response_format": {"type": "json_object"}},
            RESPONSES: {"text": {"format": {"type": "json_object"}}},
            GEMINI: say_config(responseMimeType="application/json"),
        },
        {
            CHAT: equals(("response_format", "type"), "json_object"),
            RESPONSES: equals(("text", "format", "type"), "json_object"),
            ANTHROPIC: lambda body: bool(body.get("tools") or body.get("output_config")),
            GEMINI: equals(("generationConfig", "responseMimeType"), "application/json"),
        },
    ),
    Feature(
        "stop sequences",
        {
            CHAT: {"stop": ["END"]},
            COMPLETIONS: {"stop": ["END"]},
            ANTHROPIC: {"stop_sequences": ["END"]},
            GEMINI: say_config(stopSequences=["END"]),
        },
        {
            CHAT: equals(("stop",), ["END"]),
            COMPLETIONS: equals(("stop",), ["END"]),
            RESPONSES: never,
            ANTHROPIC: equals(("stop_sequences",), ["END"]),
            GEMINI: equals(("generationConfig", "stopSequences"), ["END"]),
        },
    ),
    Feature(
        "output cap",
        {
            CHAT: {"max_completion_tokens": 777},
            COMPLETIONS: {"max_tokens": 777},
            RESPONSES: {"max_output_tokens": 777},
            ANTHROPIC: {"max_tokens": 777},
            GEMINI: say_config(maxOutputTokens=777),
        },
        holds("777"),
    ),
    Feature(
        "temperature",
        {
            CHAT: {"temperature": 0.25},
            COMPLETIONS: {"temperature": 0.25},
            RESPONSES: {"temperature": 0.25},
            ANTHROPIC: {"temperature": 0.25},
            GEMINI: say_config(temperature=0.25),
        },
        holds("0.25"),
    ),
    Feature(
        "top_p",
        {
            CHAT: {"top_p": 0.75},
            COMPLETIONS: {"top_p": 0.75},
            RESPONSES: {"top_p": 0.75},
            ANTHROPIC: {"top_p": 0.75},
            GEMINI: say_config(topP=0.75),
        },
        holds("0.75"),
    ),
    Feature(
        "top_k",
        {CHAT: {"top_k": 41}, COMPLETIONS: {"top_k": 41}, ANTHROPIC: {"top_k": 41}, GEMINI: say_config(topK=41)},
        holds("41"),
    ),
    Feature(
        "seed",
        {CHAT: {"seed": 90210}, COMPLETIONS: {"seed": 90210}, GEMINI: say_config(seed=90210)},
        holds("90210"),
    ),
    Feature(
        "penalties",
        {CHAT: {"presence_penalty": 0.375}, COMPLETIONS: {"presence_penalty": 0.375},
         GEMINI: say_config(presencePenalty=0.375)},
        holds("0.375"),
    ),
    Feature(
        "several answers",
        {CHAT: {"n": 2}, COMPLETIONS: {"n": 2}, GEMINI: say_config(candidateCount=2)},
        {
            CHAT: equals(("n",), 2),
            COMPLETIONS: equals(("n",), 2),
            RESPONSES: never,
            ANTHROPIC: never,
            GEMINI: equals(("generationConfig", "candidateCount"), 2),
        },
    ),
    Feature(
        "reasoning effort",
        {
            CHAT: {"reasoning_effort": "low"},
            RESPONSES: {"reasoning": {"effort": "low"}},
            ANTHROPIC: {"thinking": {"type": "adaptive"}, "output_config": {"effort": "low"}},
            GEMINI: say_config(thinkingConfig={"thinkingLevel": "low"}),
        },
        {
            CHAT: equals(("reasoning_effort",), "low"),
            RESPONSES: equals(("reasoning", "effort"), "low"),
            ANTHROPIC: lambda body: "thinking" in body,
            GEMINI: lambda body: "thinkingConfig" in body.get("generationConfig", {}),
        },
    ),
    Feature(
        "thinking budget",
        {
            ANTHROPIC: {"thinking": {"type": "enabled", "budget_tokens": 2048}},
            GEMINI: say_config(thinkingConfig={"thinkingBudget": 2048, "includeThoughts": True}),
        },
        {
            CHAT: lambda body: "reasoning_effort" in body,
            RESPONSES: lambda body: "reasoning" in body,
            ANTHROPIC: lambda body: "thinking" in body,
            GEMINI: lambda body: "thinkingConfig" in body.get("generationConfig", {}),
        },
    ),
    Feature(
        "signatures, to who signed",
        {one: say_signed(one) for one in FORMATS},
        {one: holds(SIGNATURES.get(one, "mg1."))[one] for one in FORMATS},
    ),
    Feature(
        "end user's id",
        {
            CHAT: {"user": "user-4711"},
            COMPLETIONS: {"user": "user-4711"},
            RESPONSES: {"user": "user-4711"},
            ANTHROPIC: {"metadata": {"user_id": "user-4711"}},
        },
        holds("user-4711"),
    ),
    Feature(
        "cache hints",
        {ANTHROPIC: {"system": [{"type": "text", "text": "Be a pirate.", "cache_control": {"type": "ephemeral"}}]}},
        {CHAT: never, RESPONSES: never, GEMINI: never, ANTHROPIC: lambda body: "cache_control" in json.dumps(body)},
    ),
    Feature(
        "log probabilities",
        {CHAT: {"logprobs": True, "top_logprobs": 3}, COMPLETIONS: {"logprobs": 3},
         RESPONSES: {"top_logprobs": 3, "include": ["message.output_text.logprobs"]},
         GEMINI: say_config(responseLogprobs=True, logprobs=3)},
        holds("logprobs"),
    ),
    Feature(
        "a search by the provider",
        {
            RESPONSES: {"tools": [{"type": "web_search"}]},
            ANTHROPIC: {"tools": [{"type": "web_search_20250305", "name": "web_search"}]},
            GEMINI: {"tools": [{"googleSearch": {}}]},
        },
        dict.fromkeys(FORMATS, never),
    ),
)  # fmt: skip
