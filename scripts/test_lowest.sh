#!/usr/bin/env bash
# Each member alone, with the lowest versions it declares: scripts/test_lowest.sh [WORK_FOLDER]
set -euo pipefail
cd "$(dirname "$0")/.."
work=${1:-$(mktemp -d)}
tools="pytest pytest-timeout anyio hypothesis jsonschema gguf pydantic openai keyring trustme socksio genai-prices"

try() { # name, what to install, what to test
  local name=$1 packages=$2 tests=$3
  echo "-- $name"
  uv venv --quiet "$work/$name"
  # --no-config: the pinned versions are for everyday runs. Direct dependencies at their lowest, the rest as it fits.
  # shellcheck disable=SC2086
  uv pip install --quiet --no-config --resolution lowest-direct --python "$work/$name" $packages
  # shellcheck disable=SC2086
  uv pip install --quiet --no-config --python "$work/$name" $tools
  # shellcheck disable=SC2086
  "$work/$name/bin/python" -m pytest -q -p no:cacheprovider $tests
}

try core "-e .[claude,local,keyring]" \
  "tests/core/test_messages.py tests/core/test_responses.py tests/core/test_client.py tests/core/test_failures.py tests/core/test_http_driver.py"
try langchain "-e .[claude] -e integrations/langchain-unified-llm" \
  "tests/langchain/test_lc_to_core.py tests/langchain/test_chat_settings.py"
try llama_index "-e .[claude] -e integrations/llama-index-llms-unified-llm" "tests/llama_index"
try mcp "-e . -e mcp_server" "tests/mcp_server/test_chat_tool.py"
