#!/usr/bin/env bash
# The edge beside Debian's nginx: server CPU a request, both with one worker on one core, the load
# generator and the origin on another.
#
#   B=build/release tests/bench/run.sh
#
# Peers take turns, so that what else the machine does meets all alike; medians count, and of nginx
# as it comes and nginx tuned the cheaper one.  Last lines: `ratio CASE nginx R`, R = edge / nginx,
# with access logs on both sides; the table above them has the figures without.  Fails when an answer
# was not 200 or wrong, a hit was none, or a miss was one.
#
# BENCH_BEFORE=FILE is an earlier selvage-edge that takes its turns too: lines `ratio CASE before R`, edge / before.
#
# Environment
#   B                   where selvage-edge is
#   BENCH_BEFORE        an earlier selvage-edge to compare with
#   BENCH_CASES         of h2:1k h2:16k h2:100k h2:1m h2:vary h1:1k miss:1k (all); vary: 1 KiB with Vary: Accept-Encoding
#   BENCH_TURNS         turns of each peer (5); without logs half as many
#   BENCH_SCALE         percent of the requests (100)
#   BENCH_ZIPF          0: leave out the case h2:1k:zipf (1)
#   BENCH_ZIPF_OBJECTS  objects stored for it (1000000)
#   BENCH_ZIPF_URLS     of which so many are asked for (10000)
#   BENCH_DIR           a directory for stores, logs and figures (/dev/shm if there, else $TMPDIR)
#   BENCH_SERVER_CPU, BENCH_CLIENT_CPU   cores (0, 1)
set -u -o pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd) || exit 1
root=$(cd "$here/../.." && pwd)
: "${B:=build/release}" "${BENCH_TURNS:=5}" "${BENCH_SCALE:=100}" "${BENCH_ZIPF:=1}"
: "${BENCH_ZIPF_OBJECTS:=1000000}" "${BENCH_ZIPF_URLS:=10000}"
: "${BENCH_SERVER_CPU:=0}" "${BENCH_CLIENT_CPU:=1}"
if [ -z "${BENCH_DIR:-}" ]; then
    BENCH_DIR=${TMPDIR:-/tmp}
    [ -w /dev/shm ] && BENCH_DIR=/dev/shm
fi
host=bench.test
cases=${BENCH_CASES:-h2:1k h2:16k h2:100k h2:1m h2:vary h1:1k miss:1k}
declare -A size=([1k]=1024 [16k]=16384 [100k]=102400 [1m]=1048576 [vary]=1024)
# so many that nginx takes most of a second
declare -A count=([h2:1k]=60000 [h2:16k]=24000 [h2:100k]=8000 [h2:1m]=800 [h2:vary]=60000 [h1:1k]=40000 [miss:1k]=12000)

say() { printf '%s\n' "$*" >&2; }
die() {
    say "bench: $*"
    exit 1
}

declare -A program=([edge]=$root/$B/selvage-edge)
[ "${B#/}" = "$B" ] || program[edge]=$B/selvage-edge
edges=edge
[ -z "${BENCH_BEFORE:-}" ] || {
    program[before]=$BENCH_BEFORE
    edges='edge before'
}
for e in $edges; do [ -x "${program[$e]}" ] || die "${program[$e]} is not there: run make"; done
for tool in nginx h2load curl openssl taskset python3; do
    command -v "$tool" >/dev/null || die "$tool is missing: run make deps"
done
for core in "$BENCH_SERVER_CPU" "$BENCH_CLIENT_CPU"; do
    taskset -c "$core" true 2>/dev/null || die "there is no core $core: two are needed; BENCH_SERVER_CPU, BENCH_CLIENT_CPU"
done
[ -r /proc/self/schedstat ] || die "this kernel has no /proc/PID/schedstat"

run=$(mktemp -d "$BENCH_DIR/selvage-bench.XXXXXX") || exit 1
chmod 755 "$run"
pids=()
stop() { # PID...: ended, and waited for
    local p i
    for p in "$@"; do kill -TERM "$p" 2>/dev/null; done
    for p in "$@"; do
        for i in $(seq 1 400); do
            kill -0 "$p" 2>/dev/null || break
            sleep 0.05
        done
        [ "$i" = 400 ] && kill -KILL "$p" 2>/dev/null
        wait "$p" 2>/dev/null
    done
}
clean_up() {
    stop "${pids[@]}"
    rm -rf "$run"
}
trap clean_up EXIT
trap 'exit 130' INT TERM
results=$run/results.tsv
: >"$results"

# ---- the servers ----

declare -A port admin pid
read -r origin_port "port[edge]" "admin[edge]" "port[before]" "admin[before]" stock_on tuned_on stock_off tuned_off < <(python3 -c '
import socket
s = [socket.create_server(("127.0.0.1", 0)) for _ in range(9)]
print(*[x.getsockname()[1] for x in s])') || die "no ports"
www=$run/www
mkdir "$www" "$run/nginx-cache"
chmod 777 "$run/nginx-cache"
for k in "${!size[@]}"; do head -c "${size[$k]}" /dev/urandom >"$www/$k"; done
sh "$root/tools/certs.sh" "$run/tls-all" $host || die "no certificate"
mkdir "$run/tls"
cp "$run/tls-all/$host.crt" "$run/tls-all/$host.key" "$run/tls/"
user=
[ "$(id -u)" = 0 ] && user='user root;'

fill_in() { # TEMPLATE NAME=VALUE...: the template with each @NAME@ replaced
    local template=$1 pair
    local text
    text=$(<"$here/$template")
    shift
    for pair in RUN="$run" ORIGIN="$origin_port" WWW="$www" HOST=$host USER="$user" \
        CERTS="$run/tls" CERT="$run/tls/$host.crt" KEY="$run/tls/$host.key" "$@"; do
        text=${text//@${pair%%=*}@/${pair#*=}}
    done
    printf '%s\n' "$text"
}

wait_for_port() { # PORT PID NAME
    local i
    for i in $(seq 1 200); do
        (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null && return
        kill -0 "$2" 2>/dev/null || break
        sleep 0.05
    done
    tail -n 20 "$run/$3.out" "$run/$3.err" >&2
    die "$3 did not start"
}

start() { # NAME CPU COMMAND...: in the background; its pid is $started
    local name=$1 cpu=$2
    shift 2
    (
        ulimit -n 16000 2>/dev/null
        exec taskset -c "$cpu" "$@"
    ) >>"$run/$name.out" 2>&1 &
    started=$!
    pids+=("$started")
}

fill_in origin.conf.in >"$run/origin.conf"
start origin "$BENCH_CLIENT_CPU" nginx -c "$run/origin.conf"
wait_for_port "$origin_port" "$started" origin

port_of() { # PORT LOG IS_TUNED
    fill_in nginx-port.conf.in PORT="$1" LOG="$2" | if [ "$3" = tuned ]; then cat; else sed '/#tuned/d'; fi
}
{
    port_of "$stock_on" "$run/nginx-stock.log" stock
    port_of "$tuned_on" "$run/nginx-tuned.log combined buffer=64k flush=1s" tuned
    port_of "$stock_off" off stock
    port_of "$tuned_off" off tuned
} >"$run/ports.conf"
fill_in nginx.conf.in >"$run/nginx.conf"
start nginx "$BENCH_SERVER_CPU" nginx -c "$run/nginx.conf"
nginx_pid=$started
wait_for_port "$stock_on" "$nginx_pid" nginx

store_size=4GiB
[ "$BENCH_ZIPF" = 0 ] || store_size=$((4 + BENCH_ZIPF_OBJECTS / 200000))GiB
start_edges() { # on | off: with or without access log; on the stores that are there
    local access="" e
    for e in $edges; do
        [ -z "${pid[$e]:-}" ] || stop "${pid[$e]}"
        [ "$1" = on ] && access=", access: $run/$e.log"
        fill_in edge.yaml.in NAME="$e" PORT="${port[$e]}" ADMIN="${admin[$e]}" SIZE="$store_size" ACCESS="$access" >"$run/$e.yaml"
        start "$e" "$BENCH_SERVER_CPU" "${program[$e]}" --config "$run/$e.yaml"
        pid[$e]=$started
        wait_for_port "${port[$e]}" "$started" "$e"
    done
}

# ---- measuring ----

pid_of() { # PEER: the process ids of its servers
    # nginx's cache loader comes and goes: it has nothing to do with answers
    if [ -n "${pid[$1]:-}" ]; then echo "${pid[$1]}"; else echo "$nginx_pid $(pgrep -P "$nginx_pid" -f 'worker|manager' | tr '\n' ' ')"; fi
}
port_for() { # PEER on|off
    case $1-$2 in
    edge-* | before-*) echo "${port[$1]}" ;;
    stock-on) echo "$stock_on" ;;
    tuned-on) echo "$tuned_on" ;;
    stock-off) echo "$stock_off" ;;
    tuned-off) echo "$tuned_off" ;;
    esac
}
# Nanoseconds of CPU, user and system, that processes have used: what utime + stime of stat are scaled
# to, but without their ticks of 10 ms.
cpu_ns() {
    local p
    for p in "$@"; do cat /proc/"$p"/task/*/schedstat; done | awk '{ n += $1 } END { printf "%.0f", n }'
}
settled_cpu_ns() { # the same, once what goes on behind the answers (logs, commits) is over
    local now last i
    last=$(cpu_ns "$@")
    for i in $(seq 1 20); do
        sleep 0.06
        now=$(cpu_ns "$@")
        [ $((now - last)) -lt 300000 ] && break
        last=$now
    done
    echo "$now"
}
origin_count() { curl -s --max-time 5 "http://127.0.0.1:$origin_port/counter" | awk 'NR == 3 { print $3 }'; }

load() { # PORT OUTPUT OPTION...
    local to=$1 out=$2
    shift 2
    timeout 300 taskset -c "$BENCH_CLIENT_CPU" h2load --connect-to="127.0.0.1:$to" -t1 \
        --tls13-ciphers=TLS_AES_128_GCM_SHA256 "$@" >"$out" 2>&1
}
# Total of requests that were answered by 2xx, over one or more outputs of h2load.
answered() { awk '/^status codes:/ { n += $3 } END { print n + 0 }' "$@"; }

measure() { # LOG CASE PEER REQUESTS ORIGIN_REQUESTS COMMAND...: a line in $results
    local log=$1 case=$2 peer=$3 requests=$4 expected=$5 servers c0 c1 o0 o1 got
    shift 5
    servers=$(pid_of "$peer")
    o0=$(origin_count)
    # shellcheck disable=SC2086
    c0=$(settled_cpu_ns $servers)
    rm -f "$run"/load.*
    "$@"
    # shellcheck disable=SC2086
    c1=$(settled_cpu_ns $servers)
    o1=$(origin_count)
    got=$(answered "$run"/load.*)
    [ "$got" = "$requests" ] || {
        cat "$run"/load.* >&2
        die "$case, $peer: $got of $requests requests were answered by 200"
    }
    [ $((o1 - o0 - 1)) = "$expected" ] ||
        die "$case, $peer: the origin saw $((o1 - o0 - 1)) requests instead of $expected"
    printf '%s\t%s\t%s\t%s\n' "$log" "$case" "$peer" \
        "$(awk -v c=$((c1 - c0)) -v n="$requests" 'BEGIN { printf "%.3f", c / n / 1000 }')" |
        tee -a "$results" >&2
}

check_bodies() { # on|off
    local peer k i
    for peer in $edges stock tuned; do
        for k in "${!size[@]}"; do
            for i in 1 2 3; do
                curl -s --max-time 10 --cacert "$run/tls-all/ca.pem" \
                    --connect-to "$host:443:127.0.0.1:$(port_for $peer "$1")" "https://$host/$k" |
                    cmp -s - "$www/$k" || die "$peer: wrong body of /$k"
            done
        done
    done
}

one_turn() { # LOG CASE PEER
    local n=$((${count[$2]} * BENCH_SCALE / 100)) to key=${2#*:}
    to=$(port_for "$3" "$1")
    case $2 in
    h2:*) measure "$1" "$2" "$3" $n 0 load "$to" "$run/load.1" -c 32 -m 32 -n $n "https://$host/$key" ;;
    h1:*) measure "$1" "$2" "$3" $n 0 load "$to" "$run/load.1" --h1 -c 64 -m 1 -n $n "https://$host/$key" ;;
    miss:*)
        fresh=$((fresh + 1))
        seq -f "https://$host/$key?fresh=$fresh-%.0f" $n >"$run/urls"
        measure "$1" "$2" "$3" $n $n load "$to" "$run/load.1" -c 1 -m 100 -n $n -i "$run/urls"
        ;;
    esac
}
fresh=0

turns() { # on|off
    if [ "$1" = on ]; then seq 1 "$BENCH_TURNS"; else seq 1 $(((BENCH_TURNS + 1) / 2)); fi
}

phase() { # on|off: all cases, by turns
    local case peer _
    check_bodies "$1"
    for case in $cases; do
        for _ in $(turns "$1"); do
            for peer in $edges stock tuned; do one_turn "$1" "$case" "$peer"; done
        done
    done
}

# ---- ten thousand of a million ----

fill_store() { # PEER: all the objects, by asking for them
    local from batch=50000 upto before
    before=$(origin_count)
    for ((from = 0; from < BENCH_ZIPF_OBJECTS; from += batch)); do
        upto=$((from + batch < BENCH_ZIPF_OBJECTS ? from + batch : BENCH_ZIPF_OBJECTS))
        seq -f "https://$host/o/%.0f" $from $((upto - 1)) >"$run/urls"
        rm -f "$run"/load.*
        load "$(port_for "$1" off)" "$run/load.1" -c 1 -m 100 -n $((upto - from)) -i "$run/urls"
        [ "$(answered "$run/load.1")" = $((upto - from)) ] || {
            cat "$run/load.1" >&2
            die "filling $1"
        }
    done
    [ $(($(origin_count) - before - 1)) = "$BENCH_ZIPF_OBJECTS" ] || die "filling $1: not every request was a miss"
}

clients='1 2 3 4'
many_loads() { # PORT REQUESTS: by several generators, so that clients do not march in step
    local i
    for i in $clients; do
        load "$1" "$run/load.$i" -c 8 -m 32 -n $(($2 / 4)) -i "$run/zipf.$i" &
        loads[i]=$!
    done
    for i in $clients; do wait "${loads[i]}"; done
}
declare -a loads

zipf_phase() { # on|off
    local peer _ n=$((60000 * BENCH_SCALE / 100 / 4 * 4))
    for _ in $(turns "$1"); do
        for peer in $edges stock tuned; do
            measure "$1" h2:1k:zipf $peer $n 0 many_loads "$(port_for $peer "$1")" $n
        done
    done
}

zipf() {
    local i peer
    for i in $clients; do
        awk -v seed="$i" -v draws=50000 -v urls="$BENCH_ZIPF_URLS" -v objects="$BENCH_ZIPF_OBJECTS" \
            -v base="https://$host/o/" -f "$here/zipf.awk" >"$run/zipf.$i"
    done
    for peer in $edges stock; do
        say "filling $peer with $BENCH_ZIPF_OBJECTS objects"
        fill_store $peer
    done
    zipf_phase off
    start_edges on
    zipf_phase on
    cases="$cases h2:1k:zipf"
}

start_edges on
phase on
start_edges off
phase off
[ "$BENCH_ZIPF" = 0 ] || zipf
awk -v cases="$cases" -v before="${BENCH_BEFORE:+yes}" -f "$here/report.awk" "$results"
