#!/usr/bin/env bash
# A siege of the real program: what its TLS offers, a hundred connections of a hundred streams, slow heads, bodies and
# readers while an ordinary client goes on, and ten thousand idle connections. Needs openssl, curl, sslscan, h2load
# (nghttp2-client) and slowhttptest.
#
#   benches/siege.sh [SECONDS]
set -euo pipefail
seconds=${1:-60}
cd "$(dirname "$0")/.."
. benches/common.sh
ulimit -n 65536 2>/dev/null || true # ten thousand connections, and their other ends

stage 18180
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=localhost \
  -addext subjectAltName=DNS:localhost,IP:127.0.0.1 -keyout "$work/server.key" -out "$work/server.pem" 2>/dev/null
# The same configuration twice: with TLS, and on the next ports without.
plain=$work/plain.yaml secured=$work/secured.yaml
sed 's/18180/18190/; s/18181/18191/; s/audit.jsonl/plain.jsonl/' "$work/countersign.yaml" >"$plain"
sed 's/^listen:$/listen:\n  tls: { certificate: server.pem, private_key: server.key }/' "$work/countersign.yaml" >"$secured"
# Many requests over few connections there, many connections with few requests here: fewer descriptors are enough.
echo 'limits: { connections: 1000, idle_timeout: 40s }' >>"$secured"
echo 'limits: { connections: 12000, connections_per_address: 12000, requests: 2000, idle_timeout: 40s }' >>"$plain"
for file in "$plain" "$secured"; do
  WORKERS=2 target/release/countersign run --config "$file" 2>>"$work/gateway.log" &
done
ready 18181 18191
token=$(cat "$work/token.txt")
customer=c0a80101-6d2b-4c1e-8f10-000000000001
order() { curl -sk -o /dev/null -w '%{http_code} %{time_total}\n' -m 20 -X POST "$1/v1/customers/$customer/orders" -H "Authorization: Bearer $token" -H 'Content-Type: application/json' -d '{"lineItems":[{"offerId":"CFQ7TTC0LH18","quantity":1}]}'; }
memory() { curl -s "http://127.0.0.1:$1/metrics" | awk '/^process_resident_memory_bytes/ { printf "%.1f MB\n", $2 / 1e6 }'; }

echo "== what TLS offers"
sslscan --no-colour 127.0.0.1:18180 | grep -E 'SSLv|TLSv|enabled|Accepted|Preferred' || true

echo "== HTTP/2: 100 connections, 100 streams each"
printf '{"lineItems":[{"offerId":"CFQ7TTC0LH18","quantity":1}]}' >"$work/order.json"
h2load -n 200000 -c 100 -m 100 -t 1 -d "$work/order.json" -H "authorization: Bearer $token" -H 'content-type: application/json' \
  "https://127.0.0.1:18180/v1/customers/$customer/orders" | grep -E 'finished in|requests:|status codes|traffic'

for mode in head body read; do
  echo "== slow $mode for $seconds s"
  case $mode in
    head) arguments="-H -i 1 -x 24" url=http://127.0.0.1:18190/v1/customers ;;
    body) arguments="-B -i 1 -s 8192 -x 4 -t POST -f application/json" url="http://127.0.0.1:18190/v1/customers/$customer/orders" ;;
    read) arguments="-X -w 1 -y 16 -n 1 -z 8 -k 3" more=$'\r\nStandin-Fault: large=1MiB' url=http://127.0.0.1:18190/v1/customers ;;
  esac
  # The one header that slowhttptest sends as it is told, in every mode, carries the others behind it.
  cookie=$'a=b\r\nAuthorization: Bearer '$token${more:-}
  before=$(memory 18191)
  timeout $((seconds + 5)) slowhttptest -c 1000 -r 200 -l "$seconds" $arguments -j "$cookie" -u "$url" >"$work/slow.out" 2>&1 &
  slow=$!
  : >"$work/answers"
  most=0
  while kill -0 "$slow" 2>/dev/null; do
    order http://127.0.0.1:18190 >>"$work/answers"
    sleep 0.2
  done
  awk '{ n++; s[$1]++; if ($2 > m) m = $2; t += $2 } END { for (c in s) printf "an ordinary client: %d x %s, ", s[c], c; printf "mean %.1f ms, most %.1f ms\n", 1000 * t / n, 1000 * m }' "$work/answers"
  echo "memory before $before, after $(memory 18191)"
  curl -s http://127.0.0.1:18191/metrics | grep -E '^countersign_(connections|requests_total.*(timeout|overloaded|token_missing))' || true
done

echo "== 10,000 idle connections"
until [ "$(curl -s http://127.0.0.1:18191/metrics | awk '/^countersign_connections_open/ { print $2 }')" = 0 ]; do sleep 1; done
for port in 18190; do
  before=$(memory $((port + 1)))
  mkfifo "$work/hold"
  target/release/examples/idle 127.0.0.1:$port 10000 <"$work/hold" &
  exec 4>"$work/hold"
  until [ "$(curl -s http://127.0.0.1:$((port + 1))/metrics | awk '/^countersign_connections_open/ { print $2 }')" = 10000 ]; do sleep 1; done
  after=$(memory $((port + 1)))
  echo "memory before $before, with them $after: $(echo "$before $after" | awk '{ printf "%.2f kB each", ($3 - $1) * 1e6 / 10000 / 1000 }')"
  echo "an order meanwhile: $(order http://127.0.0.1:$port)"
  exec 4>&-
done
