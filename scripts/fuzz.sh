#!/usr/bin/env bash
# The long form of tests/it/fuzz.rs: libFuzzer on the same targets, with coverage, on stable Rust.
#   scripts/fuzz.sh [SECONDS [TARGET…]]   each target for so long (600), all of them by default
#   scripts/fuzz.sh keep [TARGET…]        adds to fuzz/corpus what was found and reaches new code
# What breaks a target is written to fuzz/artifacts; put it into fuzz/corpus with the fix.
# `cargo fuzz run TARGET` works as well, where it is installed and Rust is a nightly one.
set -euo pipefail
cd "$(dirname "$0")/.."

seconds=${1:-600}
[ $# -eq 0 ] || shift
if [ $# -eq 0 ]; then
  mapfile -t targets < <(sed -n 's/^name = "\(.*\)"$/\1/p' fuzz/Cargo.toml | grep -v '^waba-fuzz$')
else
  targets=("$@")
fi

# Not the gateway's own directory: everything is built anew with coverage.
build=${CARGO_TARGET_DIR:-target}/fuzz
host=$(rustc -vV | sed -n 's/^host: //p')
flags='--cfg fuzzing -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4'
flags+=' -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table'
flags+=' -Cllvm-args=-sanitizer-coverage-trace-compares -Cdebug-assertions -Coverflow-checks'
CARGO_TARGET_DIR=$build RUSTFLAGS=$flags \
  cargo build --release --locked --manifest-path fuzz/Cargo.toml --target "$host"

# Databases are made by the thousand: in memory, where there is some.
[ ! -w /dev/shm ] || export TMPDIR=/dev/shm
mkdir -p fuzz/artifacts
for target in "${targets[@]}"; do
  run=$build/$host/release/$target
  found=$build/corpus/$target
  mkdir -p "$found"
  printf '\n== %s\n' "$target"
  if [ "$seconds" = keep ]; then
    "$run" -merge=1 -max_len=4096 "fuzz/corpus/$target" "$found"
  else
    "$run" -max_total_time="$seconds" -max_len=16384 -timeout=20 -rss_limit_mb=4096 \
      -print_final_stats=1 -verbosity=0 -artifact_prefix="fuzz/artifacts/$target-" \
      "$found" "fuzz/corpus/$target"
  fi
done
