#!/usr/bin/env bash
# Sets up what is missing, then runs every check and every test. Ends with the test runner's own summary.
set -euo pipefail
cd "$(dirname "$0")/.."

step() { printf '\n== %s\n' "$*"; }
fail() { printf '%s\n' "$*" >&2; exit 1; }

# The C compiler builds SQLite, the TLS library's cryptography, the allocator (with make) and the failing disk of the tests; the certificates and curl are for downloads;
# strace shows that a webhook is on disk before it is answered; redis-server is what gateways share; python3 and node
# run the examples, node also the Firestore of the tests.
missing_packages() {
  command -v cc >/dev/null || echo gcc
  command -v make >/dev/null || echo make
  [ -e /usr/include/stdlib.h ] || echo libc6-dev
  [ -e /etc/ssl/certs/ca-certificates.crt ] || echo ca-certificates
  command -v curl >/dev/null || echo curl
  command -v openssl >/dev/null || echo openssl
  command -v strace >/dev/null || echo strace
  command -v redis-server >/dev/null || echo redis-server
  command -v python3 >/dev/null || echo python3
  command -v node >/dev/null || echo nodejs
  command -v npm >/dev/null || echo npm
}

install_packages() {
  local packages
  packages=$(missing_packages | tr '\n' ' ')
  [ -n "$packages" ] || return 0
  if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
    fail "missing: $packages
install with: sudo apt-get install --no-install-recommends $packages"
  fi
  step "apt-get install $packages"
  apt-get update -q
  # shellcheck disable=SC2086 # a list of words
  DEBIAN_FRONTEND=noninteractive apt-get install -qy --no-install-recommends $packages
}

install_rust() {
  local wanted=$1
  local by_hand="install it with: curl -sSf https://sh.rustup.rs | sh -s -- --default-toolchain $wanted"
  if ! command -v cargo >/dev/null; then
    [ "$(id -u)" = 0 ] || fail "Rust $wanted or newer is missing; $by_hand"
    step "rustup: Rust $wanted"
    curl --proto '=https' --tlsv1.2 -sSf https://sh.rustup.rs |
      sh -s -- -y --no-modify-path --profile minimal --default-toolchain "$wanted"
  fi

  local found
  found=$(cargo --version | cut -d ' ' -f 2)
  [ "$(printf '%s\n' "$wanted" "$found" | sort -V | head -n 1)" = "$wanted" ] ||
    fail "Rust $found is too old, $wanted or newer is needed; $by_hand"

  if ! cargo fmt --version >/dev/null 2>&1 || ! cargo clippy --version >/dev/null 2>&1; then
    command -v rustup >/dev/null || fail "rustfmt or clippy is missing; install the packages of your Rust that have them"
    step "rustup component add rustfmt clippy"
    rustup component add rustfmt clippy
  fi
}

export PATH="$PATH:${CARGO_HOME:-$HOME/.cargo}/bin"
install_packages
install_rust "$(sed -n 's/^rust-version = "\(.*\)"$/\1/p' Cargo.toml)"

step "npm ci (the Firestore of the tests)"
(cd tests/firestore-emulator && npm ci --ignore-scripts --no-audit --no-fund)

step "format"
cargo fmt --check

step "lints"
cargo clippy --all-targets --locked -- -D warnings

step "licences, bans, sources"
if cargo deny --version >/dev/null 2>&1; then
  cargo deny check bans licenses sources
else
  echo "skipped: cargo-deny is not installed"
fi

step "demo"
cargo build --locked --bins --examples
# Not by `cargo run`: without the examples it would build everything once more.
built=$(cargo metadata --locked --no-deps --format-version 1 | sed 's/.*"target_directory":"\([^"]*\)".*/\1/')
"$built/debug/waba-gateway" demo --once

step "documentation"
RUSTDOCFLAGS="-D warnings" cargo doc --locked --no-deps --document-private-items
cargo test --locked --doc

step "simulation"
cargo sim -- --nocapture --test-threads=1

step "tests"
if cargo nextest --version >/dev/null 2>&1; then
  # They wait more than they work: with a thread for each processor half of it idles.
  # All of them: whoever looks at a failure wants to know whether it is alone.
  cargo nextest run --locked --no-fail-fast --test-threads "$((2 * $(nproc)))"
else
  cargo test --locked --no-fail-fast --lib --bins --tests
fi
