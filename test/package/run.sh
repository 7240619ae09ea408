#!/usr/bin/env bash
# Packs the package, installs it into an empty folder without dev dependencies, and runs it there.
set -euo pipefail
cd "$(dirname "$0")/../.."
node_bin="$PWD/node_modules/.bin/node"
work="$(mktemp -d)"
cleanup() {
  "$node_bin" "$work/app/node_modules/patchcord/dist/cli/bin.js" down --home "$work/home" >/dev/null 2>&1 || true
  rm -rf "$work"
}
trap cleanup EXIT

tarball="$(npm pack --silent --ignore-scripts --pack-destination "$work")"
mkdir "$work/app"
(cd "$work/app" && npm init -y >/dev/null && npm install --no-audit --no-fund --omit=dev "$work/$tarball" >/dev/null)
patchcord() { "$node_bin" "$work/app/node_modules/patchcord/dist/cli/bin.js" "$@"; }

patchcord --version
patchcord up --home "$work/home"
patchcord namespace create demo --home "$work/home"
patchcord agent add solo@demo --home "$work/home"
patchcord send solo 'a note to myself' --as solo@demo --home "$work/home"
patchcord inbox --as solo@demo --home "$work/home" --json | grep -q 'a note to myself'
patchcord down --home "$work/home"
echo 'package: installs into an empty folder and runs'
