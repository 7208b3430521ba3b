#!/usr/bin/env bash
# CPU per allowed order of the gateway beside nginx's plain `proxy_pass`: same machine, same upstream, one core each,
# in turns within one run. Needs wrk and nginx (Debian: `apt-get install wrk nginx-light`) and two cores.
#
# nginx writes no access log unless ACCESS_LOG=on; the gateway writes its audit records in either case.
#
#   [ACCESS_LOG=on] benches/against_nginx.sh [ROUNDS] [SECONDS]
set -euo pipefail
rounds=${1:-5} seconds=${2:-5} connections=32
cd "$(dirname "$0")/.."
. benches/common.sh

access_log=off
[ "${ACCESS_LOG:-off}" = on ] && access_log="$work/access.log"
stage_cpu=1 stage 18080
upstream=$(head -1 "$work/stage.out")

cat >"$work/nginx.conf" <<CONF
daemon off; worker_processes 1; pid $work/nginx.pid; error_log stderr error;
events { worker_connections 1024; }
http {
  access_log $access_log; client_body_temp_path $work/body; proxy_temp_path $work/proxy;
  fastcgi_temp_path $work/f; uwsgi_temp_path $work/u; scgi_temp_path $work/s;
  keepalive_requests 100000000; client_body_buffer_size 64k;
  upstream orders { server 127.0.0.1:$upstream; keepalive 64; keepalive_requests 100000000; }
  server { listen 127.0.0.1:18090; location / { proxy_pass http://orders; proxy_http_version 1.1; proxy_set_header Connection ""; } }
}
CONF
taskset -c 0 nginx -c "$work/nginx.conf" -e stderr &
taskset -c 0 target/release/countersign run --config "$work/countersign.yaml" 2>"$work/gateway.log" &
gateway=$!
ready 18081
until [ -s "$work/nginx.pid" ]; do :; done
nginx=$(pgrep -P "$(cat "$work/nginx.pid")")

ticks() { awk '{ sub(/.*\) /, ""); print $12 + $13 }' "/proc/$1/stat"; }
# One turn: requests and CPU ticks of the process while wrk runs. Prints microseconds of CPU per request.
turn() {
  local before after requests
  before=$(ticks "$2")
  taskset -c 1 wrk -t1 -c$connections -d"${seconds}s" -s "$work/order.lua" "http://127.0.0.1:$1" >"$work/wrk.out"
  after=$(ticks "$2")
  grep -qE 'Non-2xx|Socket errors' "$work/wrk.out" && { cat "$work/wrk.out" >&2; exit 1; }
  requests=$(awk '/requests in/ { print $1 }' "$work/wrk.out")
  awk -v t=$((after - before)) -v n="$requests" 'BEGIN { printf "%.2f %d\n", t * 10000 / n, n }'
}
turn 18090 "$nginx" >/dev/null; turn 18080 "$gateway" >/dev/null
for round in $(seq "$rounds"); do
  read -r theirs their_requests < <(turn 18090 "$nginx")
  read -r ours our_requests < <(turn 18080 "$gateway")
  awk -v r="$round" -v a="$ours" -v b="$theirs" -v n="$our_requests" -v m="$their_requests" \
    'BEGIN { printf "round %d: gateway %.2f us (%d requests), nginx %.2f us (%d requests), ratio %.3f\n", r, a, n, b, m, a / b }'
done | tee "$work/rounds"
awk '{ print $NF }' "$work/rounds" | sort -n | awk '{ v[NR] = $1 } END { printf "ratio: min %.3f, median %.3f, max %.3f\n", v[1], v[int((NR + 1) / 2)], v[NR] }'
