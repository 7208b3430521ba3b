#!/usr/bin/env bash
# Drills of agreements that are asked of a server: the real program, orders to one stand-in, look-ups at another. Needs
# curl. Rows say what came of the orders of each flow in one second, `ROWS=all` prints all of them (examples/orders.rs).
#
# - stampede: one cold customer on 200 connections, then one customer under load while its acceptance is refreshed
# - refresh: the server hangs while acceptances still hold
# - outage: the server hangs, refuses connections and fails, while known customers order on and new ones come
# - quota (SHARE=20): two partners ask as much as they can, one now and then; the server throttles; the gateway is restarted
# - restart: known customers order across a restart
# - facts: memory and time of a million facts
#
#   benches/lookups.sh [DRILL..]
set -euo pipefail
cd "$(dirname "$0")/.."
. benches/common.sh

port=18280
# A stage whose agreements come from a stand-in of its own, and a gateway before it: `begin CACHE SOURCE`.
begin() {
  rm -rf "$work"; mkdir "$work"
  mkfifo "$work/source.in"
  target/release/examples/standin <"$work/source.in" >"$work/source.out" &
  source_pid=$!
  exec 4>"$work/source.in"
  until [ -s "$work/source.out" ]; do :; done
  source=$(cat "$work/source.out")
  stage $port "http://127.0.0.1:$source" "$1" "$2"
  cat >"$work/gateway.sh" <<SH
WORKERS=1 target/release/countersign run --config $work/countersign.yaml 2>>$work/gateway.log &
echo \$! >$work/gateway.pid
wait
SH
  cat >"$work/restart.sh" <<SH
pid=\$(cat $work/gateway.pid)
kill -TERM \$pid
while kill -0 \$pid 2>/dev/null; do sleep 0.05; done
exec sh $work/gateway.sh
SH
  sh "$work/gateway.sh" &
  ready $((port + 1))
}
end() {
  kill -CONT "$source_pid" 2>/dev/null || true
  kill "$(cat "$work/gateway.pid")"
  exec 3>&- 4>&-
  wait
}
control() { curl -fsS -X POST "http://127.0.0.1:$source/.standin/$1" -H 'Content-Type: application/json' -d "${2:-{\}}"; }
counts() { curl -fs "http://127.0.0.1:$source/.standin/counts" | grep -oE '"(direct|attestations|partner_status|token|throttled)":[0-9]+' | tr '\n' ' '; echo; }
orders() { target/release/examples/orders "$work" $port "$source" "$@"; }
# What the gateway's log warns of, by message.
warned() { grep -oE '"level":"(WARN|ERROR)".*' "$work/gateway.log" | grep -oE '"message":"[^"]*"' | sort | uniq -c | sort -rn | head -8 || true; }

stampede() {
  echo "== stampede: 500 orders on 200 connections for one cold customer; a look-up takes 200 ms"
  begin 'accepted: 20s' 'requests_per_minute: 300'
  control fault '{"method":"GET","path_part":"/v1/","fault":"delay=200ms"}'
  orders 10 name=cold,as=a,customers=one:1,connections=200,total=500
  counts
  echo "== stampede: 1000 orders a second for one customer; it is accepted for 20 s, a look-up takes 200 ms"
  orders 45 name=warm,as=a,customers=one:1,connections=4,rate=1000
  counts; warned; end
}

outage() {
  # A budget that is no limit here: a thousand customers that go stale together are two thousand look-ups.
  local flows=(name=known,as=a,customers=known:1000,connections=8,rate=400
    name=new,as=b,customers=new,connections=4,rate=20,from=3)
  for how in hangs refuses fails; do
    echo "== outage: the source $how from 6 s to 66 s; accepted for 10 s, stale for 30 s more"
    begin 'accepted: 10s, stale: 30s' 'requests_per_minute: 1000000'
    case $how in
      hangs) start="kill -STOP $source_pid" stop="kill -CONT $source_pid" ;;
      refuses) start="curl -s -X POST http://127.0.0.1:$source/.standin/pause -d '{\"seconds\":60}'" stop=true ;;
      fails)
        start="curl -s -X POST http://127.0.0.1:$source/.standin/fault -d '{\"method\":\"GET\",\"path_part\":\"/v1/\",\"fault\":\"status=500\"}'"
        stop="curl -s -X POST http://127.0.0.1:$source/.standin/clear-faults -d '{}'" ;;
    esac
    orders 100 "${flows[@]}" "@6 the source $how: $start" "@66 it is back: $stop"
    counts; warned; end
  done
}

refresh() {
  echo "== refresh: the source hangs from 25 s to 50 s; accepted for 40 s, so that refreshes fail that nobody needs yet"
  begin 'accepted: 40s' 'requests_per_minute: 1000000, timeout: 2s'
  orders 60 name=known,as=a,customers=known:20,connections=4,rate=200 \
    "@25 the source hangs: kill -STOP $source_pid" "@50 it is back: kill -CONT $source_pid"
  counts; warned; end
}

quota() {
  echo "== quota: 500 a minute there until 110 s, 100 from then on; 300 a minute here, ${SHARE:-20} % for each; a restart at 60 s"
  begin 'accepted: 12h' "requests_per_minute: 300, caller_share: ${SHARE:-20}"
  control throttle '{"per_minute":500}'
  orders 180 \
    name=cold,as=a,customers=new,connections=8,rate=2000 \
    name=unsigned,as=b,customers=unsigned:500,connections=8,rate=2000 \
    name=rare,as=c,customers=new,connections=2,rate=0.5 \
    name=known,as=d,customers=known:5,rate=20 \
    "@60 restart: exec sh $work/restart.sh" \
    "@110 throttled: curl -s -X POST http://127.0.0.1:$source/.standin/throttle -d '{\"per_minute\":100}'"
  counts; warned; end
}

restart() {
  echo "== restart: 50 known customers ordering 200 times a second, a restart at 10 s, the source away from 9 s to 20 s"
  begin 'accepted: 12h' 'requests_per_minute: 1000000'
  orders 30 \
    name=known,as=a,customers=known:50,connections=4,rate=200,from=0 \
    "@9 the source hangs: kill -STOP $source_pid" "@10 restart: exec sh $work/restart.sh" "@20 it is back: kill -CONT $source_pid"
  ls -l "$work/facts.jsonl" 2>/dev/null || echo "no facts were saved"
  counts; warned; end
}

facts() {
  echo "== facts"
  target/release/examples/facts
}

[ $# -gt 0 ] || set -- stampede refresh outage quota restart facts
for drill in "$@"; do
  case $drill in
    stampede | refresh | outage | quota | restart | facts) "$drill" ;;
    *) echo "unknown drill $drill; known: stampede refresh outage quota restart facts" >&2; exit 2 ;;
  esac
done
