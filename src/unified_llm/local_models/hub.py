"""Model repositories of the Hugging Face hub: what they hold, and which of their files to take."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any, Final

from unified_llm._optional import require
from unified_llm.errors import (
    APIConnectionError,
    ConfigurationError,
    ModelNotFoundError,
    PermissionDeniedError,
    ServerError,
    UnifiedLLMError,
)

__all__ = ["HubFile", "Repository", "choose_files", "open_repository", "refused", "split_reference"]

ENDPOINT: Final = "https://huggingface.co"
_LISTED = 20
# From the usual compromise down; what is not in the list comes last.
_PREFERRED: Final = (
    "Q4_K_M", "Q4_K_XL", "Q4_K_S", "Q4_0", "IQ4_NL", "IQ4_XS", "MXFP4", "Q5_K_M", "Q5_K_S", "Q6_K", "Q8_0", "Q3_K_L",
    "Q3_K_M", "IQ3_M", "Q3_K_S", "Q2_K", "F16", "BF16", "F32",
)  # fmt: skip
_SHARD = re.compile(r"-(\d{5})-of-(\d{5})\.gguf$", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class HubFile:
    """A file of a repository. `sha256` is known of large files."""

    name: str
    size: int | None
    sha256: str | None


@dataclass(frozen=True, slots=True)
class Repository:
    """A repository at one revision. `headers` carry the token, when there is one, and never show."""

    id: str
    revision: str
    files: tuple[HubFile, ...]
    endpoint: str
    headers: Any

    def __repr__(self) -> str:
        return f"Repository({self.id!r}, {len(self.files)} files)"

    def url(self, file: HubFile) -> str:
        """Where the content of `file` is."""
        from urllib.parse import quote

        return f"{self.endpoint}/{self.id}/resolve/{quote(self.revision, safe='')}/{quote(file.name)}"


def split_reference(reference: str) -> tuple[str, str | None]:
    """``REPO[:FILE]`` as repository and file. Raises `ConfigurationError` for what is no repository."""
    repository, _, file = str(reference).strip().removeprefix(f"{ENDPOINT}/").partition(":")
    if not re.fullmatch(r"[\w.-]+/[\w.-]+", repository):
        raise ConfigurationError(
            f"{reference!r} names no repository of the Hugging Face hub",
            hint="it has the form OWNER/NAME[:FILE], for example Qwen/Qwen3-0.6B-GGUF or Qwen/Qwen3-0.6B-GGUF:Q8_0",
        )
    return repository, file or None


def open_repository(name: str, *, token: str | bool | None = None) -> Repository:
    """What the hub says of `name`. HF_ENDPOINT names another hub; HF_TOKEN or a stored login is used by default.

    Raises:
        ModelNotFoundError: no such repository, or a private one. AuthenticationError: the token is refused.
        PermissionDeniedError: its conditions have to be accepted first. APIConnectionError: the hub is out of reach.
        MissingDependencyError: huggingface_hub is not installed.
    """
    hub = require("huggingface_hub", extra="local", purpose="downloading models")
    endpoint = (os.environ.get("HF_ENDPOINT") or ENDPOINT).rstrip("/")
    try:
        info = hub.HfApi(endpoint=endpoint, token=token).model_info(name, files_metadata=True, timeout=30)
    except hub.errors.HfHubHTTPError as exc:
        status = getattr(exc.response, "status_code", None)
        raise refused(name, status, gated=isinstance(exc, hub.errors.GatedRepoError)) from exc
    except _unreachable() as exc:
        raise APIConnectionError(
            f"the Hugging Face hub at {endpoint} is out of reach ({type(exc).__name__}: {exc})",
            hint="check the network, HTTPS_PROXY and HF_HUB_OFFLINE; HF_ENDPOINT names a mirror",
        ) from exc
    files = tuple(HubFile(s.rfilename, s.size, getattr(s.lfs, "sha256", None)) for s in info.siblings or ())
    headers = hub.utils.build_hf_headers(token=token, library_name="unified-llm")
    return Repository(name, info.sha or "main", files, endpoint, headers)


def refused(repository: str, status: int | None, *, gated: bool = False) -> UnifiedLLMError:
    """The error for an answer of the hub that is not success."""
    if gated or status == 403:
        return PermissionDeniedError(
            f"{repository} is not open to everybody",
            status=status,
            hint=f"accept its conditions at {ENDPOINT}/{repository}, then set HF_TOKEN (or run `hf auth login`)",
        )
    if status in (401, 404):  # the hub says 401 for repositories that do not exist, too
        return ModelNotFoundError(
            f"the Hugging Face hub has no model {repository}, or it is private",
            status=status,
            hint="check the spelling; for a private one set HF_TOKEN (or run `hf auth login`)",
        )
    return ServerError(f"the Hugging Face hub answered with status {status}", status=status, hint="try again later")


def _unreachable() -> tuple[type[Exception], ...]:
    """What huggingface_hub raises when nobody answers: its versions use different HTTP libraries."""
    modules = [sys.modules.get(name) for name in ("httpx2", "httpx")]
    return (OSError, *(m.HTTPError for m in modules if m is not None))  # OSError: requests, and HF_HUB_OFFLINE


# -- which files ----------------------------------------------------------------------------------------------------


def choose_files(repository: Repository, wanted: str | None) -> tuple[HubFile, ...]:
    """The GGUF file that `wanted` means (a file name, a part of one such as ``Q8_0``), with all its parts.

    Without `wanted` the usual compromise of size and quality is taken: Q4_K_M, or what comes nearest to it.

    Raises:
        ConfigurationError: no such file, several, or no GGUF file at all; the hint lists what there is.
    """
    models = _grouped([f for f in repository.files if f.name.lower().endswith(".gguf")])
    if not models:
        raise ConfigurationError(
            f"{repository.id} has no GGUF file",
            hint=f"look for a repository with GGUF in its name; this one has: {_names(repository.files)}",
        )
    if wanted is None:
        return min((m for m in models if not _is_projector(m)), key=_rank, default=models[0])
    exact = [m for m in models if wanted.lower() in (f.name.lower() for f in m)]
    part = [m for m in models if wanted.lower() in m[0].name.lower() and not _is_projector(m)]
    quantized = [m for m in part if _quantization(m) == wanted.upper()]
    for matches in (exact, quantized, part):
        if len(matches) == 1:
            return matches[0]
    many = quantized or part
    raise ConfigurationError(
        f"{repository.id} has {f'{len(many)} files' if many else 'no file'} {wanted!r}",
        hint=f"it has: {_names([m[0] for m in many or models])}",
    )


def _grouped(files: Sequence[HubFile]) -> list[tuple[HubFile, ...]]:
    """The files by model: the parts of a model in several files belong together."""
    groups: dict[str, list[HubFile]] = {}
    for file in sorted(files, key=lambda f: f.name):
        groups.setdefault(_SHARD.sub("", file.name), []).append(file)
    return [tuple(group) for group in groups.values()]


def _is_projector(model: Sequence[HubFile]) -> bool:
    return "mmproj" in model[0].name.lower()


def _quantization(model: Sequence[HubFile]) -> str:
    """``Q4_K_M`` of ``model-UD-Q4_K_M-00001-of-00002.gguf``."""
    stem = PurePosixPath(_SHARD.sub("", model[0].name)).name.removesuffix(".gguf").upper()
    match = re.search(r"(?<![A-Z0-9])((?:I?Q|TQ)\d[A-Z0-9_]*|BF16|F16|F32|FP16|MXFP4[A-Z_]*)$", stem)
    return match[1].replace("FP16", "F16") if match else ""


def _rank(model: Sequence[HubFile]) -> tuple[int, int]:
    quantization = _quantization(model)
    place = _PREFERRED.index(quantization) if quantization in _PREFERRED else len(_PREFERRED)
    return place, sum(f.size or 0 for f in model)


def _names(files: Sequence[HubFile]) -> str:
    more = len(files) - _LISTED
    return ", ".join(f.name for f in files[:_LISTED]) + (f" and {more} more" if more > 0 else "")
