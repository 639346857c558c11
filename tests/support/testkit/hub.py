"""A Hugging Face hub on loopback: one repository, whose files are served with ranges, redirects and faults.

    with HubDouble("acme/Tiny-GGUF", {"tiny-Q4_K_M.gguf": content}) as hub:
        monkeypatch.setenv("HF_ENDPOINT", hub.url)
        pull("acme/Tiny-GGUF")
        assert hub.ranges == [None]

Files are served from ``/cdn/...`` after a redirect, as the hub does with large ones. `cuts` says after how many bytes
each download in turn breaks off (None: never).
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Self
from urllib.parse import unquote, urlsplit

from testkit.wire_server import CLOSE, Answer, Request, WireServer, head, json_reply, reply

__all__ = ["HubDouble"]


class HubDouble:
    """See the module docstring. `token`, when given, is asked for; `gated` refuses the content (403)."""

    def __init__(
        self,
        repository: str,
        files: Mapping[str, bytes],
        *,
        cuts: Sequence[int | None] = (),
        ranges_served: bool = True,
        token: str | None = None,
        gated: bool = False,
        damaged: bool = False,
    ) -> None:
        self.repository = repository
        self.files = dict(files)
        self.revision = "0123456789abcdef0123456789abcdef01234567"
        self.ranges: list[str | None] = []
        self.authorizations: dict[str, set[str | None]] = {"api": set(), "cdn": set()}
        self.cuts = list(cuts)
        self._ranges_served = ranges_served
        self._token = token
        self._gated = gated
        self._damaged = damaged
        self._cdn = WireServer(self._content)
        self._server = WireServer(self._answer)

    @property
    def url(self) -> str:
        return self._server.url

    def __enter__(self) -> Self:
        self._cdn.__enter__()
        self._server.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._server.__exit__(kind, value, traceback)
        self._cdn.__exit__(kind, value, traceback)

    def _answer(self, request: Request) -> Answer:
        path = unquote(urlsplit(request.target).path)
        authorization = request.headers.get("authorization")
        self.authorizations["api"].add(authorization)
        if self._token and authorization != f"Bearer {self._token}":
            return json_reply({"error": "Invalid username or password."}, 401)
        if path == f"/api/models/{self.repository}":
            return json_reply(self._info())
        start = f"/{self.repository}/resolve/{self.revision}/"
        if path.startswith(start) and path.removeprefix(start) in self.files:
            if self._gated:
                return json_reply({"error": "Access is restricted"}, 403, {"x-error-code": "GatedRepo"})
            return reply(302, headers={"location": f"{self._cdn.url}/{request.target.split('/resolve/')[1]}?sig=1"})
        headers = {"x-error-code": "RepoNotFound"}
        return json_reply({"error": "Repository not found"}, 404, headers)

    def _info(self) -> dict[str, object]:
        siblings = [
            {
                "rfilename": name,
                "size": len(content),
                "blobId": "x",
                "lfs": {"sha256": hashlib.sha256(content).hexdigest(), "size": len(content), "pointerSize": 1},
            }
            for name, content in self.files.items()
        ]
        return {"id": self.repository, "modelId": self.repository, "sha": self.revision, "siblings": siblings}

    def _content(self, request: Request) -> Answer:
        self.authorizations["cdn"].add(request.headers.get("authorization"))
        content = self.files[unquote(urlsplit(request.target).path).split("/", 2)[2]]
        if self._damaged:
            content = bytes(len(content))
        wanted = request.headers.get("range")
        self.ranges.append(wanted)
        start = int(wanted.removeprefix("bytes=").rstrip("-")) if wanted and self._ranges_served else 0
        headers = {"content-length": str(len(content) - start), "content-type": "application/octet-stream"}
        if start:
            headers["content-range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
        cut = self.cuts.pop(0) if self.cuts else None
        top = head(206 if start else 200, headers)
        if cut is None:
            return [top + content[start:]]
        return [top + content[start : start + cut], CLOSE]
