"""Gemini's JSON, as real clients send it, and the conversation it means."""

import base64
import json

import msgspec
import pytest

from kiro.conversation.messages import (
    AllowedTools,
    AnyTool,
    AutoChoice,
    DocumentFile,
    DocumentLink,
    Image,
    ImageLink,
    NoTools,
    OutputFormat,
    RedactedThinking,
    Text,
    Thinking,
    ThinkingWish,
    Tool,
    WebSearch,
)
from kiro.errors import InvalidRequest, UnknownRoute
from kiro.protocols.gemini.request import parse, parse_count
from kiro.protocols.gemini.signatures import pack, pack_redacted
from support.conversations import assistant, call, result, user

HI = {"role": "user", "parts": [{"text": "Hi"}]}
PATH = {"model": "m", "verb": "generateContent"}
F = {"functionDeclarations": [{"name": "f"}]}


def ask(path=PATH, headers=None, **members):
    return parse(json.dumps({"contents": [HI], **members}).encode(), headers or {}, path)


def conversation(**members):
    return ask(**members).conversation


def turns(*contents):
    return conversation(contents=list(contents)).messages


def user_parts(*parts):
    return turns({"role": "user", "parts": list(parts)})[0].parts


def model_parts(*parts):
    return turns({"role": "model", "parts": list(parts)})[0].parts


def config(**members):
    return ask(generationConfig=members)


class TestPath:
    def test_it_names_the_model_and_what_to_do(self):
        asked = ask()
        assert (asked.stream, asked.notes, asked.thoughts) == (False, (), False)
        assert asked.conversation.model == "m"
        assert asked.conversation.messages == (user("Hi"),)

    @pytest.mark.parametrize(("alt", "sse"), [({"alt": "sse"}, True), ({}, False), ({"alt": "json"}, False)])
    def test_a_stream_is_of_events_or_one_array(self, alt, sse):
        asked = ask({"model": "models/m", "verb": "streamGenerateContent", **alt})
        assert (asked.stream, asked.sse, asked.conversation.model) == (True, sse, "m")

    def test_other_verbs_are_not_served(self):
        with pytest.raises(UnknownRoute):
            ask({"model": "m", "verb": "embedContent"})

    def test_without_a_path_the_body_may_name_the_model(self):
        assert ask({}, model="models/x").conversation.model == "x"


SOUND = {"inlineData": {"mimeType": "audio/wav", "data": "AA=="}}
NAMES = "toolConfig.functionCallingConfig.allowedFunctionNames"
REFUSED = {
    "no contents": ({"contents": []}, "contents"),
    "several candidates": ({"generationConfig": {"candidateCount": 2}}, "generationConfig.candidateCount"),
    "no room for an answer": ({"generationConfig": {"maxOutputTokens": 0}}, "generationConfig.maxOutputTokens"),
    "a picture as the answer": (
        {"generationConfig": {"response_modalities": ["TEXT", "IMAGE"]}},
        "generationConfig.responseModalities",
    ),
    "sound": ({"contents": [HI, {"parts": [{"text": "a"}, SOUND]}]}, "contents[1].parts[1].inlineData"),
    "an undeclared function": (
        {"toolConfig": {"functionCallingConfig": {"mode": "ANY", "allowedFunctionNames": ["x"]}}},
        NAMES,
    ),
    "a wrong type": ({"contents": [{"parts": [{"text": 5}]}]}, "contents[0].parts[0].text"),
}


@pytest.mark.parametrize(("members", "param"), REFUSED.values(), ids=REFUSED)
def test_refused(members, param):
    with pytest.raises(InvalidRequest) as refused:
        ask(**members)
    assert (refused.value.param or "").endswith(param)


def test_what_is_cached_elsewhere_is_not_found():
    with pytest.raises(UnknownRoute):
        ask(cachedContent="cachedContents/1")


def test_unused_members_are_skipped():
    assert ask(
        safetySettings=[{"category": "X", "threshold": "OFF"}], labels={}, brandNew=1, serviceTier="x",
        generationConfig={"temperature": 0.1, "topK": 3, "topP": 1, "seed": 1, "candidateCount": 1},
    ).notes == ()  # fmt: skip


class TestCounting:
    def test_contents(self):
        assert parse_count(b'{"contents":[{"parts":[{"text":"a"}]}]}', {}, PATH).conversation.messages == (user("a"),)

    def test_a_whole_request(self):
        inner = {"model": "models/x", "contents": [HI], "systemInstruction": {"parts": [{"text": "S"}]}}
        for spelling in ("generateContentRequest", "generate_content_request"):
            asked = parse_count(json.dumps({spelling: inner}).encode(), {}, {**PATH, "verb": "countTokens"})
            assert asked.conversation.system == ("S",)
            assert asked.conversation.model == "m"


SYSTEMS = {
    "a content": {"parts": [{"text": "A"}, {"text": "B"}]},
    "a content with one part": {"role": "user", "parts": {"text": "A"}},
    "a part": {"text": "A"},
    "a string": "A",
    "a list": ["A", {"text": "B"}],
}


@pytest.mark.parametrize("spelling", ["systemInstruction", "system_instruction"])
@pytest.mark.parametrize("given", SYSTEMS.values(), ids=SYSTEMS)
def test_the_system_text(given, spelling):
    assert conversation(**{spelling: given}).system in (("A",), ("A", "B"))


class TestContents:
    def test_roles(self):
        said = turns({"parts": [{"text": "a"}]}, {"role": "model", "parts": [{"text": "b"}]}, {"role": "function"})
        assert said == (user("a"), assistant("b"), user())

    def test_an_answer_kept_in_chunks_is_one_text(self):
        chunks = [{"role": "model", "parts": [{"text": text}]} for text in ("Hel", "lo", "")]
        called = {"role": "model", "parts": [{"functionCall": {"id": "c", "name": "f", "args": {}}}]}
        said = turns(HI, *chunks, called, HI, HI)
        assert said == (user("Hi"), assistant("Hello", call("c", "f")), user("Hi"), user("Hi"))

    def test_thoughts_kept_in_chunks_are_signed_as_one(self):
        bare = base64.b64encode(b"kp1.f.s").decode()
        chunks = [{"role": "model", "parts": [{"text": text, "thought": True}]} for text in ("h", "m")]
        said = turns(*chunks, {"role": "model", "parts": [{"text": "a", "thoughtSignature": bare}]})
        assert said == (assistant(Thinking("hm", "kp1.f.s"), "a"),)

    def test_a_bare_string(self):
        assert conversation(contents="a").messages == (user("a"),)

    def test_a_single_content_and_a_single_part(self):
        assert conversation(contents={"parts": {"text": "a"}}).messages == (user("a"),)

    @pytest.mark.parametrize(
        ("given", "wanted"),
        [
            ({"inlineData": {"mimeType": "image/png", "data": "-_A="}}, Image("+/A=", "image/png")),
            ({"inline_data": {"mime_type": "image/png", "data": "AA=="}}, Image("AA==", "image/png")),
            (
                {"inlineData": {"mimeType": "application/pdf", "data": "JVBE", "displayName": "a.pdf"}},
                DocumentFile("a.pdf", "application/pdf", "JVBE"),
            ),
            (
                {"fileData": {"fileUri": "https://x/y.png", "mimeType": "image/png"}},
                ImageLink("https://x/y.png"),
            ),
            ({"file_data": {"file_uri": "https://x/y", "mime_type": "text/html"}}, DocumentLink(None, "https://x/y")),
            ({"fileData": {"fileUri": "files/abc", "mimeType": "application/pdf"}}, Text("[file: files/abc]")),
            ({"fileData": {"fileUri": "https://x/y", "mimeType": "video/mp4"}}, Text("[file: https://x/y]")),
            ({"executableCode": {"language": "PYTHON", "code": "1"}}, Text("```python\n1\n```")),
            ({"codeExecutionResult": {"outcome": "OUTCOME_OK", "output": "2"}}, Text("```\n2\n```")),
            ({"toolCall": {"a": 1}}, Text("(Google's tool: {\"a\": 1})")),
        ],
        ids=[
            "a picture, url-safe", "a picture in snake case", "a pdf", "a picture by address", "a document by address",
            "an uploaded file", "a film", "code", "its output", "a call of Google's",
        ],
    )  # fmt: skip
    def test_a_part(self, given, wanted):
        assert user_parts(given) == (wanted,)

    def test_parts_that_say_nothing_are_none(self):
        assert user_parts({"text": ""}, {}, {"videoMetadata": {}}) == ()


RESPONSES = {
    "an output": ({"output": "one"}, result("c", "one", name="f")),
    "an output that is no text": ({"output": [1, 2]}, result("c", "[1, 2]", name="f")),
    "an error": ({"error": "boom"}, result("c", "boom", error=True, name="f")),
    "an error beside an output": (
        {"output": "a", "error": "b"},
        result("c", '{"output": "a", "error": "b"}', error=True, name="f"),
    ),
    "no error": ({"output": "a", "error": None}, result("c", '{"output": "a", "error": null}', name="f")),
    "anything": ({"value": [1, 2]}, result("c", '{"value": [1, 2]}', name="f")),
    "a bare text": ("one", result("c", "one", name="f")),
    "nothing": (None, result("c", name="f")),
}


class TestFunctions:
    @pytest.mark.parametrize(("given", "wanted"), RESPONSES.values(), ids=RESPONSES)
    def test_a_response(self, given, wanted):
        asked = {"functionCall": {"id": "c", "name": "f", "args": {"a": 1}}}
        answer = {"functionResponse": {"id": "c", "name": "f", "response": given}}
        said = turns({"role": "model", "parts": [asked]}, {"role": "user", "parts": [answer]})
        assert said == (assistant(call("c", "f", '{"a": 1}')), user(wanted))

    def test_a_response_with_a_picture(self):
        blob = {"inlineData": {"mimeType": "image/png", "data": "AA=="}}
        answer = {"functionResponse": {"name": "f", "response": {"output": "see"}, "parts": [blob]}}
        assert user_parts(answer) == (result("", "see", Image("AA==", "image/png"), name="f"),)

    def test_an_id_that_no_call_has_goes_by_name(self):
        asked = {"function_call": {"name": "f"}}
        answer = {"function_response": {"id": "made-up", "name": "f", "response": {"output": "x"}}}
        said = turns({"role": "model", "parts": [asked]}, {"role": "user", "parts": [answer]})
        assert said == (assistant(call("", "f")), user(result("", "x", name="f")))


class TestThinking:
    def test_our_signature_brings_the_thinking_back(self):
        signature = pack("kp1.f.s", "hm é")
        called = {"functionCall": {"id": "c", "name": "f", "args": {}}, "thoughtSignature": signature}
        assert model_parts(called) == (Thinking("hm é", "kp1.f.s"), call("c", "f"))
        assert model_parts({"text": "a", "thought_signature": signature}) == (Thinking("hm é", "kp1.f.s"), Text("a"))

    def test_url_safe_and_without_padding_is_the_same(self):
        signature = pack("kp1.f.s", "\N{LATIN SMALL LETTER Y WITH DIAERESIS}?>~~" * 3)
        altered = signature.replace("+", "-").replace("/", "_").rstrip("=")
        assert altered != signature
        assert model_parts({"text": "a", "thoughtSignature": altered}) == model_parts(
            {"text": "a", "thoughtSignature": signature}
        )

    def test_a_signature_without_its_text_takes_the_thoughts_before_it(self):
        bare = base64.b64encode(b"kp1.f.s").decode()
        said = model_parts(
            {"text": "h", "thought": True}, {"text": "m", "thought": True}, {"text": "a", "thoughtSignature": bare}
        )
        assert said == (Thinking("hm", "kp1.f.s"), Text("a"))

    def test_redacted_thinking(self):
        assert model_parts({"text": "a", "thoughtSignature": pack_redacted("kp1.f.d")}) == (
            RedactedThinking("kp1.f.d"),
            Text("a"),
        )

    @pytest.mark.parametrize("foreign", ["skip_thought_signature_validator", "!", "", "CiQB//8="])
    def test_thoughts_without_ours_are_dropped(self, foreign):
        said = model_parts({"text": "secret", "thought": True}, {"text": "a", "thoughtSignature": foreign})
        assert said == (Text("a"),)

    @pytest.mark.parametrize(
        ("given", "wish", "thoughts"),
        [
            ({}, ThinkingWish(), False),
            ({"includeThoughts": True, "thinkingBudget": 8192}, ThinkingWish("on", 8192), True),
            ({"include_thoughts": True, "thinking_budget": 8192}, ThinkingWish("on", 8192), True),
            ({"thinkingBudget": 100}, ThinkingWish("on", 100, None, False), False),
            ({"thinkingBudget": 0, "includeThoughts": True}, ThinkingWish("off"), False),
            ({"thinkingBudget": -1}, ThinkingWish("adaptive", None, None, False), False),
            ({"includeThoughts": True}, ThinkingWish("adaptive"), True),
            ({"thinkingLevel": "HIGH", "includeThoughts": True}, ThinkingWish("on", None, "high"), True),
            ({"thinkingLevel": "minimal"}, ThinkingWish("on", None, "low", False), False),
            ({"thinkingLevel": "THINKING_LEVEL_UNSPECIFIED"}, ThinkingWish(), False),
        ],
        ids=str,
    )
    def test_the_wish(self, given, wish, thoughts):
        for spelling in ("thinkingConfig", "thinking_config"):
            asked = config(**{spelling: given})
            assert (asked.conversation.thinking, asked.thoughts) == (wish, thoughts)


class TestTools:
    @pytest.mark.parametrize("group", ["functionDeclarations", "function_declarations"])
    @pytest.mark.parametrize("member", ["parameters", "parametersJsonSchema", "parameters_json_schema"])
    def test_the_schema_stays_as_it_was_sent(self, group, member):
        declared = {"name": "f", "description": "d", member: {"type": "OBJECT"}}
        asked = conversation(tools=[{group: [declared]}])
        assert asked.tools == (Tool("f", "d", msgspec.Raw(b'{"type": "OBJECT"}')),)

    @pytest.mark.parametrize(
        "given",
        [{"googleSearch": {}}, {"google_search": {}}, {"googleSearchRetrieval": {"dynamicRetrievalConfig": {}}}],
        ids=["today", "snake case", "formerly"],
    )
    def test_a_web_search_is_done_here(self, given):
        asked = conversation(tools=[F, given])
        assert asked.web_search == WebSearch()
        assert [tool.name for tool in asked.tools] == ["f"]

    def test_domains_may_be_left_out(self):
        given = [{"googleSearch": {"excludeDomains": ["x.org"]}}]
        assert conversation(tools=given).web_search == WebSearch(blocked_domains=("x.org",))

    def test_other_tools_of_google_s_are_left_out_and_noted(self):
        asked = ask(tools=[{"codeExecution": {}}, {"url_context": {}}])
        assert [note.split()[3] for note in asked.notes] == ["urlContext", "codeExecution"] or len(asked.notes) == 2
        assert asked.conversation.tools == ()

    @pytest.mark.parametrize(
        ("given", "wanted"),
        [
            ({"mode": "AUTO"}, AutoChoice()),
            ({}, AutoChoice()),
            ({"mode": "NONE"}, NoTools()),
            ({"mode": "ANY"}, AnyTool()),
            ({"mode": "any", "allowed_function_names": ["f"]}, AnyTool(("f",))),
            ({"mode": "VALIDATED"}, AutoChoice()),
            ({"mode": "VALIDATED", "allowedFunctionNames": ["f"]}, AllowedTools(("f",))),
        ],
        ids=str,
    )
    def test_choice(self, given, wanted):
        assert conversation(tools=[F], toolConfig={"functionCallingConfig": given}).tool_choice == wanted
        assert conversation(tools=[F], tool_config={"function_calling_config": given}).tool_choice == wanted


SCHEMA = {"type": "OBJECT", "properties": {"type": {"type": "STRING", "nullable": True}}, "propertyOrdering": ["type"]}
PLAIN = OutputFormat(msgspec.Raw(b'{"type":"object","properties":{"type":{"type":["string","null"]}}}'))
MIME = "application/json"


class TestWishes:
    @pytest.mark.parametrize(
        ("given", "wanted"),
        [
            ({}, None),
            ({"responseMimeType": "text/plain"}, None),
            ({"responseMimeType": MIME}, OutputFormat(None)),
            ({"responseMimeType": MIME, "responseSchema": SCHEMA}, PLAIN),
            ({"response_mime_type": MIME, "response_schema": SCHEMA}, PLAIN),
            ({"responseMimeType": MIME, "responseJsonSchema": SCHEMA}, PLAIN),
        ],
        ids=["nothing", "text", "any JSON", "a schema", "a schema in snake case", "a JSON schema in upper case"],
    )
    def test_a_form_for_the_answer(self, given, wanted):
        assert config(**given).conversation.output_format == wanted

    def test_a_schema_is_converted_all_the_way_down(self):
        given = {
            "anyOf": [
                {"type": "ARRAY", "items": {"type": "INTEGER"}},
                {"type": "TYPE_UNSPECIFIED", "enum": ["INTEGER"]},
            ]
        }
        wanted = {"anyOf": [{"type": "array", "items": {"type": "integer"}}, {"enum": ["INTEGER"]}]}
        found = config(responseMimeType=MIME, responseSchema=given).conversation.output_format
        assert json.loads(bytes(found.schema)) == wanted

    def test_limits(self):
        asked = config(maxOutputTokens=5, stopSequences=["", "END"]).conversation
        assert (asked.max_tokens, asked.stop_sequences) == (5, ("END",))
        asked = ask(generation_config={"max_output_tokens": 5, "stop_sequences": ["END"]}).conversation
        assert (asked.max_tokens, asked.stop_sequences) == (5, ("END",))


def test_the_session():
    assert ask(headers={"x-session-affinity": "s"}).conversation.session == "s"
    assert conversation().session is None


def test_half_a_character_does_not_stop_anything():
    body = b'{"contents":[{"parts":[{"text":"a\\ud83d"}]}]}'
    assert parse(body, {}, PATH).conversation.messages == (user("a\N{REPLACEMENT CHARACTER}"),)
    body = b'{"contents":[{"parts":[{"functionResponse":{"name":"f","response":{"output":"a\\ud83d"}}}]}]}'
    assert parse(body, {}, PATH).conversation.messages == (user(result("", "a\N{REPLACEMENT CHARACTER}", name="f")),)
