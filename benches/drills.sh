#!/usr/bin/env bash
# Drills with the real program: thirty seconds of valid orders, a blocked customer, reloads under load with one broken
# file among ten, and SIGTERM with a slow request in flight. Needs wrk and curl.
#
#   benches/drills.sh [SECONDS]
set -euo pipefail
seconds=${1:-30}
cd "$(dirname "$0")/.."
. benches/common.sh

stage 18180
WORKERS=2 target/release/countersign run --config "$work/countersign.yaml" 2>"$work/gateway.log" &
gateway=$!
ready 18181
load() { wrk -t1 -c32 -d"$1s" -s "$work/$2.lua" http://127.0.0.1:18180; }
# The stand-in prints how many requests it has received whenever it reads a line.
upstream_count() { local lines; lines=$(wc -l <"$work/stage.out"); echo >&3; until [ "$(wc -l <"$work/stage.out")" -gt "$lines" ]; do :; done; tail -1 "$work/stage.out"; }
allowed() { grep -c '"kind":"decision".*"verdict":"allow"' "$work/audit.jsonl" || true; }

echo "== valid orders for $seconds s"
load "$seconds" order | grep -E 'requests in|Non-2xx|Socket'
sleep 1 # wrk closes its connections; what was in flight ends
echo "allowing decision records: $(allowed), requests that the upstream counted: $(upstream_count)"

echo "== a blocked customer"
before=$(upstream_count)
load 3 blocked | grep -E 'requests in|Non-2xx'
echo "status: $(curl -s -o /dev/null -w '%{http_code}' -X POST "http://127.0.0.1:18180/v1/customers/c0a80101-6d2b-4c1e-8f10-000000000002/orders" -H "Authorization: Bearer $(cat "$work/token.txt")" -H 'Content-Type: application/json' -d '{"lineItems":[{"offerId":"CFQ7TTC0LH18"}]}'), upstream saw $(($(upstream_count) - before))"

echo "== ten reloads under load, the fifth of a broken file"
load 6 order >"$work/wrk.out" &
load_pid=$!
for round in $(seq 10); do
  if [ "$round" = 5 ]; then cp "$work/countersign.yaml" "$work/good"; echo 'polcy: {}' >>"$work/countersign.yaml"; fi
  printf '%s ' "$(curl -s -o /dev/null -w '%{http_code}' -X POST -H 'Countersign-Admin: 1' http://127.0.0.1:18181/reload)"
  if [ "$round" = 5 ]; then mv "$work/good" "$work/countersign.yaml"; fi
  kill -HUP "$gateway"
done
echo
wait "$load_pid"
grep -E 'requests in|Non-2xx|Socket' "$work/wrk.out"
curl -s http://127.0.0.1:18181/metrics | grep -E '^countersign_config_(reloads|last_reload)'

echo "== SIGTERM with a slow request in flight"
curl -s -o /dev/null -w 'the slow request: %{http_code}\n' -X POST "http://127.0.0.1:18180/v1/customers/c0a80101-6d2b-4c1e-8f10-000000000001/orders" -H "Authorization: Bearer $(cat "$work/token.txt")" -H 'Content-Type: application/json' -H 'Standin-Fault: delay=2000ms' -d '{"lineItems":[{"offerId":"CFQ7TTC0LH18"}]}' &
slow=$!
sleep 0.5 # it is in flight
kill -TERM "$gateway"
wait "$slow"
code=0; wait "$gateway" || code=$?
echo "exit code: $code"
