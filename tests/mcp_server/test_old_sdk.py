"""SDKs too old to protect the HTTP transport: the server refuses to serve it, and says what to install."""

from __future__ import annotations

import mcp.server.auth.middleware.bearer_auth
import mcp.server.transport_security
import pytest

from testkit.mcp_http import HTTP_SAFE
from unified_llm import UnifiedLLM
from unified_llm.errors import ConfigurationError
from unified_llm_mcp import build_server
from unified_llm_mcp.http import HttpSettings, http_app


@pytest.mark.parametrize(
    ("module", "protection"),
    [
        (mcp.server.transport_security, "RequestBodyLimitMiddleware"),
        (mcp.server.auth.middleware.bearer_auth, "authorization_context"),
    ],
)
def test_http_is_refused_without_the_sdks_protections(
    module: object, protection: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(module, protection, raising=HTTP_SAFE)
    with pytest.raises(ConfigurationError, match="too old") as refused:
        http_app(build_server(UnifiedLLM(model="offline:")), HttpSettings())
    assert refused.value.hint is not None
    assert "1.30" in refused.value.hint
