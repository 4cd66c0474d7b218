"""Which models there are, as each kind of client asks for them, and what becomes of the names they send."""

import json

import pytest

from support.asked import joined, lines
from support.proxy import running_proxy

GOOGLE = {"x-goog-api-client": "google-genai-sdk/3.4.0"}
CLAUDE_CODE = {"User-Agent": "claude-code/2.1.332", "anthropic-version": "2023-06-01"}


async def got(proxy, path, **headers):
    async with proxy.get(path, headers=headers) as response:
        return response.status, await response.json()


async def listed(proxy, path="/v1/models", key="data", **headers):
    _, document = await got(proxy, path, **headers)
    return document[key]


@pytest.fixture
async def asked(proxy):
    """The proxy after it has asked Kiro for its models."""
    await proxy.runtime.models.refresh(proxy.runtime.accounts[0].id, force=True)
    return proxy


class TestLists:
    async def test_anthropic_s(self, asked):
        _, document = await got(asked, "/v1/models", **{"anthropic-version": "2023-06-01"})
        assert set(document) == {"data", "has_more", "first_id", "last_id"}
        model = next(one for one in document["data"] if one["id"] == "claude-sonnet-4.5")
        assert set(model) >= {"type", "id", "display_name", "created_at"}
        assert model["type"] == "model"

    @pytest.mark.parametrize("path", ["/v1/models", "/openai/v1/models", "/v1/v1/models"])
    async def test_openai_s(self, asked, path):
        async with asked.get(path, headers={"Authorization": f"Bearer {asked.key}"}, key=None) as response:
            document = await response.json()
        assert document["object"] == "list"
        model = next(one for one in document["data"] if one["id"] == "claude-sonnet-4.5")
        assert set(model) >= {"id", "object", "created", "owned_by"}
        assert (model["object"], model["context_length"]) == ("model", 200_000)

    @pytest.mark.parametrize("path", ["/v1beta/models", "/v1/models"])
    async def test_google_s_under_both_versions(self, asked, path):
        models = await listed(asked, path, "models", **GOOGLE)
        model = next(one for one in models if one["name"] == "models/claude-sonnet-4.5")
        assert model["inputTokenLimit"] == 200_000
        assert set(model["supportedGenerationMethods"]) == {"generateContent", "streamGenerateContent", "countTokens"}

    async def test_google_s_by_its_key_alone(self, asked):
        for path, headers in (("/v1/models", {"x-goog-api-key": asked.key}), (f"/v1beta/models?key={asked.key}", {})):
            async with asked.get(path, headers=headers, key=None) as response:
                assert response.status == 200
                assert "models" in await response.json()

    async def test_codex_gets_its_manifest(self, asked):
        models = await listed(asked, "/v1/models?client_version=0.169.0", "models")
        by_slug = {model["slug"]: model for model in models}
        assert by_slug["claude-opus-5"]["context_window"] == 1_000_000
        assert by_slug["claude-opus-5"]["supported_reasoning_levels"]

    async def test_claude_code_finds_every_model_by_a_name_it_keeps(self, asked):
        """It drops all whose names speak neither of Claude nor of Anthropic."""
        models = await listed(asked, "/v1/models?limit=1000", **CLAUDE_CODE)
        names = {model["id"] for model in models}
        assert names > {"claude-sonnet-4.5", "claude-opus-5[1m]", "anthropic.auto", "anthropic.gpt-5.6-sol"}
        assert all(name.startswith(("claude", "anthropic.")) for name in names)
        assert all(model["display_name"] for model in models)

    async def test_a_name_it_keeps_can_be_sent(self, asked, kiro):
        document = {
            "model": "anthropic.gpt-5.6-sol",
            "max_tokens": 100,
            "messages": [{"role": "user", "content": "hi"}],
        }
        async with asked.post("/v1/messages?beta=true", document) as response:
            assert response.status == 200
            assert (await response.json())["model"] == "anthropic.gpt-5.6-sol"
        sent = kiro.seen("generate")[0].document()["conversationState"]["currentMessage"]["userInputMessage"]
        assert sent["modelId"] == "gpt-5.6-sol"

    async def test_others_see_the_names_as_they_are(self, asked):
        names = {model["id"] for model in await listed(asked)}
        assert "gpt-5.6-sol" in names
        assert not any(name.startswith("anthropic.") for name in names)

    async def test_variants_that_only_a_name_can_ask_for_are_listed(self, asked):
        names = {model["id"] for model in await listed(asked)}
        assert names > {"claude-opus-5", "claude-opus-5[1m]", "claude-opus-5-thinking", "claude-sonnet-4.5-thinking"}
        assert "claude-sonnet-4.5[1m]" not in names

    async def test_hidden_ones_are_not(self, tmp_path, kiro):
        flags = {"models.hidden": ("claude-opus-5",), "models.thinking_suffix": ""}
        async with running_proxy(tmp_path, kiro, flags=flags) as proxy:
            names = {model["id"] for model in await listed(proxy)}
        assert not any(name.startswith("claude-opus-5[") or name == "claude-opus-5" for name in names)
        assert not any(name.endswith("-thinking") for name in names)

    async def test_one_account_s_own(self, asked):
        status, document = await got(asked, "/a/first/v1/models")
        assert status == 200
        assert document["data"]


class TestOne:
    @pytest.mark.parametrize("name", ["claude-sonnet-4.5", "claude-sonnet-4-5-20250929", "anthropic/claude-sonnet-4.5"])
    async def test_under_any_of_its_names(self, asked, name):
        status, model = await got(asked, f"/v1/models/{name}")
        assert (status, model["id"]) == (200, name)

    @pytest.mark.parametrize(
        "headers", [{"anthropic-version": "2023-06-01"}, {}, GOOGLE], ids=["anthropic", "openai", "google"]
    )
    async def test_one_that_is_not_there(self, asked, headers):
        status, document = await got(asked, "/v1/models/claude-sonet-4.5", **headers)
        assert status == 404
        assert "Did you mean claude-sonnet-4.5" in document["error"]["message"]


CHAT = "/v1/chat/completions"


class TestNames:
    @pytest.mark.parametrize(
        ("said", "meant"),
        [
            ("gpt-4o", "claude-sonnet"),
            ("gpt-4o-mini", "claude-haiku"),
            ("o3", "claude-opus"),
            ("gpt-5.5", "gpt-5.6"),
            ("gemini-3.8-flash", "claude-haiku"),
            ("claude-3-5-sonnet-20241022", "claude-sonnet"),
            ("claude-4.5-opus-high", "claude-opus-4.5"),
            ("openai/claude-sonnet-4-5:thinking", "claude-sonnet-4.5"),
            ("kiro-s-4.5", "claude-sonnet-4.5"),
            ("claude-opus-5[1m]-thinking", "claude-opus-5"),
        ],
    )
    async def test_one_reading_for_all_dialects(self, asked, kiro, said, meant):
        """The answer repeats the client's name; a header says which model it was."""
        text = "hi"
        requests = [
            ("/v1/messages", {"model": said, "max_tokens": 9, "messages": [{"role": "user", "content": text}]}),
            (CHAT, {"model": said, "messages": [{"role": "user", "content": text}]}),
            ("/v1/responses", {"model": said, "input": text}),
        ]
        if "/" not in said and ":" not in said:
            path = f"/v1beta/models/{said.replace('[', '%5B').replace(']', '%5D')}:generateContent"
            requests.append((path, {"contents": [{"parts": [{"text": text}]}]}))
        for path, document in requests:
            async with proxy_post(asked, path, document) as response:
                assert response.status == 200, await response.text()
                answer = await response.json()
                used = response.headers["x-kiro-model"]
            assert used.startswith(meant)
            assert answer.get("model", answer.get("modelVersion")) == said
            sent = kiro.seen("generate")[0].document()["conversationState"]["currentMessage"]["userInputMessage"]
            assert sent["modelId"] == used

    @pytest.mark.parametrize(
        ("path", "document"),
        [
            ("/v1/messages", {"max_tokens": 9, "messages": [{"role": "user", "content": "hi"}]}),
            (CHAT, {"messages": [{"role": "user", "content": "hi"}]}),
            ("/v1/responses", {"input": "hi"}),
            ("/v1beta/models/claude-sonet-4.5:generateContent", {"contents": [{"parts": [{"text": "hi"}]}]}),
        ],
    )
    async def test_a_name_that_means_nothing_is_answered_with_the_nearest(self, asked, path, document):
        async with proxy_post(asked, path, {"model": "claude-sonet-4.5", **document}) as response:
            assert response.status == 404
            assert "Did you mean claude-sonnet-4.5" in json.dumps(await response.json())

    @pytest.mark.parametrize("name", ["claude-opus-5-thinking", "claude-sonnet-4.5-thinking"], ids=["fields", "tags"])
    async def test_thinking_that_the_name_asks_for_is_shown(self, asked, name):
        prompt = lines("thinking=pondering", "text=PONG")
        for path, document in (
            ("/v1/messages", {"max_tokens": 9000, "messages": [{"role": "user", "content": prompt}]}),
            (CHAT, {"messages": [{"role": "user", "content": prompt}]}),
            ("/v1/responses", {"input": prompt}),
            (f"/v1beta/models/{name}:generateContent", {"contents": [{"parts": [{"text": prompt}]}]}),
        ):
            for stream in (False, True):
                where = path.replace(":generate", ":streamGenerate") if stream else path
                async with proxy_post(asked, where, {"model": name, "stream": stream, **document}) as response:
                    said = joined(await response.text())
                assert "PONG" in said
                assert "pondering" in said

    async def test_stand_ins_can_be_switched_off(self, tmp_path, kiro):
        async with running_proxy(tmp_path, kiro, flags={"models.compat": False}) as proxy:
            await proxy.runtime.models.refresh(proxy.runtime.accounts[0].id, force=True)
            document = {"model": "gpt-4o", "messages": [{"role": "user", "content": "hi"}]}
            async with proxy_post(proxy, CHAT, document) as response:
                assert response.status == 404


def proxy_post(proxy, path, document):
    """A request by Bearer, which every dialect takes."""
    return proxy.post(path, document, headers={"Authorization": f"Bearer {proxy.key}"}, key=None)
