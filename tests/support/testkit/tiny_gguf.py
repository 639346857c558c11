"""Writes complete GGUF models of half a megabyte, so that the real llama.cpp runs in tests without a download.

The weights are seeded noise plus a table of letter pairs, written so that every path of a server can be walked:

- the text is made of lower-case words that mean nothing, different for different prompts, plain ASCII;
- at temperature 0 it is repeatable and never ends by itself (good for limits, stop sequences and aborts);
- at the default temperature the model ends its turn after some 50 tokens, and never says nothing;
- under a JSON Schema or a grammar the engine enforces the shape, and strings and arrays close after a word;
- given tools, it calls one in answer to a user's message (the engine writes arguments that fit the parameters, and
  the name the grammar leaves open), and it answers with text after a tool result.

One token is about one character: a byte-level BPE of 271 entries (the few merges are there because the vocabulary
type demands some). A SentencePiece vocabulary of that size makes llama.cpp's schema sampler fail; this one does not.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import gguf
import numpy as np

__all__ = ["CHATML", "TinyModel", "write_tiny_gguf"]

Kind = Literal["chat", "embedding", "rerank"]

# The plain ChatML template, with tools declared and called the way the Hermes and Qwen families do.
CHATML = """\
{%- if tools %}{{- '<|im_start|>system\\n' }}
{%- if messages[0].role == 'system' %}{{- messages[0].content + '\\n\\n' }}{%- endif %}
{{- '# Tools\\n\\n<tools>' }}
{%- for tool in tools %}{{- '\\n' }}{{- tool | tojson }}{%- endfor %}
{{- '\\n</tools>\\n\\n' }}
{{- 'Return each call as <tool_call>\\n{"name": <name>, "arguments": <object>}\\n</tool_call><|im_end|>\\n' }}
{%- elif messages[0].role == 'system' %}
{{- '<|im_start|>system\\n' + messages[0].content + '<|im_end|>\\n' }}{%- endif %}
{%- for message in messages %}
{%- if message.role == 'user' or (message.role == 'system' and not loop.first) %}
{{- '<|im_start|>' + message.role + '\\n' + message.content + '<|im_end|>\\n' }}
{%- elif message.role == 'assistant' %}{{- '<|im_start|>assistant\\n' }}
{%- if message.content %}{{- message.content }}{%- endif %}
{%- for call in message.tool_calls or [] %}
{%- if call.function %}{%- set call = call.function %}{%- endif %}
{{- '\\n<tool_call>\\n{"name": "' + call.name + '", "arguments": ' }}
{{- call.arguments if call.arguments is string else call.arguments | tojson }}{{- '}\\n</tool_call>' }}
{%- endfor %}{{- '<|im_end|>\\n' }}
{%- elif message.role == 'tool' %}
{{- '<|im_start|>user\\n<tool_response>\\n' + message.content + '\\n</tool_response><|im_end|>\\n' }}
{%- endif %}{%- endfor %}
{%- if add_generation_prompt %}{{- '<|im_start|>assistant\\n' }}
{%- if tools and messages[-1].role == 'user' %}{{- '<|act|>' }}{%- endif %}{%- endif %}"""

MERGES = ("t h", "h e", "i n", "e r", "a n", "Ġ t", "Ġ a", "Ġ s")
SPECIAL = ("<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|pad|>", "<|act|>")
TOOL_MARKS = ("<tool_call>", "</tool_call>")
# The letters of a reply follow each other as they do here: the model is a table of character pairs plus noise.
TEXT = (
    "the reply of this tiny model is made of letters that follow each other as they do in this line and it means "
    "nothing at all because nobody has ever trained it yet it is quick and it is here when tests need an answer "
)
END_OF_TURN = 0.05  # of all tokens, whatever came before; never the most likely one
QUOTES_PER_SPACE = 20.0  # after a word, once a quotation mark was read: strings end soon where a schema asks for one
UNREAD = 1e-6  # the same before any quotation mark was read
FLOOR = 1e-9
# Too rare to be said freely; where a grammar forbids letters they decide, and they prefer closing to going on.
RARE = {"}": 1e-5, "]": 1e-5, ",": 1e-6, ":": 1e-7, '"': 1e-7, "{": 1e-8, "[": 1e-8, "Ġ": 1e-12, "Ċ": 1e-12, "ĉ": 1e-12}
RARE |= dict.fromkeys("0123456789", 1e-8)
# What comes after tokens that are no letters of TEXT.
PAIRS = {
    "<|act|>": {"<tool_call>": 1.0, "<|im_end|>": FLOOR, '"': FLOOR**2},
    "<tool_call>": {"Ċ": 1.0, "<|im_end|>": FLOOR, '"': FLOOR**2},
    "}": {"</tool_call>": 0.6, "}": 0.3},
    "</tool_call>": {"<|im_end|>": 1.0, '"': FLOOR**2},
}
HIGH, SEEN = 8.0, 5.0  # a kept dimension of the residual stream, and about what the final RMS norm leaves of it


@dataclass(frozen=True, slots=True)
class TinyModel:
    """Shape of a tiny model. The defaults give about 0.5 MB and some thousands of tokens per second."""

    kind: Kind = "chat"
    name: str = "Tiny Chat"
    embedding_length: int = 64
    feed_forward_length: int = 128
    heads: int = 4
    layers: int = 2
    context_length: int = 32768
    seed: int = 20240917
    architecture: str = "llama"
    chat_template: str | None = CHATML
    infill: bool = False  # with tokens that mark the text before, after and between
    tensors: bool = True  # False: the header alone, for tests that read no further
    extra: Mapping[str, str] | None = None  # more string metadata, such as general.size_label


def write_tiny_gguf(path: Path, model: TinyModel | None = None) -> Path:
    """Write `model` to `path` (its folder is made) and return the path."""
    model = model or TinyModel()
    path.parent.mkdir(parents=True, exist_ok=True)
    writer = gguf.GGUFWriter(path, model.architecture)
    _write_hyperparameters(writer, model)
    tokens = _write_vocabulary(writer, model)
    for name, tensor in _tensors(model, tokens).items() if model.tensors else ():
        writer.add_tensor(name, np.ascontiguousarray(tensor, dtype=np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def _write_hyperparameters(writer: Any, model: TinyModel) -> None:
    writer.add_name(model.name)
    writer.add_file_type(gguf.LlamaFileType.ALL_F32)
    writer.add_context_length(model.context_length)
    writer.add_embedding_length(model.embedding_length)
    writer.add_feed_forward_length(model.feed_forward_length)
    writer.add_block_count(model.layers)
    writer.add_head_count(model.heads)
    writer.add_head_count_kv(model.heads)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_dimension_count(model.embedding_length // model.heads)
    writer.add_rope_freq_base(10000.0)
    if model.kind == "embedding":
        writer.add_pooling_type(gguf.PoolingType.MEAN)
    elif model.kind == "rerank":
        writer.add_pooling_type(gguf.PoolingType.RANK)
    for key, value in (model.extra or {}).items():
        writer.add_string(key, value)


def _write_vocabulary(writer: Any, model: TinyModel) -> list[str]:
    tokens = [*_byte_characters(), *(m.replace(" ", "") for m in MERGES)]
    plain = len(tokens)
    tokens += [*SPECIAL, *TOOL_MARKS]
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list(tokens)
    special = [gguf.TokenType.CONTROL] * len(SPECIAL) + [gguf.TokenType.USER_DEFINED] * len(TOOL_MARKS)
    writer.add_token_types([gguf.TokenType.NORMAL] * plain + special)
    writer.add_token_merges(list(MERGES))
    writer.add_bos_token_id(tokens.index("<|endoftext|>"))
    writer.add_eos_token_id(tokens.index("<|im_end|>"))
    writer.add_pad_token_id(tokens.index("<|pad|>"))
    if model.kind == "rerank":
        writer.add_sep_token_id(tokens.index("<|pad|>"))
    if model.infill:
        keys = gguf.Keys.Tokenizer
        for key, token in (
            (keys.FIM_PRE_ID, "<|im_start|>"),
            (keys.FIM_SUF_ID, "<|pad|>"),
            (keys.FIM_MID_ID, "<|act|>"),
        ):
            writer.add_uint32(key, tokens.index(token))
    writer.add_add_bos_token(False)
    if model.chat_template is not None and model.kind == "chat":
        writer.add_chat_template(model.chat_template)
    return tokens


def _byte_characters() -> list[str]:
    """The printable stand-in of each byte in GPT-2's byte-level BPE (a space is written Ġ)."""
    printable = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    others = iter(range(256, 512))
    return [chr(b) if b in printable else chr(next(others)) for b in range(256)]


def _tensors(model: TinyModel, tokens: list[str]) -> dict[str, np.ndarray[Any, Any]]:
    random = np.random.default_rng(model.seed)
    width, hidden = model.embedding_length, model.feed_forward_length

    def noise(rows: int, columns: int, scale: float) -> np.ndarray[Any, Any]:
        return random.normal(0.0, scale, (rows, columns))

    tensors = {"token_embd.weight": noise(len(tokens), width, 0.5), "output_norm.weight": np.ones(width)}
    for layer in range(model.layers):
        block = {
            "attn_norm": np.ones(width),
            "attn_q": noise(width, width, 2.0 * width**-0.5),
            "attn_k": noise(width, width, width**-0.5),
            "attn_v": noise(width, width, width**-0.5),
            "attn_output": noise(width, width, 2.0 * width**-0.5),
            "ffn_norm": np.ones(width),
            "ffn_gate": noise(hidden, width, width**-0.5),
            "ffn_up": noise(hidden, width, width**-0.5),
            "ffn_down": noise(width, hidden, 0.5 * hidden**-0.5),
        }
        tensors |= {f"blk.{layer}.{name}.weight": value for name, value in block.items()}
    tensors["output.weight"] = noise(len(tokens), width, 0.25)
    if model.kind == "chat":
        _speak(tensors, tokens, model.layers)
    return tensors


def _speak(tensors: dict[str, np.ndarray[Any, Any]], tokens: list[str], layers: int) -> None:
    """Turn noise into a table of pairs: one dimension of the residual stream per speaking token, kept by all layers.

    Dimension 0 is the same for every token; dimension i is high only where the current token is number i of those
    that have a row in the table. The output layer holds the logarithms of the probabilities against them.
    """
    table = {before: _logarithms(after, tokens) for before, after in _pairs().items()}
    kept, quote_read = slice(0, 2 + len(table)), 1 + len(table)
    embeddings, output = tensors["token_embd.weight"], tensors["output.weight"]
    for layer in range(layers):
        tensors[f"blk.{layer}.attn_output.weight"][kept, :] = 0.0
        tensors[f"blk.{layer}.ffn_down.weight"][kept, :] = 0.0
    embeddings[:, kept] = output[:, kept] = 0.0
    for token in (
        "<|im_end|>",
        *(RARE.keys() - {"Ġ"}),
        *TOOL_MARKS,
    ):  # no noise where the choice must not depend on luck
        output[tokens.index(token)] = 0.0
    default = _logarithms({letter: TEXT.count(letter) / len(TEXT) for letter in set(TEXT) - {" "}}, tokens)
    embeddings[:, 0], output[:, 0] = HIGH, default / SEEN
    for dimension, (before, logarithms) in enumerate(table.items(), start=1):
        embeddings[tokens.index(before), dimension] = HIGH
        output[:, dimension] = (logarithms - default) / SEEN
    quote = 1 + list(table).index('"')
    _remember(tensors, token=quote, dimension=quote_read, head_size=16)
    output[tokens.index('"'), quote_read] = (np.log(QUOTES_PER_SPACE) - np.log(UNREAD)) / SEEN


def _remember(tensors: dict[str, np.ndarray[Any, Any]], *, token: int, dimension: int, head_size: int) -> None:
    """Let the first attention head raise `dimension` wherever the token of dimension `token` stands before.

    The query is the constant, the key is the token, both in the rotary pair that turns the least with distance.
    """
    slow = head_size - 2
    for name in ("attn_q", "attn_k", "attn_v"):
        tensors[f"blk.0.{name}.weight"][:head_size] = 0.0
    tensors["blk.0.attn_output.weight"][:, :head_size] = 0.0
    tensors["blk.0.attn_q.weight"][slow, 0] = 4.0
    tensors["blk.0.attn_k.weight"][slow, token] = 2.0
    tensors["blk.0.attn_v.weight"][0, token] = 1.0
    tensors["blk.0.attn_output.weight"][dimension, 0] = HIGH / 5.5


def _logarithms(shares: Mapping[str, float], tokens: list[str]) -> np.ndarray[Any, Any]:
    """The wanted logit of each of `tokens`."""
    known = {**RARE, "<|im_end|>": END_OF_TURN, **shares}
    return np.log([known.get(token, FLOOR) for token in tokens])


def _pairs() -> dict[str, dict[str, float]]:
    """For each token that has a say, the probabilities of the next one."""
    text = TEXT.replace(" ", "Ġ")
    pairs = {before: dict(after) for before, after in PAIRS.items()}
    for before in sorted(set(text)):
        after = Counter(b for a, b in zip(text, text[1:] + text[0], strict=True) if a == before)
        total = after.total()
        pairs[before] = {token: count / total for token, count in after.items()}
        pairs[before]['"'] = UNREAD * pairs[before].get("Ġ", FLOOR)
    pairs['"'] = pairs["Ġ"]  # a word begins after these, too, and no reply is empty
    pairs["Ċ"] = {**pairs["Ġ"], "<|im_end|>": FLOOR}
    return pairs
