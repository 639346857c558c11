"""Models are downloaded from the hub, continued where a download stopped, and checked; against a hub on loopback."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from testkit.hub import HubDouble
from testkit.wire_server import WireServer, free_port, reply
from unified_llm.errors import (
    APIConnectionError,
    ConfigurationError,
    MissingDependencyError,
    ModelNotFoundError,
    PermissionDeniedError,
    ResponseError,
    ServerError,
)
from unified_llm.local_models import PullProgress, find_models, pull

REPO = "acme/Tiny-GGUF"
CONTENT = os.urandom(3_000_000)


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Callable[..., HubDouble]]:
    """Starts a hub with the given files, and points the client to it."""
    with ExitStack() as stack:

        def start(files: dict[str, bytes], **options: Any) -> HubDouble:
            double = stack.enter_context(HubDouble(REPO, files, **options))
            monkeypatch.setenv("HF_ENDPOINT", double.url)
            return double

        for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "HF_HUB_OFFLINE"):
            monkeypatch.delenv(name, raising=False)
        monkeypatch.setenv("UNIFIED_LLM_MODELS", str(tmp_path / "models"))
        yield start


# -- what is fetched, and where to ----------------------------------------------------------------------------------


def test_a_pulled_model_lies_where_models_are_found(
    hub: Callable[..., HubDouble], tmp_path: Path, tiny_chat_gguf: Path
) -> None:
    hub({"tiny-Q4_K_M.gguf": tiny_chat_gguf.read_bytes(), "README.md": b"# Tiny"})
    path = pull(REPO)
    assert path == tmp_path / "models/acme/Tiny-GGUF/tiny-Q4_K_M.gguf"
    assert path.read_bytes() == tiny_chat_gguf.read_bytes()
    assert [m.id for m in find_models([tmp_path / "models"])] == ["acme/Tiny-GGUF/tiny-Q4_K_M.gguf"]
    assert list(path.parent.iterdir()) == [path]


def test_progress_is_told_in_bytes_up_to_the_whole(hub: Callable[..., HubDouble]) -> None:
    hub({"m-Q8_0.gguf": CONTENT})
    steps: list[PullProgress] = []
    pull(REPO, progress=steps.append)
    assert steps[0].received == 0
    assert steps[-1] == PullProgress("m-Q8_0.gguf", len(CONTENT), len(CONTENT), 1, 1)
    assert [s.received for s in steps] == sorted(s.received for s in steps)
    assert len(steps) > 2


def test_all_parts_of_a_model_in_several_files_are_fetched(hub: Callable[..., HubDouble], tmp_path: Path) -> None:
    parts = {f"Q4_K_M/big-Q4_K_M-{n:05}-of-00003.gguf": os.urandom(1000) for n in (1, 2, 3)}
    hub({**parts, "Q8_0/big-Q8_0.gguf": b"x"})
    steps: list[PullProgress] = []
    path = pull(REPO, folder=tmp_path, progress=steps.append)
    assert path == tmp_path / REPO / "Q4_K_M/big-Q4_K_M-00001-of-00003.gguf"
    assert {p.read_bytes() for p in path.parent.iterdir()} == set(parts.values())
    assert {(s.number, s.count) for s in steps} == {(1, 3), (2, 3), (3, 3)}


@pytest.mark.parametrize(
    ("names", "chosen"),
    [
        (["m-F16.gguf", "m-Q8_0.gguf", "m-Q4_K_M.gguf", "m-Q2_K.gguf"], "m-Q4_K_M.gguf"),
        (["m-f16.gguf", "m-q8_0.gguf", "m-q2_k.gguf"], "m-q8_0.gguf"),
        (["m-UD-Q4_K_XL.gguf", "m-Q6_K.gguf"], "m-UD-Q4_K_XL.gguf"),
        (["mmproj-m-F16.gguf", "m-BF16.gguf"], "m-BF16.gguf"),
        (["m.gguf"], "m.gguf"),
        (["Qwen3-0.6B-Q8_0.gguf"], "Qwen3-0.6B-Q8_0.gguf"),  # all that the recommended repository holds
        (["something-odd.gguf", "m-F32.gguf"], "m-F32.gguf"),
    ],
)
def test_without_a_file_the_usual_compromise_of_size_and_quality_is_taken(
    hub: Callable[..., HubDouble], names: list[str], chosen: str
) -> None:
    hub(dict.fromkeys(names, b"content"))
    assert pull(REPO).name == chosen


@pytest.mark.parametrize(
    ("wanted", "chosen"),
    [
        ("m-Q8_0.gguf", "m-Q8_0.gguf"),
        ("q8_0", "m-Q8_0.gguf"),
        ("Q4_K_M", "m-Q4_K_M.gguf"),
        ("mmproj-m-F16.gguf", "mmproj-m-F16.gguf"),
        ("f16", "m-F16.gguf"),
    ],
)
def test_a_file_is_named_whole_or_by_its_quantization(hub: Callable[..., HubDouble], wanted: str, chosen: str) -> None:
    hub(dict.fromkeys(("m-Q8_0.gguf", "m-Q4_K_M.gguf", "m-Q4_K_S.gguf", "m-F16.gguf", "mmproj-m-F16.gguf"), b"x"))
    assert pull(f"{REPO}:{wanted}").name == chosen


@pytest.mark.parametrize(("wanted", "words"), [("Q4_K", "2 files 'Q4_K'"), ("Q9", "no file 'Q9'")])
def test_a_file_that_is_not_there_or_several_are_refused_with_the_list(
    hub: Callable[..., HubDouble], wanted: str, words: str
) -> None:
    hub(dict.fromkeys(("m-Q4_K_M.gguf", "m-Q4_K_S.gguf"), b"x"))
    with pytest.raises(ConfigurationError, match=words) as caught:
        pull(f"{REPO}:{wanted}")
    assert "m-Q4_K_M.gguf, m-Q4_K_S.gguf" in (caught.value.hint or "")


def test_a_repository_without_gguf_files_lists_what_it_has(hub: Callable[..., HubDouble]) -> None:
    hub({"model.safetensors": b"x", "config.json": b"{}"})
    with pytest.raises(ConfigurationError, match="no GGUF file") as caught:
        pull(REPO)
    assert "model.safetensors, config.json" in (caught.value.hint or "")


# -- interruptions --------------------------------------------------------------------------------------------------


def test_a_model_that_is_there_is_not_fetched_again(hub: Callable[..., HubDouble]) -> None:
    double = hub({"m-Q8_0.gguf": CONTENT})
    assert pull(REPO) == pull(REPO)
    assert double.ranges == [None]


def test_a_download_that_was_interrupted_goes_on_where_it_stopped(hub: Callable[..., HubDouble]) -> None:
    double = hub({"m-Q8_0.gguf": CONTENT})

    def interrupt(step: PullProgress) -> None:
        if step.received > 1_000_000:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        pull(REPO, progress=interrupt)
    steps: list[PullProgress] = []
    path = pull(REPO, progress=steps.append)
    assert path.read_bytes() == CONTENT
    assert steps[0].received > 1_000_000
    assert double.ranges == [None, f"bytes={steps[0].received}-"]


def test_a_connection_that_breaks_is_taken_up_again_at_once(hub: Callable[..., HubDouble]) -> None:
    double = hub({"m-Q8_0.gguf": CONTENT}, cuts=[1_000_000, 500_000, None])
    assert pull(REPO).read_bytes() == CONTENT
    assert double.ranges == [None, "bytes=1000000-", "bytes=1500000-"]


def test_a_server_without_ranges_sends_everything_again(hub: Callable[..., HubDouble]) -> None:
    hub({"m-Q8_0.gguf": CONTENT}, cuts=[1_000_000, None], ranges_served=False)
    assert pull(REPO).read_bytes() == CONTENT


def test_a_file_that_changed_since_is_not_continued(hub: Callable[..., HubDouble]) -> None:
    double = hub({"m-Q8_0.gguf": CONTENT})

    def interrupt(step: PullProgress) -> None:
        if step.received > 1_000_000:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        pull(REPO, progress=interrupt)
    double.files["m-Q8_0.gguf"] = changed = os.urandom(2_000_000)
    assert pull(REPO).read_bytes() == changed
    assert double.ranges == [None, None]


def test_a_damaged_file_never_gets_into_place(hub: Callable[..., HubDouble], tmp_path: Path) -> None:
    hub({"m-Q8_0.gguf": CONTENT}, damaged=True)
    with pytest.raises(ResponseError, match="checksum"):
        pull(REPO, folder=tmp_path)
    assert list((tmp_path / REPO).iterdir()) == []


def test_two_programs_do_not_write_one_file(hub: Callable[..., HubDouble]) -> None:
    hub({"m-Q8_0.gguf": CONTENT})
    refusals: list[ConfigurationError] = []

    def pull_again(step: PullProgress) -> None:
        if 0 < step.received < len(CONTENT) and not refusals:
            with pytest.raises(ConfigurationError, match="another program") as caught:
                pull(REPO)
            refusals.append(caught.value)

    assert pull(REPO, progress=pull_again).read_bytes() == CONTENT
    assert refusals


# -- refusals -------------------------------------------------------------------------------------------------------


def test_a_private_repository_is_opened_with_a_token_which_the_content_server_never_sees(
    hub: Callable[..., HubDouble],
) -> None:
    double = hub({"m-Q8_0.gguf": b"secret weights"}, token="hf_secret0123456789")
    with pytest.raises(ModelNotFoundError) as caught:
        pull(REPO, token=False)
    assert "HF_TOKEN" in (caught.value.hint or "")
    assert pull(REPO, token="hf_secret0123456789").read_bytes() == b"secret weights"
    assert double.authorizations["cdn"] == {None}


def test_a_gated_repository_says_where_its_conditions_are(hub: Callable[..., HubDouble]) -> None:
    hub({"m-Q8_0.gguf": b"x"}, gated=True)
    with pytest.raises(PermissionDeniedError) as caught:
        pull(REPO)
    assert "https://huggingface.co/acme/Tiny-GGUF" in (caught.value.hint or "")


def test_an_unknown_repository_is_no_model(hub: Callable[..., HubDouble]) -> None:
    hub({"m-Q8_0.gguf": b"x"})
    with pytest.raises(ModelNotFoundError, match="acme/Other-GGUF"):
        pull("acme/Other-GGUF")


def test_without_a_network_the_error_says_what_to_check(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{free_port()}")
    with pytest.raises(APIConnectionError) as caught:
        pull(REPO)
    assert "HTTPS_PROXY" in (caught.value.hint or "")


def test_a_hub_that_fails_is_a_server_error(monkeypatch: pytest.MonkeyPatch) -> None:
    with WireServer(reply(500, b"oops")) as server:
        monkeypatch.setenv("HF_ENDPOINT", server.url)
        with pytest.raises(ServerError):
            pull(REPO)


@pytest.mark.parametrize("reference", ["", "qwen", "a/b/c", "../../etc", "http://example.org/x.gguf"])
def test_what_names_no_repository_is_refused_with_the_form(reference: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        pull(reference)
    assert "OWNER/NAME" in (caught.value.hint or "")


def test_a_file_name_that_leads_out_of_the_folder_is_refused(hub: Callable[..., HubDouble], tmp_path: Path) -> None:
    hub({"../../evil-Q4_K_M.gguf": b"x"})
    with pytest.raises(ResponseError, match="out of its folder"):
        pull(REPO, folder=tmp_path / "a/b")
    assert list(tmp_path.rglob("*.gguf")) == []


def test_without_huggingface_hub_the_error_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(MissingDependencyError) as caught:
        pull(REPO)
    assert "unified-llm[local]" in (caught.value.hint or "")
