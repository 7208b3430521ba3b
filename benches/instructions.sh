#!/usr/bin/env bash
# User-space instructions of an allowed order, as one number on standard output; progress goes to standard error.
#
# The release build runs under callgrind as operators run it: one worker, audit records on, the preset csp-2026, the
# stand-in as its upstream over plain HTTP. Eight kept connections bring varied orders (examples/orders/varied.rs):
# 200 tokens of 50 partners, 1,000 customers, 50 resellers, three lines each; a ledger says that all have accepted.
# One run answers WARM orders, another one 8,000 more. Their difference, divided by 8,000, is the number: start-up, first
# checks of tokens and first look-ups cancel, for after 4,000 orders each pair of partner and customer has been there.
#
# All threads count, the kernel does not. Every order has to be answered 201 and to be recorded as allowed; else there is
# no number, and the exit code is 1. Callgrind offers no AVX-512 or SHA instructions to the program, so cryptography that
# would use them counts more than it costs.
#
# Needs valgrind and curl (Debian: `apt-get install valgrind curl`), and takes two minutes after the build. It may
# run beside other work and beside itself. BUILD=no takes the programs in target/release as they are.
#
#   [BUILD=no] benches/instructions.sh
set -euo pipefail
cd "$(dirname "$0")/.."
command -v valgrind >/dev/null || { echo 'valgrind is missing: apt-get install valgrind' >&2; exit 1; }
programs='--bin countersign --example stage --example orders'
. benches/common.sh

warm=4000 measured=8000 connections=8
port=$((10240 + $$ % 10000 * 2)) # below the ports that the kernel gives out
stage "$port" varied
fail() { echo "$1" >&2; tail -20 "$work"/*.log >&2; exit 1; }
# Until the gateway is ready. Few questions: each of them costs instructions.
ready_within() {
  local left
  for ((left = $1; left > 0; left--)); do
    curl -fs "http://127.0.0.1:$((port + 1))/readyz" >/dev/null 2>&1 && return
    kill -0 "$gateway" 2>/dev/null || break
    sleep 1
  done
  fail 'the gateway does not become ready'
}
# Sets `instructions` to those of a gateway from its start to its end, with so many orders between.
run() {
  local orders=$1 audit="$work/$1.jsonl" counts="$work/$1.callgrind" begun=$SECONDS allowed code=0
  COUNTERSIGN_AUDIT="$audit" WORKERS=1 valgrind --tool=callgrind --callgrind-out-file="$counts" \
    target/release/countersign run --config "$work/countersign.yaml" 2>"$work/$orders.log" &
  gateway=$!
  ready_within 60
  timeout 300 target/release/examples/orders "$work" "$port" varied "$orders" $connections >&2 || fail 'orders failed'
  kill -TERM "$gateway"
  wait "$gateway" || code=$?
  [ "$code" = 0 ] || fail "the gateway ended with exit code $code"
  allowed=$(grep -c '"kind":"decision".*"verdict":"allow"' "$audit" || true)
  [ "$allowed" = "$orders" ] || fail "$allowed of $orders orders are recorded as allowed"
  instructions=$(awk '/^(summary|totals):/ { n = $2 } END { print n }' "$counts")
  [ "${instructions:-0}" -gt 0 ] || fail 'callgrind counted nothing'
  echo "$orders orders: $instructions instructions, $((SECONDS - begun)) s" >&2
}
run $warm
few=$instructions
run $((warm + measured))
echo $(((instructions - few) / measured))
