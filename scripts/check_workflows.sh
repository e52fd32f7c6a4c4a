#!/usr/bin/env bash
# Checks .github/workflows with actionlint, which is a Go program: only where Go is installed.
set -euo pipefail
version=v1.7.12

cd "$(dirname "$0")/.."
if ! command -v go >/dev/null; then
  echo "workflows: not checked, Go is not installed"
  exit 0
fi
tools=$PWD/.tools
if [ ! -x "$tools/actionlint-$version" ]; then
  GOBIN="$tools" go install "github.com/rhysd/actionlint/cmd/actionlint@$version"
  mv "$tools/actionlint" "$tools/actionlint-$version"
fi
# The shell and Python checkers it would call are used where they happen to be installed.
"$tools/actionlint-$version"
echo "workflows: checked by actionlint $version"
