#!/usr/bin/env bash
# Runs every test, and says at the end how long it took and what was skipped.
set -euo pipefail
cd "$(dirname "$0")/../.."

export BERTH_TOOLS=${BERTH_TOOLS:-$HOME/.cache/berth/tools}
export PATH="$BERTH_TOOLS/bin:$PATH:/usr/sbin:/sbin"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
BERTH_SKIPS=$work/skips
export BERTH_SKIPS

# All that is compiled here is compiled as the program is, so that it is compiled once
# for the tests and the program, and once for all clones.
export CGO_ENABLED=0 GOFLAGS="${GOFLAGS:-} -trimpath"

# Those that take longest begin first, so that none of them is left alone at the end.
long='./test/image ./test/mutation ./internal/meta/sqlmeta ./test/reliability ./test/clients ./test/proxies'

start=$SECONDS
status=0
go build -o "$work/berth" ./cmd/berth
export BERTH_TEST_PROGRAM=$work/berth
# TestVet does all that go test would vet here.
# shellcheck disable=SC2086 # these are words
go test -count=1 -vet=off -timeout 14m $long ./... </dev/null || status=$?

if [ -s "$BERTH_SKIPS" ]; then
	echo
	echo "SKIPPED, because something is missing here:"
	sort -u "$BERTH_SKIPS" | sed 's/^/  /'
fi
echo
echo "make test: $([ $status = 0 ] && echo ok || echo FAILED) after $((SECONDS - start)) s"
exit $status
