#!/usr/bin/env bash
# Each member alone, with the lowest versions it declares: scripts/test_lowest.sh [WORK_FOLDER]
#
# Two to three minutes. It runs the tests in which a dependency's version shows: what is built from pydantic's and the
# SDKs' types, what goes over the wire, engines, the frameworks' messages. Left out are tests of pure functions, tests
# that compare with the newest types of a vendor's SDK (the strict doubles), and tests that need packages which an
# older version of these would not get along with (langchain-tests).
set -euo pipefail
cd "$(dirname "$0")/.."
work=${1:-$(mktemp -d)}
tools="pytest pytest-timeout anyio hypothesis jsonschema gguf openai trustme socksio"
failed=()

try() { # name, what to install, folder of the tests, their names
  local name=$1 packages=$2 folder=$3 tests=()
  for test in $4; do tests+=("tests/$folder/test_$test.py"); done
  echo "-- $name ($SECONDS s)"
  uv venv --quiet --clear "$work/$name"
  # --no-config: the pinned versions are for everyday runs. Direct dependencies at their lowest, the rest as it fits.
  # shellcheck disable=SC2086
  uv pip install --quiet --no-config --resolution lowest-direct --python "$work/$name" $packages
  # shellcheck disable=SC2086
  uv pip install --quiet --no-config --python "$work/$name" $tools
  # As in .ci/run: what fails is run once more, alone.
  "$work/$name/bin/python" -m pytest -q -o cache_dir="$work/$name/cache" "${tests[@]}" ||
    "$work/$name/bin/python" -m pytest -q -o cache_dir="$work/$name/cache" --last-failed "${tests[@]}" ||
    failed+=("$name")
}

try core "-e .[claude,local,keyring,aiohttp,numpy]" core "messages responses schema_problems client failures \
  unusable_answers http_driver claude_driver claude_sdk_pipeline openai_double local_provider local_download cache \
  cli_app cli_chat"
try langchain "-e .[claude] -e integrations/langchain-unified-llm" langchain \
  "lc_to_core chat_settings chat_calls embeddings tool_binding structured_output error_classes"
try llama_index "-e .[claude] -e integrations/llama-index-llms-unified-llm" llama_index "llm embedding"
try mcp "-e . -e mcp_server" mcp_server \
  "chat_tool stdio lines process progress_and_handles embed_tool models_tool conversations resources limits old_sdk \
  prompts_and_completion check"

echo "-- done ($SECONDS s)"
if [ ${#failed[@]} -gt 0 ]; then
  echo "these members fail on the lowest versions they declare: ${failed[*]}" >&2
  exit 1
fi
