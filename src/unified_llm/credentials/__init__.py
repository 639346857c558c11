"""Where keys come from: explicit > environment > configuration file > keyring. Values never show in a repr or a log."""

from unified_llm.credentials.chain import CHAIN, find_key, missing_key
from unified_llm.credentials.dot_env import DotEnvSource
from unified_llm.credentials.manager import CredentialManager, CredentialSource
from unified_llm.credentials.secret import Secret, secret
from unified_llm.credentials.sources import (
    FIELDS,
    ConfigFileSource,
    EnvironmentSource,
    Source,
    default_config_path,
)
from unified_llm.credentials.system_keyring import KeyringSource

__all__ = [
    "CHAIN",
    "FIELDS",
    "ConfigFileSource",
    "CredentialManager",
    "CredentialSource",
    "DotEnvSource",
    "EnvironmentSource",
    "KeyringSource",
    "Secret",
    "Source",
    "default_config_path",
    "find_key",
    "missing_key",
    "secret",
]
