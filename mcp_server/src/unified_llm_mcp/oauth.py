"""OAuth 2.1 resource server: tokens of somebody else's authorization server, checked here and passed on to nobody."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from unified_llm.errors import ConfigurationError
from unified_llm_mcp.settings import is_loopback

if TYPE_CHECKING:
    from mcp.server.auth.provider import AccessToken, TokenVerifier

__all__ = ["JWTVerifier", "OAuthResource"]

logger = logging.getLogger("unified_llm_mcp")

_ALGORITHMS = ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"]


@dataclass(frozen=True, slots=True, kw_only=True)
class OAuthResource:
    """This server as a protected resource (RFC 9728).

    Attributes:
        issuer: URL of the authorization server clients get tokens from.
        resource: URL of this server as clients write it; a token must have been issued for it (RFC 8707).
        verifier: checks tokens; `JWTVerifier` for JSON Web Tokens, or any `TokenVerifier` of the MCP SDK.
        scopes: scopes a token must have.

    Raises:
        ConfigurationError: `issuer` or `resource` is no URL.
    """

    issuer: str
    resource: str
    verifier: TokenVerifier
    scopes: Sequence[str] = ()

    def __post_init__(self) -> None:
        for name, url in (("issuer", self.issuer), ("resource", self.resource)):
            _require_url(name, url)

    def sdk_options(self) -> dict[str, Any]:
        """Constructor keywords of the SDK's server."""
        from mcp.server.auth.settings import AuthSettings

        settings = {
            "issuer_url": self.issuer,
            "resource_server_url": self.resource,
            "required_scopes": list(self.scopes),
            "validate_token_resource": True,
        }
        return {"auth": AuthSettings.model_validate(settings), "token_verifier": self.verifier}


def _require_url(name: str, url: str) -> None:
    from pydantic import AnyHttpUrl, TypeAdapter

    try:
        TypeAdapter(AnyHttpUrl).validate_python(url)
    except ValueError as error:
        raise ConfigurationError(
            f"the {name} of OAuth, {url!r}, is no URL", hint="write it whole, such as https://id.example.org"
        ) from error


class JWTVerifier:
    """Verifies JSON Web Tokens with the keys an issuer publishes (JWKS, RFC 7517).

    Signature, issuer, audience, expiry and "not before" are checked; only asymmetric algorithms are accepted.

    Args:
        issuer: expected ``iss``.
        audience: expected ``aud``: the URL of this server.
        jwks_url: where the keys are.
    """

    def __init__(self, *, issuer: str, audience: str, jwks_url: str) -> None:
        from jwt import PyJWKClient

        try:
            parts = urlsplit(jwks_url)
        except ValueError as error:
            raise ConfigurationError(
                "the address of the issuer's keys is no URL", hint="pass an https:// URL"
            ) from error
        if parts.scheme != "https" and not (parts.scheme == "http" and is_loopback(parts.hostname or "")):
            raise ConfigurationError("the address of the issuer's keys must be https", hint="pass an https:// URL")
        self._issuer = issuer
        self._audience = audience
        self._keys = PyJWKClient(jwks_url, timeout=5)

    async def verify_token(self, token: str) -> AccessToken | None:
        """The token's content, or None when it is not valid; why is in the log, never told to the caller."""
        from jwt import PyJWTError

        try:
            claims = await asyncio.to_thread(self._claims, token)
            return self._access_token(token, claims)
        except PyJWTError as error:
            logger.info("a bearer token was refused: %s", error)
        except (TypeError, ValueError, OverflowError) as error:
            # Signed by the issuer, and odd all the same: claims of other types. Their values are not for the log.
            logger.info("a bearer token was refused: a claim is of the wrong kind (%s)", type(error).__name__)
        return None

    def _claims(self, token: str) -> dict[str, Any]:
        import jwt

        key = self._keys.get_signing_key_from_jwt(token)
        claims: dict[str, Any] = jwt.decode(
            token,
            key.key,
            algorithms=_ALGORITHMS,
            issuer=self._issuer,
            audience=self._audience,
            options={"require": ["exp", "iss", "aud"]},
        )
        return claims

    def _access_token(self, token: str, claims: dict[str, Any]) -> AccessToken:
        from mcp.server.auth.provider import AccessToken

        scope = claims.get("scope", claims.get("scp", ""))
        values = {
            "token": token,
            "client_id": str(claims.get("client_id") or claims.get("azp") or claims.get("sub") or ""),
            "scopes": scope.split() if isinstance(scope, str) else list(scope),
            "expires_at": int(claims["exp"]),
            "resource": self._audience,
            "subject": claims.get("sub"),
            "claims": claims,
        }
        return AccessToken.model_validate(values)
