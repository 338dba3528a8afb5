#!/usr/bin/env bash
# Installs what the tests need and this machine does not have yet: Debian
# packages, and Go programs in the versions named here. Nothing that is there
# already is touched, so a second run takes a second.
#
#   test/tools/install.sh          install
#   test/tools/install.sh --check  only say what is missing; exit 1 if anything is
#
# Go programs go to $BERTH_TOOLS/bin (by default ~/.cache/berth/tools/bin).
# Installing packages takes root and apt; without them the script says what is
# missing and goes on, and the tests concerned are skipped. With CI=true it
# fails instead. No package it installs is left running.
set -euo pipefail

tools=${BERTH_TOOLS:-$HOME/.cache/berth/tools}
only_check=${1:-}
missing=()

# A line is: a command that shows that the package is there, and the package.
packages='
dockerd docker.io
docker docker.io
containerd containerd
runc runc
podman podman
buildah buildah
skopeo skopeo
crun crun
htpasswd apache2-utils
strace strace
mkfs.ext4 e2fsprogs
losetup util-linux
git git
curl curl
openssl openssl
nginx nginx-light
apache2 apache2
docker-compose docker-compose
docker-registry docker-registry
'

# A line is: the program, the module's package to install, and its version.
programs='
conformance github.com/opencontainers/distribution-spec/conformance v0.0.0-20260831232431-97274622c111
crane github.com/google/go-containerregistry/cmd/crane v0.22.1
oras oras.land/oras/cmd/oras v1.3.6
regctl github.com/regclient/regclient/cmd/regctl v0.11.7
helm helm.sh/helm/v3/cmd/helm v3.22.0
pebble github.com/letsencrypt/pebble/v2/cmd/pebble v2.10.1
registry github.com/distribution/distribution/v3/cmd/registry v3.1.2
caddy github.com/caddyserver/caddy/v2/cmd/caddy v2.11.9
staticcheck honnef.co/go/tools/cmd/staticcheck v0.8.2
'

export PATH="$PATH:/usr/sbin:/sbin"

say() { printf 'tools: %s\n' "$*" >&2; }
have() { command -v "$1" >/dev/null 2>&1; }

# wanted_packages prints the Debian packages that are not there.
wanted_packages() {
	local command package
	while read -r command package; do
		[ -z "$command" ] || have "$command" || echo "$package"
	done <<<"$packages"
	# A busybox that needs no libraries, to make images of.
	if ! have busybox || ldd "$(command -v busybox)" >/dev/null 2>&1; then echo busybox-static; fi
	[ -s /etc/ssl/certs/ca-certificates.crt ] || echo ca-certificates
}

# apt_install installs packages without starting their services, now or at the
# next boot.
apt_install() {
	local policy=/usr/sbin/policy-rc.d ours=
	if [ ! -e "$policy" ]; then
		ours=$policy
		trap 'rm -f /usr/sbin/policy-rc.d' EXIT
		printf '#!/bin/sh\nexit 101\n' >"$policy"
		chmod 755 "$policy"
	fi
	export DEBIAN_FRONTEND=noninteractive
	local apt=(apt-get -q -y -o DPkg::Lock::Timeout=300 -o Dpkg::Use-Pty=0)
	"${apt[@]}" update </dev/null >&2
	"${apt[@]}" install --no-install-recommends "$@" </dev/null >&2
	if [ -n "$ours" ]; then
		rm -f "$ours"
		trap - EXIT
	fi
	have systemctl || return 0
	local package
	for package in "$@"; do
		case $package in
		docker.io) systemctl disable docker.service docker.socket containerd.service ;;
		nginx-light) systemctl disable nginx.service ;;
		apache2 | docker-registry) systemctl disable "$package.service" ;;
		esac >/dev/null 2>&1 || true
	done
}

# version_of prints the module version that the Go program $1 was built from.
version_of() {
	go version -m "$1" 2>/dev/null | awk '$1 == "mod" { print $3 }'
}

go_install() {
	local name=$1 package=$2 version=$3 start=$SECONDS
	say "building $name $version (once; some take minutes)"
	GOBIN="$tools/bin" GOFLAGS='' GOTOOLCHAIN=local CGO_ENABLED=0 go install "$package@$version" </dev/null || return 1
	say "$name took $((SECONDS - start)) s"
}

install_packages() {
	local wanted
	mapfile -t wanted < <(wanted_packages | sort -u)
	[ ${#wanted[@]} -gt 0 ] || return 0
	if [ -n "$only_check" ]; then
		missing+=("${wanted[@]}")
	elif [ "$(id -u)" = 0 ] && have apt-get; then
		say "installing ${wanted[*]}"
		apt_install "${wanted[@]}"
		mapfile -t wanted < <(wanted_packages | sort -u)
		missing+=(${wanted[@]+"${wanted[@]}"})
	elif have apt-get; then
		missing+=("${wanted[@]}")
		say "not root, so not installing packages. As root: apt-get install --no-install-recommends ${wanted[*]}"
	else
		missing+=("${wanted[@]}")
		say "no apt-get here. Install what Debian calls: ${wanted[*]}"
	fi
}

install_programs() {
	local name package version
	while read -r name package version; do
		[ -n "$name" ] || continue
		[ "$(version_of "$tools/bin/$name")" != "$version" ] || continue
		if [ -n "$only_check" ]; then
			missing+=("$name $version")
		elif ! go_install "$name" "$package" "$version"; then
			missing+=("$name $version")
		fi
	done <<<"$programs"
}

have go || { say "Go is missing: https://go.dev/dl/"; exit 1; }
mkdir -p "$tools/bin"
if have flock; then # two runs at once would build everything twice
	exec 9>"$tools/lock"
	flock 9
fi
install_packages
install_programs

if [ ${#missing[@]} -gt 0 ]; then
	say "MISSING: $(printf '%s, ' "${missing[@]}" | sed 's/, $//')"
	say "the tests that need them are skipped, and say so at the end"
	if [ "${CI:-}" = true ] || [ -n "$only_check" ]; then exit 1; fi
fi
