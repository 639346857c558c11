"""Models of LM Studio over its SDK's websockets: lists, loading, unloading, tokens, windows."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from testkit.lmstudio_ws_double import LMStudioDouble
from testkit.openai_wire import PNG, ask
from testkit.wire_server import Answer, Request, WireServer, json_reply
from unified_llm import (
    APITimeoutError,
    Image,
    LMStudioProvider,
    Message,
    ModelNotFoundError,
    ResponseError,
    Text,
    Tool,
    UnifiedLLM,
    UnsupportedOptionError,
)


@pytest.fixture
def studio() -> Iterator[LMStudioDouble]:
    with LMStudioDouble() as double:
        yield double


@pytest.fixture
def provider(studio: LMStudioDouble) -> Iterator[LMStudioProvider]:
    with UnifiedLLM(provider="lmstudio", base_url=studio.url, transport="sdk", timeout=10) as llm:
        found = llm.get_provider("lmstudio")
        assert isinstance(found, LMStudioProvider)
        yield found


async def test_the_list_has_what_is_on_disk_and_marks_what_is_loaded(
    provider: LMStudioProvider, studio: LMStudioDouble
) -> None:
    tiny, other = provider.list_models()
    assert (tiny.id, tiny.kind, tiny.loaded, tiny.context_window) == ("tiny", "chat", True, 4096)
    assert (other.id, other.loaded, other.context_window) == ("other", False, 8192)
    assert tiny.capabilities == {"vision": "no", "tools": "yes"}
    assert (tiny.size_bytes, tiny.path) == (1000, "models/tiny.gguf")
    assert await provider.list_models_async() == [tiny, other]
    assert provider.default_model() == await provider.default_model_async() == "tiny"
    await provider.aclose()


@pytest.mark.parametrize("extras", [{"format": "pte"}, {"type": "drafter"}, {"displayName": None}])
def test_entries_of_newer_servers_cost_no_other_entry_its_place(extras: dict[str, Any]) -> None:
    with LMStudioDouble(model_extras=extras) as studio:
        provider = LMStudioProvider(base_url=studio.url, transport="sdk")
        assert [m.id for m in provider.list_models()] == ["tiny", "other"]
        provider.close()


async def test_loading_tells_how_far_it_is(provider: LMStudioProvider, studio: LMStudioDouble) -> None:
    seen: list[float] = []
    loaded = provider.load_model("other", ttl=60, context_length=2048, on_progress=seen.append)
    assert (loaded.id, loaded.loaded, loaded.context_window) == ("other", True, 4096)
    assert seen == [0.0, 0.5, 1.0]
    parameter = studio.calls[0][1]
    assert parameter["loadTtlMs"] == 60_000
    fields = parameter["loadConfigStack"]["layers"][0]["config"]["fields"]
    assert fields == [{"key": "llm.load.contextLength", "value": 2048}]
    seen.clear()
    assert await provider.load_model_async("other", on_progress=seen.append) == loaded
    assert seen == []
    await provider.aclose()


async def test_loading_a_model_that_is_not_there_is_an_error(provider: LMStudioProvider) -> None:
    with pytest.raises(ModelNotFoundError, match="no 'gone'") as caught:
        provider.load_model("gone")
    assert "tiny, other" in str(caught.value.hint)
    with pytest.raises(ModelNotFoundError, match="no 'gone'"):
        await provider.load_model_async("gone")
    await provider.aclose()


def test_loading_that_gets_no_further_is_given_up(provider: LMStudioProvider, studio: LMStudioDouble) -> None:
    studio.load_hangs = True
    provider.list_models()  # connecting and importing the SDK take their time on a busy machine
    provider.context_length("tiny")
    with pytest.raises(APITimeoutError):
        provider.load_model("other", timeout=0.2)
    assert studio.wait_call("cancelled loading", 0.5)


def test_an_error_in_the_progress_callback_stops_the_loading(
    provider: LMStudioProvider, studio: LMStudioDouble
) -> None:
    studio.load_hangs = True

    def fail(fraction: float) -> None:
        raise KeyError("mine")

    with pytest.raises(KeyError):
        provider.load_model("other", on_progress=fail)
    assert studio.wait_call("cancelled loading", 0.5)


async def test_unloading_frees_a_model(provider: LMStudioProvider, studio: LMStudioDouble) -> None:
    provider.unload_model("tiny")
    assert studio.loaded == []
    with pytest.raises(ModelNotFoundError):
        await provider.unload_model_async("tiny")
    assert provider.chat(ask(model="tiny")) == "Echo: Hi"
    await provider.aclose()


NAME, KEY, INSTANCE = "qwen3-8b", "qwen/qwen3-8b", "qwen/qwen3-8b:2"


@pytest.mark.parametrize("name", [NAME, KEY, INSTANCE])
async def test_a_model_is_loaded_listed_and_unloaded_by_the_id_of_its_instance(
    provider: LMStudioProvider, studio: LMStudioDouble, name: str
) -> None:
    studio.models, studio.loaded = [KEY], []
    studio.aliases, studio.keys = {NAME: INSTANCE, KEY: INSTANCE}, {INSTANCE: KEY}
    for _ in range(2):
        loaded = provider.load_model(NAME)
        assert (loaded.id, loaded.loaded, loaded.context_window) == (INSTANCE, True, 4096)
        assert loaded.raw is not None
        assert loaded.raw["modelKey"] == KEY
        assert provider.loaded_models() == await provider.loaded_models_async()
        assert [m.id for m in provider.loaded_models()] == [INSTANCE]
        assert provider.chat(ask(model=loaded.id)) == "Echo: Hi"
        provider.unload_model(name)
        assert studio.loaded == []
        await provider.load_model_async(NAME)
        await provider.unload_model_async(name)
        assert provider.loaded_models() == []
    await provider.aclose()


async def test_unloading_a_model_frees_all_of_its_instances(provider: LMStudioProvider, studio: LMStudioDouble) -> None:
    studio.models, studio.loaded = [KEY], [INSTANCE, "mine", "other"]
    studio.keys = {INSTANCE: KEY, "mine": KEY}
    provider.unload_model(KEY)
    assert studio.loaded == ["other"]
    await provider.aclose()


@pytest.mark.parametrize("result", [None, {}, [], {"tokens": 5, "formatted": 5, "tokenCount": "x"}])
async def test_a_result_of_another_form_is_a_response_error(
    provider: LMStudioProvider, studio: LMStudioDouble, result: Any
) -> None:
    paths = ("llm/tokenize", "llm/applyPromptTemplate", "llm/countTokens", "llm/getModelInfo", "llm/listLoaded")
    studio.results = dict.fromkeys(paths, result)
    with pytest.raises(ResponseError, match="tokens") as caught:
        provider.tokenize("a", "tiny")
    assert (caught.value.provider, bool(caught.value.hint)) == ("lmstudio", True)
    with pytest.raises(ResponseError, match="formatted"):
        provider.count_tokens(ask(model="tiny"))
    del studio.results["llm/applyPromptTemplate"]
    with pytest.raises(ResponseError, match="tokenCount"):
        await provider.count_tokens_async(ask(model="tiny"))
    with pytest.raises(ResponseError):
        await provider.tokenize_async("a", "tiny")
    assert provider.context_length("tiny") is None
    studio.results["llm/listLoaded"] = []
    assert provider.loaded_models() == []
    await provider.aclose()


async def test_text_is_tokenised_by_the_models_own_tokenizer(
    provider: LMStudioProvider, studio: LMStudioDouble
) -> None:
    assert provider.tokenize("a bc def", "tiny") == await provider.tokenize_async("a bc def", "tiny") == [1, 2, 3]
    assert provider.tokenize("a", "other") == [1]
    assert "other" in studio.loaded
    await provider.aclose()


async def test_tokens_of_a_prompt_are_counted_with_its_template_and_tools(
    provider: LMStudioProvider, studio: LMStudioDouble
) -> None:
    tools = (Tool("add", "Add.", {"type": "object", "properties": {}}),)
    request = ask("four words of text", model="tiny", tools=tools)
    assert provider.count_tokens(request) == await provider.count_tokens_async(request) == 6  # <s>, the tool, the text
    assert studio.paths()[1:3] == ["llm/applyPromptTemplate", "llm/countTokens"]
    studio.loaded.clear()
    assert provider.count_tokens(request) == 6
    await provider.aclose()


def test_tokens_of_images_are_not_guessed(provider: LMStudioProvider) -> None:
    question = [Message("user", [Text("What?"), Image(data=PNG, media_type="image/png")])]
    with pytest.raises(UnsupportedOptionError, match="texts only"):
        provider.count_tokens(ask(question, model="tiny"))


async def test_the_window_of_a_loaded_model_is_told(provider: LMStudioProvider) -> None:
    assert provider.context_length("tiny") == await provider.context_length_async("other") == 4096
    await provider.aclose()


# -- without the websockets -------------------------------------------------------------------------------------------


class HTTPOnly:
    """LM Studio's own HTTP API for models, as https://lmstudio.ai/docs/developer/rest describes it."""

    def __init__(self) -> None:
        self.loaded: list[str] = []
        self.bodies: list[Any] = []

    def __call__(self, request: Request) -> Answer:
        match request.method, request.target:
            case "GET", "/api/v1/models":
                return json_reply({"models": [self._entry(m) for m in ("tiny", "other")]})
            case "POST", "/api/v1/models/load":
                body = request.json()
                self.bodies.append(body)
                if body["model"] not in ("tiny", "other"):
                    return json_reply({"error": {"message": "Model not found", "code": "model_not_found"}}, 404)
                self.loaded.append(body["model"])
                config = {"context_length": body.get("context_length", 4096)}
                told = {"type": "llm", "instance_id": body["model"], "status": "loaded", "load_time_seconds": 1.5}
                return json_reply({**told, "load_config": config})
            case "POST", "/api/v1/models/unload":
                self.loaded.remove(request.json()["instance_id"])
                return json_reply(request.json())
        return json_reply({"error": f"Unexpected endpoint or method. ({request.method} {request.target})"}, 200)

    def _entry(self, model: str) -> dict[str, Any]:
        running = [{"id": model, "config": {"context_length": 4096}}] if model in self.loaded else []
        return {"type": "llm", "key": model, "loaded_instances": running, "max_context_length": 8192}


async def test_models_are_loaded_and_unloaded_over_http_where_nothing_else_is_there() -> None:
    studio = HTTPOnly()
    with WireServer(studio) as server:
        provider = LMStudioProvider(base_url=server.url)
        loaded = provider.load_model("tiny", context_length=2048)
        assert (loaded.id, loaded.kind, loaded.loaded, loaded.context_window) == ("tiny", "chat", True, 2048)
        again = await provider.load_model_async("tiny")
        assert (again.id, again.context_window, len(studio.bodies)) == ("tiny", 4096, 1)  # it was there
        assert (await provider.load_model_async("other")).context_window == 4096
        assert [m.id for m in provider.loaded_models()] == ["tiny", "other"]
        assert provider.loaded_models() == await provider.loaded_models_async()
        provider.unload_model("tiny")
        await provider.unload_model_async("other")
        assert studio.loaded == []
        with pytest.raises(ModelNotFoundError):
            provider.load_model("gone")
        for option in ({"ttl": 5}, {"config": {"llm.load.seed": 1}}):
            with pytest.raises(UnsupportedOptionError, match=next(iter(option))):
                provider.load_model("tiny", **option)
        await provider.aclose()


def test_over_http_an_instance_is_named_by_its_id_or_by_its_model() -> None:
    unloaded: list[str] = []
    entry = {"type": "llm", "key": KEY, "loaded_instances": [{"id": INSTANCE, "config": {}}, {"id": "mine"}]}

    def studio(request: Request) -> Answer:
        if request.target == "/api/v1/models/unload":
            unloaded.append(request.json()["instance_id"])
            return json_reply(request.json())
        return json_reply({"models": [entry]})

    with WireServer(studio) as server:
        provider = LMStudioProvider(base_url=server.url, transport="http")
        assert [m.id for m in provider.loaded_models()] == [INSTANCE, "mine"]
        assert provider.load_model("mine").id == "mine"
        provider.unload_model("mine")
        provider.unload_model(KEY)
        assert unloaded == ["mine", INSTANCE, "mine"]
        provider.close()


def test_an_old_server_without_loading_over_http_says_so() -> None:
    with WireServer(json_reply({"error": "Unexpected endpoint or method. Returning 200 anyway"})) as server:
        provider = LMStudioProvider(base_url=server.url)
        with pytest.raises(ResponseError) as caught:
            provider.load_model("tiny")
        assert "LM Studio 0.4" in str(caught.value.hint)
        provider.close()
