#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# What CMake runs for the crate: build.sh CARGO TARGET_FOLDER LIBRARY LOG. Cargo's lines go to LOG as they come (ninja would hold them
# until the end; packaging/build follows the file), and to stderr when it fails.
CARGO_TARGET_DIR=$2 "$1" build --release --locked --color never 2> "$4" || { cat "$4" >&2; exit 1; }
cp "$2/release/libluthier_text.a" "$3"
