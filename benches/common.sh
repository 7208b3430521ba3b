# What the load runs share; sourced by them from the root of the repository. Afterwards `work` is a folder of their own,
# which goes with the processes they started. `programs` may say what to build; BUILD=no builds nothing.
[ "${BUILD:-yes}" = no ] || cargo build --release --quiet ${programs:---bins --examples}
work=$(mktemp -d)
cleanup() { kill $(jobs -p) 2>/dev/null || true; wait 2>/dev/null || true; rm -rf "$work"; }
trap cleanup EXIT

# A stage on these ports, and on the CPU named by `stage_cpu` if any: `stage PORT [MORE..]`. It prints a line whenever it
# reads one from descriptor 3, the first of them by itself: the port of its stand-in.
stage() {
  mkfifo "$work/in"
  ${stage_cpu:+taskset -c "$stage_cpu"} target/release/examples/stage "$work" "$@" <"$work/in" >"$work/stage.out" &
  exec 3>"$work/in"
  until [ -s "$work/stage.out" ]; do :; done
}
# Until the gateways with these operators' ports are ready.
ready() { local port; for port in "$@"; do until curl -fs "http://127.0.0.1:$port/readyz" >/dev/null 2>&1; do :; done; done; }
