#!/usr/bin/env bash
# Runs every test, and says at the end how long it took and what was skipped.
set -euo pipefail
cd "$(dirname "$0")/../.."

export BERTH_TOOLS=${BERTH_TOOLS:-$HOME/.cache/berth/tools}
export PATH="$BERTH_TOOLS/bin:$PATH:/usr/sbin:/sbin"
BERTH_SKIPS=$(mktemp)
export BERTH_SKIPS
trap 'rm -f "$BERTH_SKIPS"' EXIT

# Those that take longest begin first, so that none of them is left alone at the end.
long='./test/image ./test/mutation ./internal/meta/sqlmeta ./test/reliability ./test/clients ./test/proxies'

start=$SECONDS
status=0
# shellcheck disable=SC2086 # these are words
go test -count=1 -timeout 14m $long ./... </dev/null || status=$?

if [ -s "$BERTH_SKIPS" ]; then
	echo
	echo "SKIPPED, because something is missing here:"
	sort -u "$BERTH_SKIPS" | sed 's/^/  /'
fi
echo
echo "make test: $([ $status = 0 ] && echo ok || echo FAILED) after $((SECONDS - start)) s"
exit $status
