#!/usr/bin/env bash
# Shows what Selvage is for, on real content, and checks each claim as it makes it.
#   tools/demo.sh          runs the steps and ends; exit status 0 only if all of them held
#   KEEP=1 tools/demo.sh   then stays up, and prints addresses to try
#   B=build/x              where the programs were built; default build/release
# One origin (nginx with content of Debian packages, and a small event stream), one edge,
# certificates made on the spot: all of it on loopback, on ports that the kernel picks, in a
# temporary directory that is removed at the end.  Nothing needs root, except installing curl,
# openssl or python3 where they are missing.
set -uo pipefail
shopt -s inherit_errexit

cd "$(dirname "$0")/.." || exit 1
B=${B:-build/release}
case $B in
/*) ;;
*) B=$PWD/$B ;;
esac
KEEP=${KEEP:-0}
HOST=demo.localhost
PACKAGES=build/demo # packages that this machine does not have are unpacked there
WAIT_S=20           # for a state to come about, on a busy machine

dir='' work='' origin_pid='' events_pid='' edge_pid='' drop_fd=''
steps=0 claims=0

# ---- what is printed ----

if [ -t 1 ] && [ "${TERM:-dumb}" != dumb ]; then
    BOLD=$'\e[1m' DIM=$'\e[2m' GREEN=$'\e[32m' RED=$'\e[31m' PLAIN=$'\e[0m'
else
    BOLD='' DIM='' GREEN='' RED='' PLAIN=''
fi

step() { # TITLE SENTENCE: a step begins
    steps=$((steps + 1))
    printf '\n%s%2d. %s%s\n' "$BOLD" "$steps" "$1" "$PLAIN"
    [ $# -lt 2 ] || printf '%s\n' "$2" | fold -s -w 92 | sed 's/^/    /; s/ *$//'
}

command_line() { printf '    %s$ %s%s\n' "$DIM" "$*" "$PLAIN"; }
indent() { sed -u 's/^/      /' | cut -c -"${COLUMNS:-100}"; }

# run WORD...: the command as it stands, what it says, and its status; the output is in $out, too
run() {
    local status
    command_line "$*"
    "$@" >"$dir/out" 2>&1
    status=$?
    out=$(cat "$dir/out")
    printf '%s\n' "$out" | indent
    return $status
}

claim() { # SENTENCE TEST...: what this step shows; the demo ends when it does not hold
    local text=$1
    shift
    if "$@"; then
        claims=$((claims + 1))
        printf '    %sok%s  %s\n' "$GREEN" "$PLAIN" "$text"
    else
        printf '    %sFAILED%s  %s\n' "$RED" "$PLAIN" "$text"
        [ $# -eq 0 ] || printf '            (%s)\n' "$*"
        die "step $steps did not hold"
    fi
}

die() {
    printf '\n%sdemo: %s%s\n' "$RED" "$*" "$PLAIN" >&2
    for log in edge.log origin-error.log; do
        if [ -n "$dir" ] && [ -s "$dir/$log" ]; then
            printf 'last lines of %s:\n' "$log" >&2
            tail -n 8 "$dir/$log" | sed 's/^/  /' >&2
        fi
    done
    exit 1
}

# ---- what is started, and its end: in sessions of their own, so that Ctrl-C is ours alone ----

stop() { # SIGNAL PID: send it and wait for the end
    [ -n "$2" ] || return 0
    kill -s "$1" "$2" 2>/dev/null
    wait "$2" 2>/dev/null
}

cleanup() {
    trap - EXIT INT TERM
    [ -z "$drop_fd" ] || exec {drop_fd}>&-
    stop KILL "$edge_pid"
    stop KILL "$origin_pid"
    stop KILL "$events_pid"
    [ -z "$work" ] || rm -rf "$work"
}
trap cleanup EXIT
trap 'echo; exit 130' INT TERM

# wait_for WHAT TEST...: until the test holds; after WAIT_S seconds the demo has failed
wait_for() {
    local what=$1 deadline=$((SECONDS + WAIT_S))
    shift
    until "$@"; do
        [ $SECONDS -lt $deadline ] || die "waited $WAIT_S s for $what"
        sleep 0.02
    done
}

# ---- what is needed ----

as_root() {
    if [ "$(id -u)" = 0 ]; then
        "$@"
    elif command -v sudo >/dev/null; then
        echo "    sudo is needed for: $*"
        sudo "$@"
    else
        die "this needs root: $*"
    fi
}

install_tools() { # the programs that are no content
    local missing=() tool
    for tool in curl openssl python3; do
        [ -x /usr/bin/$tool ] || missing+=("$tool")
    done
    [ ${#missing[@]} -gt 0 ] || return 0
    echo "Installing ${missing[*]} with apt-get, as root:"
    as_root env DEBIAN_FRONTEND=noninteractive sh -c \
        "apt-get -q update && apt-get -qy --no-install-recommends install ${missing[*]}" >"$dir/apt.log" 2>&1 || {
        cat "$dir/apt.log" >&2
        die "apt-get could not install ${missing[*]}"
    }
}

# unpack PACKAGE: for content that this machine lacks.  Nothing is installed: an nginx that listens
# on port 80 from now on is not what somebody who tries a demo has asked for.
unpack() {
    local package=$1 file
    [ ! -e "$PACKAGES/$package.done" ] || return 0
    echo "Unpacking the Debian package $package into $PACKAGES (not installed; no root needed)"
    mkdir -p "$PACKAGES/debs" || die "$PACKAGES cannot be made"
    rm -f "$PACKAGES/debs/$package"_*.deb
    if ! (cd "$PACKAGES/debs" && apt-get -q download "$package") >"$dir/apt.log" 2>&1; then
        echo "  the list of packages is missing or old: apt-get update, as root"
        as_root apt-get -q update >>"$dir/apt.log" 2>&1
        (cd "$PACKAGES/debs" && apt-get -q download "$package") >>"$dir/apt.log" 2>&1 || {
            cat "$dir/apt.log" >&2
            die "apt-get could not download $package"
        }
    fi
    file=$(ls "$PACKAGES/debs/$package"_*.deb)
    dpkg -x "$file" "$PACKAGES/root" && touch "$PACKAGES/$package.done" ||
        die "$file cannot be unpacked"
}

# find_content PACKAGE FILE: $found is where it is: on this machine, or unpacked
find_content() {
    found=$2
    [ ! -r "$found" ] || return 0
    unpack "$1"
    found=$PWD/$PACKAGES/root$2
    [ -r "$found" ] || die "the package $1 has no $2 any more"
}

build() {
    if [ ! -x "$B/selvage-edge" ] || [ ! -x "$B/selvage" ]; then
        make B="$B" || die "make B=$B failed"
    fi
}

# ---- the origin ----

lay_out_content() {
    mkdir -p "$dir/www/javascript" "$dir/www/news" "$dir/www/short"
    find_content sqlite3-doc /usr/share/doc/sqlite3/atomiccommit.html
    ln -s "${found%/*}" "$dir/www/sqlite"
    find_content libjs-bootstrap4 /usr/share/javascript/bootstrap4/css/bootstrap.min.css
    ln -s "${found%/css/*}" "$dir/www/javascript/bootstrap4"
    find_content libjs-jquery /usr/share/javascript/jquery/jquery.min.js
    ln -s "${found%/*}" "$dir/www/javascript/jquery"
    find_content fonts-font-awesome /usr/share/fonts-font-awesome/css/font-awesome.min.css
    ln -s "${found%/css/*}" "$dir/www/javascript/font-awesome"
    cp tools/demo/index.html tools/demo/favicon.svg "$dir/www/"
    write_news "first edition"
    echo "good for a second" >"$dir/www/short/notice.txt"
    find_content nginx /usr/sbin/nginx
    nginx=$found
}

write_news() { # TEXT: replaced in one step, as editors do
    printf '<!DOCTYPE html><title>News</title><p>The %s\n' "$1" >"$dir/www/news/new"
    mv "$dir/www/news/new" "$dir/www/news/today.html"
}

free_port() {
    /usr/bin/python3 -c 'import socket
s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'
}

# One process, which a single kill ends; its access log is what the origin was asked.
write_origin_config() {
    cat >"$dir/origin.conf" <<CONF
daemon off;
master_process off;
pid $dir/origin.pid;
error_log $dir/origin-error.log warn;
events {}
http {
    types {
        text/html html; text/css css; text/javascript js; text/plain txt;
        image/gif gif; image/png png; image/jpeg jpg; image/svg+xml svg; font/woff2 woff2;
    }
    log_format asked '\$request_method \$request_uri \$status';
    access_log $dir/origin.log asked;
    client_body_temp_path $dir/nginx; proxy_temp_path $dir/nginx; fastcgi_temp_path $dir/nginx;
    uwsgi_temp_path $dir/nginx; scgi_temp_path $dir/nginx;
    server {
        listen 127.0.0.1:$origin_port;
        root $dir/www;
        add_header Cache-Control "public, max-age=3600";
        location /sqlite/ {
            add_header Cache-Control "public, max-age=3600";
            add_header Surrogate-Key "sqlite manuals";
        }
        location /short/ { add_header Cache-Control "public, max-age=1"; }
        location /events/ {
            proxy_pass http://127.0.0.1:$events_port;
            proxy_http_version 1.1;
            proxy_buffering off;
            access_log off;
        }
    }
}
CONF
}

answers() { curl -so /dev/null --max-time 2 "$1"; }

start_events() {
    mkfifo "$dir/hold"
    exec {drop_fd}<>"$dir/hold" # held open by us alone: it ends when we do, however that is
    setsid /usr/bin/python3 tools/demo/events.py <"$dir/hold" >"$dir/events.port" \
        2>"$dir/events.log" {drop_fd}>&- &
    events_pid=$!
    wait_for 'the event stream' test -s "$dir/events.port"
    events_port=$(cat "$dir/events.port")
}

start_origin() { # on the port that it had, or on a new one
    local try
    for try in 1 2 3 4 5; do
        [ -n "${origin_port:-}" ] || origin_port=$(free_port)
        write_origin_config
        : >"$dir/origin-error.log"
        setsid "$nginx" -p "$dir/nginx" -c "$dir/origin.conf" -e "$dir/origin-error.log" 2>/dev/null {drop_fd}>&- &
        origin_pid=$!
        until (: <"/dev/tcp/127.0.0.1/$origin_port") 2>/dev/null; do
            kill -0 $origin_pid 2>/dev/null || break
            sleep 0.02
        done
        ! kill -0 $origin_pid 2>/dev/null || return 0
        [ $try -lt 5 ] && grep -q 'Address already in use' "$dir/origin-error.log" || break
        [ "$edge_pid" = '' ] || break # the edge knows the port
        origin_port=''
    done
    die "nginx did not start"
}

asked() { wc -l <"$dir/origin.log"; } # requests that the origin has answered
has_asked() { [ "$(asked)" -ge "$1" ]; }

# ---- the edge ----

write_edge_config() {
    mkdir -p "$dir/tls" "$dir/store"
    tools/certs.sh "$dir/tls-made" "$HOST" || die "no certificate"
    cp "$dir/tls-made/$HOST.crt" "$dir/tls-made/$HOST.key" "$dir/tls/"
    (umask 077 && cat >"$dir/tokens.yaml" <<YAML
tokens:
  - name: demo
    secret: $(openssl rand -hex 24)
    kinds: [purge, wide, read]
YAML
    )
    cat >"$dir/edge.yaml" <<YAML
listen: [{address: "127.0.0.1:0", tls: {certificates: tls}}]
admin: {listen: "127.0.0.1:0", tokens: tokens.yaml}
store: {directory: store, size: 256MiB}
logs: {error: edge.log, access: access.log}
node: demo
drain: 5s
sites: sites.yaml
YAML
    cat >"$dir/sites.yaml" <<YAML
sites:
  - name: demo
    hosts: [$HOST]
    origin: {servers: ["http://127.0.0.1:$origin_port"], allow_local: yes}
    rules:
      - {path: "/events/*", cache: off, stream: yes}
    query: {drop: tracking}
YAML
    cat >"$dir/.curlrc" <<CURL
cacert = "$dir/tls-made/ca.pem"
silent
show-error
no-progress-meter
max-time = 30
CURL
    export CURL_HOME=$dir SELVAGE_CONFIG=$dir/selvage.yaml PATH="$B:$PATH"
}

# The kernel chose the ports; the log says which.
port_of() { sed -n "s/.*$1 127\.0\.0\.1:0 (port \([0-9]*\)).*/\1/p" "$dir/edge.log" 2>/dev/null | tail -n 1; }
is_up() {
    kill -0 "$edge_pid" 2>/dev/null || die "the edge has ended"
    [ -n "$(port_of 'admin on')" ]
}

start_edge() {
    [ ! -e "$dir/edge.log" ] || mv "$dir/edge.log" "$dir/edge.log.before"
    setsid "$B/selvage-edge" --config "$dir/edge.yaml" 2>"$dir/edge.stderr" {drop_fd}>&- &
    edge_pid=$!
}

wait_for_edge() {
    wait_for 'the edge' is_up
    port=$(port_of 'listening on')
    admin=http://127.0.0.1:$(port_of 'admin on')
    url=https://$HOST:$port
    (umask 077 && printf 'nodes: ["%s"]\ntoken: %s\n' "$admin" \
        "$(sed -n 's/^ *secret: //p' "$dir/tokens.yaml")" >"$dir/selvage.yaml")
    wait_for 'its health' answers "$url/.well-known/selvage/health"
}

# ---- what browsers do ----

# load PATH: the page and all that it names, over one connection; a line for each in $dir/loaded:
# protocol, status, bytes, path, Cache-Status
load() {
    rm -rf "$dir/got" && mkdir "$dir/got"
    curl --http2 -o "$dir/got/page" -w '%{http_version}\t%{response_code}\t%{size_download}\t%{url}\t%header{cache-status}\n' \
        "$url$1" >"$dir/loaded" || die "the page did not load"
    /usr/bin/python3 tools/demo/assets.py "$url$1" <"$dir/got/page" >"$dir/assets"
    local n=0 asset
    while read -r asset; do
        n=$((n + 1))
        printf 'url = "%s"\noutput = "%s"\n' "$asset" "$dir/got/$n"
    done <"$dir/assets" >"$dir/curl.config"
    curl --http2 --parallel -K "$dir/curl.config" \
        -w '%{http_version}\t%{response_code}\t%{size_download}\t%{url}\t%header{cache-status}\n' \
        >"$dir/loaded.assets" || die "an asset did not load"
    # in the order of the page, whatever came first
    while read -r asset; do
        awk -F'\t' -v u="$asset" '$4 == u' "$dir/loaded.assets"
    done <"$dir/assets" >>"$dir/loaded"
    total=$(wc -l <"$dir/loaded")
    page=$1
}

count() { awk -F'\t' "$1" "$dir/loaded" | wc -l; } # of what was loaded
are_all() { [ "$(count "$1")" = "$total" ]; }
is_h2() { are_all '$1 == 2 && $2 == 200'; }
are_hits() { are_all '$5 ~ /^demo; *hit/'; }
are_misses() { are_all '$5 ~ /fwd=(uri-miss|miss)/'; }

show_loaded() {
    awk -F'\t' '{
        sub(/^https:\/\/[^\/]*/, "", $4)
        if (length($4) > 35) $4 = substr($4, 1, 12) "..." substr($4, length($4) - 19)
        printf "HTTP/%s %s %7d  %-35s  %s\n", $1, $2, $3, $4, $5
    }' "$dir/loaded" | indent
}

# Are the bytes those of the origin's files?
is_genuine() {
    local n=0 asset file
    file=$page
    [ "$file" != / ] || file=/index.html
    cmp -s "$dir/got/page" "$dir/www$file" || return 1
    while read -r asset; do
        n=$((n + 1))
        file=${asset#"$url"}
        cmp -s "$dir/got/$n" "$dir/www${file%%\?*}" || return 1
    done <"$dir/assets"
}

stored() { selvage --json status 2>/dev/null | sed -n 's/.*"objects": *\([0-9]*\).*"queue_bytes": *0[,}].*/\1/p'; }
has_stored() { [ "$(stored || echo 0)" -ge "$1" ] 2>/dev/null; }

# get PATH: Cache-Status in $status, body in $body
get() {
    command_line "curl -i --http2 $url$1"
    curl -i --http2 "$url$1" 2>&1 | tr -d '\r' >"$dir/answer"
    status=$(sed -n 's/^cache-status: //p' "$dir/answer")
    body=$(sed '1,/^$/d' "$dir/answer")
    { sed -n '1p; /^\(age\|cache-status\|warning\|retry-after\): /p' "$dir/answer"; echo; printf '%s\n' "$body"; } |
        head -n 9 | indent
}

# ---- the steps ----

show_page() {
    local before
    before=$(asked)
    step 'A page and its assets over HTTP/2' \
        "The front page names style sheets, scripts, a font and pictures, which come from four Debian packages. Nothing is stored yet, so each is fetched from the origin once, and stored."
    command_line "curl --http2 --parallel $url/ and what the page names"
    load /
    show_loaded
    claim "$total answers, all of them over HTTP/2 with status 200" is_h2
    claim 'the bytes are those of the files' is_genuine
    claim 'all are misses, and Cache-Status says so' are_misses
    wait_for "the origin's log" has_asked $((before + total))
    claim "the origin was asked $total times" [ $(($(asked) - before)) = "$total" ]
    wait_for 'the commit' has_stored "$total"
}

show_hits() {
    local before
    before=$(asked)
    step 'The same again: hits' \
        'Now everything comes from the store. What counts is the log of the origin: it does not grow.'
    command_line "curl --http2 --parallel $url/ and what the page names"
    load /
    show_loaded
    claim 'all are hits' are_hits
    claim 'the bytes are still those of the files' is_genuine
    claim "the origin's count stands still at $before" [ "$(asked)" = "$before" ]
    load /sqlite/atomiccommit.html
    claim "a chapter of SQLite's manual with $((total - 1)) pictures loads through the edge, too" is_h2
    wait_for 'the commit' has_stored $((before + $(count '$5 ~ /fwd=/')))
    before=$(asked)
    load /sqlite/atomiccommit.html
    claim "and is $total hits the second time, byte for byte" is_genuine
    claim "the origin's count stands still at $before" eval 'are_hits && [ "$(asked)" = '"$before"' ]'
    # what mailers add to links is no other page
    get '/?utm_source=newsletter' >/dev/null
    claim "/?utm_source=newsletter is the same page: the site drops tracking parameters" \
        eval '[[ $status == *hit* ]] && [ "$(asked)" = '"$before"' ]'
}

show_stream() {
    step 'A stream of events, passed as it comes' \
        'The rule for /events/* says stream: yes. Each event holds the time at which the origin sent it; none may wait for the next.'
    command_line "curl --http2 -N $url/events/clock"
    curl --http2 -N "$url/events/clock" 2>/dev/null |
        /usr/bin/python3 tools/demo/arrivals.py 5 >"$dir/arrivals"
    local held=${PIPESTATUS[1]}
    indent <"$dir/arrivals"
    claim 'each event arrived before the next was sent' [ "$held" = 0 ]
}

show_explain() {
    step 'Why is this a hit, and that a miss?' \
        'explain asks the same two decisions that serve requests. Nothing is fetched, nothing changes.'
    run selvage explain "$url/sqlite/atomiccommit.html"
    claim 'a hit is explained' grep -qi 'fresh for another' "$dir/out"
    run selvage explain "$url/sqlite/wal.html"
    claim 'a miss is explained' grep -qi 'nothing is stored' "$dir/out"
    run selvage explain "$url/events/clock"
    claim 'a pass is explained, with the line of the rule' grep -qi 'line [0-9]* says' "$dir/out"
}

is_stale_now() { selvage ls "$url/short/" 2>/dev/null | grep -q stale; }

show_dead_origin() {
    step 'The origin dies: the last good copy is served' \
        'One object here is good for a second only. It is fetched, gets stale, and then nginx is killed.'
    get /short/notice.txt
    claim 'it was fetched' [ "$body" = 'good for a second' ]
    wait_for 'it to be stored and to get stale' is_stale_now
    run selvage ls "$url/short/"
    command_line "kill -9 $origin_pid  # nginx"
    stop KILL "$origin_pid"
    origin_pid=''
    claim 'nobody listens on the port of the origin' eval '! (: <"/dev/tcp/127.0.0.1/$origin_port") 2>/dev/null'
    get /short/notice.txt
    claim 'the stale copy is served with status 200' eval '[ "$body" = "good for a second" ] && head -n 1 "$dir/answer" | grep -q " 200"'
    claim 'and Cache-Status says why: fwd=stale, and stale-if-error' eval '[[ $status == *fwd=stale* && $status == *stale-if-error* ]]'
    get /news/today.html
    claim 'what was never stored gets an error, at once' eval 'head -n 1 "$dir/answer" | grep -q " 50[234]"'
}

show_kill() {
    local first
    step 'kill -9 of the edge: hits at once after the restart' \
        'The origin is still dead, so whatever comes now comes from the disk. Nothing is scanned or rebuilt at the start.'
    command_line "kill -9 $edge_pid  # selvage-edge"
    stop KILL "$edge_pid"
    command_line "selvage-edge --config $dir/edge.yaml"
    start_edge
    first=$(/usr/bin/python3 tools/demo/first_hit.py "$edge_pid" "$dir/edge.log" \
        "$dir/tls-made/ca.pem" "$HOST" /sqlite/atomiccommit.html)
    echo "cache-status: ${first#* }" | indent
    claim "the first request, ${first%% *} ms after the start of the process, is a hit" \
        eval '[[ $first == *"; hit"* ]]'
    wait_for_edge
    load /sqlite/atomiccommit.html
    claim "the chapter and its $((total - 1)) pictures: all hits, all bytes right" eval 'is_h2 && are_hits && is_genuine'
    load /
    claim "the front page and its $((total - 1)) assets: all hits, all bytes right" eval 'is_h2 && are_hits && is_genuine'
}

show_purge() {
    local before
    step 'A purge, and the fresh answer after it' \
        'The origin is back. A page is fetched and stored for an hour; then the origin has a new edition.'
    start_origin
    get /news/today.html
    claim 'the first edition is fetched' eval '[[ $body == *"first edition"* && $status == *fwd=* ]]'
    wait_for 'the commit' eval 'selvage ls "$url/news/" 2>/dev/null | grep -q fresh'
    write_news 'second edition'
    get /news/today.html
    claim 'the edge still has the first: it is good for an hour' eval '[[ $body == *"first edition"* && $status == *hit* ]]'
    run selvage purge "$url/news/today.html"
    claim 'the purge is acknowledged: on disk, and in force' grep -q 'purged up to' "$dir/out"
    get /news/today.html
    claim 'the next answer is the second edition' eval '[[ $body == *"second edition"* && $status == *fwd=* ]]'

    step 'A purge by tag' \
        'The origin gives all of the manual the tag "sqlite" (Surrogate-Key, which clients do not see). One purge covers whatever has it.'
    claim 'clients do not see the tags' eval '! curl -i "$url/sqlite/atomiccommit.html" | grep -aqi "^surrogate-key"'
    run selvage purge --tag sqlite
    before=$(asked)
    load /sqlite/atomiccommit.html
    claim "the chapter and its pictures: $total misses" are_misses
    wait_for "the origin's log" has_asked $((before + total))
    claim "the origin was asked $total times" [ $(($(asked) - before)) = "$total" ]
    load /
    claim 'the front page, but for the picture of the manual, is still hits' \
        [ "$(count '$5 ~ /^demo; *hit/')" -ge $((total - 1)) ]
    command_line "curl -X POST -d '{\"scopes\":[{\"all\":true}]}' $admin/purge  # with a wrong token"
    code=$(curl -o "$dir/out" -w '%{response_code}' -H 'Content-Type: application/json' \
        -H 'Authorization: Bearer wrong' -d '{"scopes":[{"all":true}]}' "$admin/purge")
    indent <"$dir/out"
    claim 'a purge with a wrong token is refused: 401' [ "$code" = 401 ]
}

show_status() {
    step 'How the node is' 'status, a few counters, and the last line of the access log.'
    run selvage status
    claim 'ready' grep -q 'ready *yes' "$dir/out"
    command_line "curl -H 'Authorization: Bearer ...' $admin/metrics | grep requests_total"
    curl -H "Authorization: Bearer $(sed -n 's/^ *secret: //p' "$dir/tokens.yaml")" "$admin/metrics" |
        grep '^selvage_requests_total' >"$dir/out"
    indent <"$dir/out"
    claim 'counters for Prometheus' grep -q 'verdict="hit"' "$dir/out"
    command_line "tail -n 1 $dir/access.log"
    wait_for 'the access log' test -s "$dir/access.log"
    tail -n 1 "$dir/access.log" | fold -w 92 | indent
    claim 'a JSON object a line' eval 'tail -n 1 "$dir/access.log" | /usr/bin/python3 -m json.tool >/dev/null'
}

show_drain() {
    local code
    step 'SIGTERM: it drains and ends'
    command_line "kill $edge_pid  # selvage-edge"
    kill "$edge_pid"
    wait "$edge_pid"
    code=$?
    edge_pid=''
    tail -n 2 "$dir/edge.log" | indent
    claim 'exit status 0' [ $code = 0 ]
}

stay() {
    cat <<TEXT

It stays up until Ctrl-C.  Pages for a browser, which does not know the authority and will say so
($dir/tls-made/ca.pem):
    $url/
    $url/sqlite/atomiccommit.html
The origin serves $dir/www and writes $dir/origin.log.
For another shell:
    export PATH=$B:\$PATH
    export SELVAGE_CONFIG=$SELVAGE_CONFIG CURL_HOME=$dir
    curl -I $url/
    curl -N $url/events/clock
    selvage ls $url/
    selvage explain $url/
    selvage purge --all
TEXT
    wait "$edge_pid" # a signal ends it, and then us
    die "the edge has ended"
}

main() {
    work=$(mktemp -d "${TMPDIR:-/tmp}/selvage-demo.XXXXXX") || exit 1
    dir=$work
    mkdir "$dir/nginx"
    install_tools
    build
    lay_out_content
    start_events
    start_origin
    write_edge_config
    printf '%sSelvage: one edge in front of an origin, on real content%s\n' "$BOLD" "$PLAIN"
    run selvage check "$dir/edge.yaml" || die "its configuration has errors"
    start_edge
    wait_for_edge

    show_page
    show_hits
    show_stream
    show_explain
    show_dead_origin
    show_kill
    show_purge
    show_status
    if [ "$KEEP" != 0 ]; then
        printf '\n%s%d steps with %d claims: all held.%s\n' "$GREEN" "$steps" "$claims" "$PLAIN"
        stay
    fi
    show_drain
    printf '\n%s%d steps with %d claims: all held.%s\n' "$GREEN" "$steps" "$claims" "$PLAIN"
}

main
