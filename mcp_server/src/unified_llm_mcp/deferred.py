"""The client and all that lives between calls, made when something is first asked of it.

A host starts every configured server and lists its tools, and most of them are never called: until then neither the
library nor its dependencies need to be loaded.
"""

from __future__ import annotations

import asyncio
import importlib
import logging
import threading
from typing import TYPE_CHECKING, Any

from unified_llm_mcp.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Callable

    from unified_llm import UnifiedLLM
    from unified_llm_mcp.state import ServerState

__all__ = ["Deferred"]

logger = logging.getLogger("unified_llm_mcp")


class Deferred:
    """Makes the `ServerState` once."""

    def __init__(self, client: UnifiedLLM | None, settings: Settings) -> None:
        self.settings = settings
        self.made: ServerState | None = None
        self.on_close: list[Callable[[], None]] = []
        self._client = client
        self._closed = False
        self._lock = threading.Lock()
        self._functions: dict[str, Any] = {}

    @property
    def state(self) -> ServerState:
        """The state; loads the library when that has not been done."""
        with self._lock:
            if self.made is None:
                from unified_llm_mcp.state import ServerState

                client = self._client if self._client is not None else _own_client(self.settings)
                self.made = ServerState(client, self.settings)
                if self._closed:  # meanwhile
                    self.made.runs.close()
            return self.made

    async def state_async(self) -> ServerState:
        """`state`; what is slow happens in a thread, so that pings are answered meanwhile."""
        return self.made if self.made is not None else await asyncio.to_thread(lambda: self.state)

    async def function(self, home: str) -> Any:
        """What ``module:name`` names; the module is imported in a thread the first time."""
        found = self._functions.get(home)
        if found is None:
            module, _, name = home.partition(":")
            # Not by a look into sys.modules: a module that another call is importing is there, and half empty.
            found = getattr(await asyncio.to_thread(importlib.import_module, module), name)
            self._functions[home] = found
        return found

    async def aclose(self) -> None:
        """Cancel every call in flight; upstream requests are closed."""
        self._closed = True
        for close in self.on_close:
            close()
        if self.made is not None:
            await self.made.aclose()


def _own_client(settings: Settings) -> UnifiedLLM:
    """A client whose current provider is that of the default model, when it names one."""
    from unified_llm import UnifiedLLM
    from unified_llm.detection import split_model_ref
    from unified_llm.errors import ConfigurationError

    client = UnifiedLLM()
    provider, _ = split_model_ref(settings.model)
    if provider is not None:
        try:
            client.set_provider(provider)
        except ConfigurationError as error:
            # A missing key or package: the call that needs it says so, and other models work without.
            logger.info("the provider of the default model is not ready: %s", error.message)
    return client
