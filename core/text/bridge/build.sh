#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# What CMake runs for the crate, and packaging/build before it, beside the C++: build.sh CARGO TARGET_FOLDER LIBRARY LOG. Cargo's lines are added to LOG
# as they come (ninja would hold them until the end; packaging/progress follows the file) and go to stderr when it fails.
cd "$(dirname "$0")" || exit 1
if ! CARGO_TARGET_DIR=$2 "$1" build --release --locked --color never 2>> "$4"; then
  tail -n 40 "$4" >&2
  if grep -qE "failed to (download|fetch|get|query)|spurious network error|Could not resolve" "$4"; then
    echo "[luthier] cargo could not fetch the crates of core/text/bridge/Cargo.lock that are named above. Check the connection to crates.io and run this again; what was fetched is kept." >&2
  fi
  exit 1
fi
cp "$2/release/libluthier_text.a" "$3"
