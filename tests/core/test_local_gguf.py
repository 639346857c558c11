"""The header of GGUF files, read without the gguf package; the files are written with it."""

from __future__ import annotations

import struct
import time
from pathlib import Path
from typing import Any

import gguf
import pytest

from testkit.tiny_gguf import CHATML, TinyModel, write_tiny_gguf
from unified_llm.errors import ConfigurationError
from unified_llm.local_models import read_gguf_metadata


def write_pairs(path: Path, pairs: dict[str, Any], **options: Any) -> Path:
    writer = gguf.GGUFWriter(path, "llama", **options)
    for key, value in pairs.items():
        if isinstance(value, list):
            writer.add_array(key, value)
        elif isinstance(value, str):
            writer.add_string(key, value)
        else:
            writer.add_key_value(key, *value)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def test_a_header_gives_back_what_was_written(tmp_path: Path) -> None:
    types = gguf.GGUFValueType
    numbers = {
        "u8": (255, types.UINT8), "i8": (-128, types.INT8), "u16": (65535, types.UINT16), "i16": (-2, types.INT16),
        "u32": (2**32 - 1, types.UINT32), "i32": (-3, types.INT32), "u64": (2**64 - 1, types.UINT64),
        "i64": (-(2**63), types.INT64), "f32": (0.5, types.FLOAT32), "f64": (0.1, types.FLOAT64),
        "yes": (True, types.BOOL), "no": (False, types.BOOL),
    }  # fmt: skip
    words = {"name": "Größe 漢字", "short": ["a", "b"], "floats": [0.5, 1.5]}
    found = read_gguf_metadata(write_pairs(tmp_path / "m.gguf", {**numbers, **words}))
    expected = {key: value for key, (value, _) in numbers.items()} | words
    assert {key: found[key] for key in expected} == expected
    assert found["general.architecture"] == "llama"


def test_long_arrays_are_stepped_over_and_counted(tmp_path: Path) -> None:
    pairs = {"tokens": [f"t{n}" for n in range(1000)], "scores": [0.5] * 300, "after": "still here"}
    found = read_gguf_metadata(write_pairs(tmp_path / "m.gguf", pairs))
    assert (found["tokens"], found["scores"], found["after"]) == (1000, 300, "still here")


def test_a_vocabulary_of_usual_size_takes_a_fraction_of_a_second(tmp_path: Path) -> None:
    def text(value: bytes) -> bytes:
        return struct.pack("<Q", len(value)) + value

    tokens = struct.pack("<IIQ", 9, 8, 300_000) + b"".join(text(b"token%d" % n) for n in range(300_000))
    pairs = text(b"tokens") + tokens + text(b"template") + struct.pack("<I", 8) + text(b"{{ messages }}")
    path = tmp_path / "m.gguf"
    path.write_bytes(b"GGUF" + struct.pack("<IQQ", 3, 0, 2) + pairs)
    started = time.perf_counter()
    assert read_gguf_metadata(path) == {"tokens": 300_000, "template": "{{ messages }}"}
    assert time.perf_counter() - started < 2  # 0.04 s on an idle machine


def test_a_tiny_model_tells_its_kind_and_size(tiny_chat_gguf: Path) -> None:
    found = read_gguf_metadata(tiny_chat_gguf)
    assert found["general.architecture"] == "llama"
    assert found["llama.context_length"] == 32768
    assert found["tokenizer.chat_template"] == CHATML


def test_a_file_cut_anywhere_in_its_header_is_called_broken(tmp_path: Path, tiny_chat_gguf: Path) -> None:
    whole = tiny_chat_gguf.read_bytes()
    header = len(whole) - sum(t.n_bytes for t in gguf.GGUFReader(tiny_chat_gguf).tensors) - 4000
    path = tmp_path / "cut.gguf"
    for length in (*range(4, 60), *range(60, header, 97)):
        path.write_bytes(whole[:length])
        with pytest.raises(ConfigurationError, match="header"):
            read_gguf_metadata(path)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"<!DOCTYPE html><html>", "no GGUF file"),
        (b"GGML" + bytes(60), "no GGUF file"),
        (b"GGUF" + struct.pack("<IQQ", 1, 0, 0), "version 1"),
        (b"GGUF" + struct.pack(">IQQ", 3, 0, 0), "byte order"),
        (b"GGUF" + struct.pack("<IQQQ1sI", 3, 0, 1, 1, b"k", 77), "unknown type 77"),
        (b"GGUF" + struct.pack("<IQQQ", 3, 0, 1, 2**63), "ends in the middle"),
    ],
)
def test_what_is_no_gguf_file_is_refused_with_a_hint(tmp_path: Path, content: bytes, words: str) -> None:
    path = tmp_path / "m.gguf"
    path.write_bytes(content)
    with pytest.raises(ConfigurationError, match=words) as caught:
        read_gguf_metadata(path)
    assert caught.value.hint


def test_a_model_written_twice_is_the_same_file(tmp_path: Path) -> None:
    first, second = (write_tiny_gguf(tmp_path / name, TinyModel()) for name in ("a.gguf", "b.gguf"))
    assert first.read_bytes() == second.read_bytes()
    assert first.stat().st_size < 1_000_000
