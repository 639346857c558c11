#!/usr/bin/env bash
# The LangChain package on the versions of langchain-core that it promises:
#   scripts/test_langchain_versions.sh [WORK_FOLDER [VERSION...]]         1.6.0, 1.7.2 and 1.8.2 when none is named
#   LANGCHAIN_TESTS="answers keeping" scripts/test_langchain_versions.sh  these files of tests/langchain alone
#
# All of tests/langchain runs on each: about a minute for a version. Other packages have the versions that the project
# pins, except for LangChain's own and what these choose (the SDK, tenacity): there, the newest that fit. From 1.7.2 on
# deepagents is installed, too: its smoke test is skipped everywhere else.
#
# langchain-core 1.7.3 and later ask for a certifi that not every index has, and never import it: the newest is
# installed without its dependencies, over those of the version before.
set -euo pipefail
cd "$(dirname "$0")/.."
work=${1:-$(mktemp -d)}
versions=("${@:2}")
[ ${#versions[@]} -gt 0 ] || versions=(1.6.0 1.7.2 1.8.2)
tests=(tests/langchain)
if [ -n "${LANGCHAIN_TESTS:-}" ]; then
  tests=()
  for test in $LANGCHAIN_TESTS; do tests+=("tests/langchain/test_$test.py"); done
fi
mkdir -p "$work"
grep -Ev '^(langchain|langgraph|langsmith|anthropic|tenacity)' constraints.txt >"$work/langchain-constraints.txt"
failed=()

try() { # version of langchain-core to resolve, version to run, more packages, packages over the rest without dependencies
  local resolved=$1 version=$2 more=$3 over=$4 started=$SECONDS installed venv=$work/langchain-core-$2 said
  uv venv --quiet --clear "$venv"
  # shellcheck disable=SC2086
  uv pip install --quiet --no-config --python "$venv" -c "$work/langchain-constraints.txt" --group dev \
    "langchain-core==$resolved" $more -e ".[claude,lmstudio,local]" -e integrations/langchain-unified-llm
  # shellcheck disable=SC2086
  [ -z "$over" ] || uv pip install --quiet --no-config --no-deps --python "$venv" $over
  installed=$((SECONDS - started))
  said=$(run "$venv") || {
    grep -E '^(FAILED|ERROR) ' <<<"$said" || echo "$said"
    # As in .ci/run: what fails is run once more, alone.
    said=$(run "$venv" --last-failed) || { failed+=("$version") && echo "$said"; }
  }
  echo "langchain-core $version: $(tail -n 1 <<<"$said") (installed in $installed s)"
}

run() { # environment, more arguments
  "$1/bin/python" -m pytest -q -o cache_dir="$1/cache" "${@:2}" "${tests[@]}" 2>&1
}

for version in "${versions[@]}"; do
  case $version in
    1.6.0) try 1.6.0 1.6.0 "" "" ;;
    1.8.2) try 1.7.2 1.8.2 "deepagents>=0.7" \
      "langchain-core==1.8.2 langchain==1.5.0 langchain-openai==1.7.4 langchain-anthropic==1.7.10" ;;
    *) try "$version" "$version" "deepagents>=0.7" "" ;;
  esac
done

if [ ${#failed[@]} -gt 0 ]; then
  echo "these versions of langchain-core fail: ${failed[*]}" >&2
  exit 1
fi
