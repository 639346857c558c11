"""Exceptions of the `anthropic` SDK and of the HTTP library under it, in the words of our error tree."""

from __future__ import annotations

import errno
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NoReturn

from unified_llm.drivers import failures
from unified_llm.drivers.urls import Address
from unified_llm.errors import (
    APIConnectionError,
    ConfigurationError,
    MissingCredentialError,
    MissingDependencyError,
    UnifiedLLMError,
    UnsupportedOptionError,
)
from unified_llm.wire import request_id_of

__all__ = ["Translator"]

_SDK_SECONDS = 600.0
_SDK_CONNECT_SECONDS = 5.0
_OFFICIAL = "https://api.anthropic.com"
_CREDENTIAL_HINT = "set ANTHROPIC_API_KEY, or pass api_key=... to UnifiedLLM(provider='claude')"


class Translator:
    """Knows the exception classes of the two packages, which are imported lazily, and the address for messages."""

    def __init__(self, anthropic: Any, httpx2: Any, base_url: str | None) -> None:
        self._anthropic = anthropic
        self._httpx2 = httpx2
        self.address = Address.parse(base_url or _OFFICIAL)
        self.caught: tuple[type[Exception], ...] = (
            anthropic.AnthropicError,
            httpx2.HTTPError,
            TypeError,
            ImportError,
        )

    @contextmanager
    def while_constructing(self) -> Iterator[None]:
        """Errors of making a client: its credential chain, options it does not know."""
        try:
            yield
        except ImportError as exc:
            raise MissingDependencyError(
                f"the anthropic SDK lacks a package for this platform: {exc}",
                hint='pip install "anthropic[bedrock]" or "anthropic[vertex]"',
            ) from exc
        except self._anthropic.AnthropicError as exc:
            raise MissingCredentialError(f"the anthropic SDK cannot log in: {exc}", hint=_CREDENTIAL_HINT) from exc
        except (TypeError, ValueError) as exc:
            raise ConfigurationError(
                f"the anthropic SDK refused its options: {exc}",
                hint="sdk_options are keyword arguments of anthropic.Anthropic in the installed version",
            ) from exc

    def raise_for(self, exc: Exception, seconds: float | None) -> NoReturn:
        """Raise what an exchange's exception means in our tree. One that is not the SDK's is raised as it is.

        `seconds` is the limit it was sent with, None for the SDK's own.
        """
        if isinstance(exc, TypeError) and "authentication method" not in str(exc):
            raise exc
        if isinstance(exc, ImportError):
            with self.while_constructing():
                raise exc
        if isinstance(exc.__cause__, UnifiedLLMError):  # what our transport raised, wrapped by the SDK
            raise exc.__cause__
        raise self._of_request(exc, seconds) from exc

    def _of_request(self, exc: Exception, seconds: float | None) -> UnifiedLLMError:
        below = exc.__cause__ if isinstance(exc, self._anthropic.APIConnectionError) else exc
        late = isinstance(exc, self._anthropic.APITimeoutError) or isinstance(below, self._httpx2.TimeoutException)
        if late and not _refused(below):
            return self._timed_out(below, "first byte", seconds)
        if isinstance(exc, (self._anthropic.APIConnectionError, self._httpx2.HTTPError)):
            return self._not_connected(below)
        if "not supported" in str(exc):
            return UnsupportedOptionError(str(exc), hint="use Anthropic's own API for it")
        return MissingCredentialError(f"the anthropic SDK cannot log in: {exc}", hint=_CREDENTIAL_HINT)

    def of_body(
        self, exc: Exception, status: int, headers: Mapping[str, str], seconds: float | None
    ) -> UnifiedLLMError:
        """What reading a body raised; these are not the SDK's exceptions but the HTTP library's."""
        if isinstance(exc, self._httpx2.TimeoutException):
            error = self._timed_out(exc, "next byte", seconds)
        elif isinstance(exc, self._httpx2.DecodingError):
            error = failures.damaged(self.address, status, str(exc))
        else:
            error = failures.cut(self.address, status, str(exc))
        return error.with_context(status=status, request_id=request_id_of(headers))

    def of_frames(self, exc: Exception, status: int, headers: Mapping[str, str]) -> UnifiedLLMError:
        """A stream whose frames cannot be read."""
        error = failures.damaged(self.address, status, str(exc))
        return error.with_context(status=status, request_id=request_id_of(headers))

    def _timed_out(self, cause: BaseException | None, phase: failures.Phase, seconds: float | None) -> UnifiedLLMError:
        if isinstance(cause, self._httpx2.ConnectTimeout):
            limit = min(seconds, failures.CONNECT_SECONDS) if seconds is not None else _SDK_CONNECT_SECONDS
            return failures.timed_out(self.address, "connect", limit)
        if isinstance(cause, self._httpx2.PoolTimeout):
            phase = "pool"
        return failures.timed_out(self.address, phase, _SDK_SECONDS if seconds is None else seconds)

    def _not_connected(self, cause: BaseException | None) -> APIConnectionError:
        if cause is not None and (isinstance(cause, self._httpx2.ConnectError) or _refused(cause)):
            return failures.connect_failed(self.address, _root(cause))
        return failures.lost(self.address, cause or ConnectionError())


def _refused(exc: BaseException | None) -> bool:
    """Whether nothing listens. Older versions of aiohttp have this, too, called a timeout on the way here."""
    return exc is not None and getattr(_root(exc), "errno", None) == errno.ECONNREFUSED


def _root(exc: BaseException) -> BaseException:
    """The operating system's or TLS error at the bottom of a chain, else the bottom itself."""
    while True:
        below = exc.__cause__ or exc.__context__
        if below is None or isinstance(exc, OSError):
            return exc
        exc = below
