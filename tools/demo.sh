#!/usr/bin/env bash
# Shows what Selvage is for, on real content, and checks each claim as it makes it.
#   tools/demo.sh          runs the steps and ends; exit status 0 only if all of them held
#   KEEP=1 tools/demo.sh   then stays up, and prints addresses to try
#   B=build/x              where the programs were built; default build/release
# One origin (nginx with content of Debian packages, and a small event stream), one shield, and three
# edges in three cities, certificates made on the spot: all of it on loopback, on ports that the kernel
# picks, in a temporary directory that is removed at the end.  Loopback is 16 million addresses, and
# tests/geo/places.tsv says in which city each of them is.  Nothing needs root, except installing
# curl, openssl or python3 where they are missing.
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
CITIES='fra sin iad' # where edges are; the first is the one that most steps ask
declare -A CITY=([fra]=Frankfurt [sin]=Singapore [iad]=Ashburn)
declare -A PLACE=([fra]=127.1.0.1 [sin]=127.2.0.1 [iad]=127.3.0.1) # an address in it
PACKAGES=build/demo # packages that this machine does not have are unpacked there
WAIT_S=60           # for a state to come about, on a busy machine

dir='' work='' origin_pid='' events_pid='' load_pid='' drop_fd=''
declare -A pid=() port=() admin=() # of the daemons: shield, and each city's edge
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
    for log in shield.log fra.log sin.log iad.log origin-error.log; do
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
    local name
    for name in "${!pid[@]}"; do
        stop KILL "${pid[$name]}"
    done
    stop KILL "$load_pid"
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
    if [ ! -x "$B/selvage-edge" ] || [ ! -x "$B/selvage-shield" ] || [ ! -x "$B/selvage" ]; then
        make B="$B" || die "make B=$B failed"
    fi
}

# ---- the origin ----

lay_out_content() {
    mkdir -p "$dir/www/javascript" "$dir/www/news" "$dir/www/short" "$dir/www/downloads"
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
    head -c 4000000 /dev/urandom >"$dir/www/downloads/image.iso"
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
        [ ${#pid[@]} = 0 ] || break # the fleet knows the port
        origin_port=''
    done
    die "nginx did not start"
}

asked() { wc -l <"$dir/origin.log"; } # requests that the origin has answered
has_asked() { [ "$(asked)" -ge "$1" ]; }

# ---- the fleet ----

# Who they are to each other, by a CA of their own; and to clients, by the one of tools/certs.sh.
make_certificates() {
    mkdir -p "$dir/tls"
    tools/certs.sh "$dir/tls-made" "$HOST" "*.$HOST" || die "no certificate"
    cp "$dir/tls-made/$HOST".* "$dir/tls-made/_wildcard.$HOST".* "$dir/tls/"
    {
        selvage pki init --dir "$dir/pki" && selvage pki node shield --dir "$dir/pki" --host 127.0.0.1
        for c in $CITIES; do
            selvage pki node "edge-$c" --dir "$dir/pki" --region "$c"
        done
    } >"$dir/pki.log" 2>&1 || die "no certificates of the fleet: $(cat "$dir/pki.log")"
    (umask 077 && cat >"$dir/tokens.yaml" <<YAML
tokens:
  - name: demo
    secret: $(openssl rand -hex 24)
    kinds: [purge, wide, read, publish]
YAML
    )
}

# The same on every node: what is served, and where the regions are.
write_sites() {
    cat >"$dir/sites.yaml" <<YAML
sites:
  - name: demo
    hosts: [$HOST, "*.$HOST"]
    origin: {servers: ["http://127.0.0.1:$origin_port"], allow_local: yes}
    geo: redirect
    files: yes
    rules:
      - {path: "/events/*", cache: off, stream: yes}
    query: {drop: tracking}
YAML
    cat >"$dir/regions.yaml" <<YAML
regions:
  - {name: fra, hostname: "fra.$HOST:${port[fra]}", latitude: 50.11, longitude: 8.68}
  - {name: sin, hostname: "sin.$HOST:${port[sin]}", latitude: 1.35, longitude: 103.82}
  - {name: iad, hostname: "iad.$HOST:${port[iad]}", latitude: 39.04, longitude: -77.49}
YAML
}

write_shield_config() {
    cat >"$dir/shield.yaml" <<YAML
listen: [{address: "127.0.0.1:${port[shield]}", peers: certificate}]
peer: {certificate: pki/shield.pem, ca: pki/fleet-ca.pem}
admin: {listen: "127.0.0.1:0", tokens: tokens.yaml}
store: {directory: store-shield, size: 256MiB}
logs: {error: shield.log}
node: shield
drain: 5s
sites: sites.yaml
YAML
}

write_edge_config() { # NAME
    cat >"$dir/$1.yaml" <<YAML
listen:
  - {address: "127.0.0.1:${port[$1]}", tls: {certificates: tls}}
  - {address: "${PLACE[$1]}:${port[$1]}", tls: {certificates: tls}}
upstream: {shields: [["https://127.0.0.1:${port[shield]}"]], direct: allowed}
peer: {certificate: pki/edge-$1.pem, ca: pki/fleet-ca.pem}
geo: {database: places.mmdb, regions: regions.yaml, here: $1}
admin: {listen: "127.0.0.1:0", tokens: tokens.yaml}
store: {directory: store-$1, size: 256MiB}
logs: {error: $1.log, access: $1-access.log}
node: $1
drain: 5s
sites: sites.yaml
YAML
}

write_fleet_config() {
    local name
    for name in shield $CITIES; do
        port[$name]=$(free_port)
    done
    make_certificates
    /usr/bin/python3 tests/geo/build.py tests/geo/places.tsv "$dir/places.mmdb" || die "no geo database"
    write_sites
    write_shield_config
    for name in $CITIES; do
        write_edge_config "$name"
    done
    cat >"$dir/.curlrc" <<CURL
cacert = "$dir/tls-made/ca.pem"
silent
show-error
no-progress-meter
max-time = 30
CURL
    export CURL_HOME=$dir SELVAGE_CONFIG=$dir/selvage.yaml
}

# The kernel chose the port of the admin interface; the log says which.
admin_port() { sed -n 's/.*admin on 127\.0\.0\.1:0 (port \([0-9]*\)).*/\1/p' "$dir/$1.log" 2>/dev/null | tail -n 1; }
is_up() { # NAME
    kill -0 "${pid[$1]}" 2>/dev/null || die "$1 has ended: $(cat "$dir/$1.stderr")"
    [ -n "$(admin_port "$1")" ]
}

start() { # NAME: shield, or a city's edge
    local program=selvage-edge
    [ "$1" != shield ] || program=selvage-shield
    [ ! -e "$dir/$1.log" ] || mv "$dir/$1.log" "$dir/$1.log.before"
    setsid "$B/$program" --config "$dir/$1.yaml" 2>"$dir/$1.stderr" {drop_fd}>&- &
    pid[$1]=$!
}

wait_for_start() { # NAME
    wait_for "$1" is_up "$1"
    admin[$1]=http://127.0.0.1:$(admin_port "$1")
}

# What the tool asks when no node is named: the edge in Frankfurt.
write_tool_config() {
    (umask 077 && printf 'nodes: ["%s"]\ntoken: %s\n' "${admin[fra]}" \
        "$(sed -n 's/^ *secret: //p' "$dir/tokens.yaml")" >"$dir/selvage.yaml")
}

is_healthy() { curl -fo /dev/null --max-time 2 "https://$HOST:${port[$1]}/.well-known/selvage/health" 2>/dev/null; }

wait_for_edge() { # NAME: it serves, and has caught up with the purges
    wait_for_start "$1"
    [ "$1" != fra ] || write_tool_config
    wait_for "the health of $1" is_healthy "$1"
}

start_fleet() {
    local name
    start shield
    wait_for_start shield
    for name in $CITIES; do
        start "$name"
    done
    for name in $CITIES; do
        wait_for_edge "$name"
    done
    url=https://$HOST:${port[fra]}
}

# ---- what browsers do ----

# Each hop adds a field Cache-Status; the last is that of the edge.
LOADED=$'%{http_version}\t%{response_code}\t%{size_download}\t%{url}\t%{header_json}\f'
last_cache_status() {
    awk -F'\t' -v OFS='\t' 'BEGIN {RS = "\f"} NF >= 5 {
        match($0, /"cache-status":\[[^]]*\]/)
        n = split(substr($0, RSTART, RLENGTH), said, "\"")
        print $1, $2, $3, $4, said[n - 1]
    }'
}

# load PATH: the page and all that it names, over one connection; a line for each in $dir/loaded:
# protocol, status, bytes, path, Cache-Status
load() {
    rm -rf "$dir/got" && mkdir "$dir/got"
    curl --http2 -o "$dir/got/page" -w "$LOADED" "$url$1" | last_cache_status >"$dir/loaded" || die "the page did not load"
    /usr/bin/python3 tools/demo/assets.py "$url$1" <"$dir/got/page" >"$dir/assets"
    local n=0 asset
    while read -r asset; do
        n=$((n + 1))
        printf 'url = "%s"\noutput = "%s"\n' "$asset" "$dir/got/$n"
    done <"$dir/assets" >"$dir/curl.config"
    curl --http2 --parallel -K "$dir/curl.config" -w "$LOADED" | last_cache_status >"$dir/loaded.assets" || die "an asset did not load"
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
are_hits() { are_all '$5 ~ /fra; *hit/'; }
are_misses() { are_all '$5 ~ /fra; *fwd=(uri-miss|miss)/'; }

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

# Of Frankfurt's edge.
stored() { selvage --json status 2>/dev/null | sed -n 's/.*"objects": *\([0-9]*\).*"queue_bytes": *0[,}].*/\1/p'; }
has_stored() { [ "$(stored || echo 0)" -ge "$1" ] 2>/dev/null; }

# get PATH: Cache-Status in $status, body in $body
get() {
    command_line "curl -i --http2 $url$1"
    curl -i --http2 "$url$1" 2>&1 | tr -d '\r' >"$dir/answer"
    status=$(sed -n 's/^cache-status: //p' "$dir/answer" | tail -n 1)
    body=$(sed '1,/^$/d' "$dir/answer")
    { sed -n '1p; /^\(age\|cache-status\|warning\|retry-after\): /p' "$dir/answer"; echo; printf '%s\n' "$body"; } |
        head -n 9 | indent
}

# ---- the steps ----

show_page() {
    local before
    before=$(asked)
    step 'A page and its assets over HTTP/2' \
        "A client comes to the edge in Frankfurt. The front page names style sheets, scripts, a font and pictures, which come from four Debian packages. Nothing is stored yet, so each is fetched once, by the edge from the shield and by the shield from the origin, and both store it."
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

show_tiers() {
    local before c
    before=$(asked)
    step 'Three cities, one question to the origin' \
        'The same page is asked for in Frankfurt, Singapore and Ashburn at once. Each edge asks the shield, and the shield asks the origin once for all.'
    local -A one=()
    for c in $CITIES; do
        command_line "curl https://$c.$HOST:${port[$c]}/sqlite/lang.html &"
        curl -o "$dir/lang.$c" "https://$c.$HOST:${port[$c]}/sqlite/lang.html" &
        one[$c]=$!
    done
    for c in $CITIES; do
        wait "${one[$c]}" || die "no answer from ${CITY[$c]}"
        claim "${CITY[$c]} has it, byte for byte" cmp -s "$dir/lang.$c" "$dir/www/sqlite/lang.html"
    done
    wait_for "the origin's log" has_asked $((before + 1))
    claim 'the origin was asked once' [ $(($(asked) - before)) = 1 ]
}

# visit ADDRESS: what a client with that address is told in Frankfurt; status and Location in $told
visit() {
    command_line "curl --interface $1 $url/downloads/image.iso"
    told=$(curl --interface "$1" -o /dev/null -w '%{response_code} %{redirect_url}' "$url/downloads/image.iso")
    printf '%s\n' "$told" | indent
}

show_regions() {
    local there=https://sin.$HOST:${port[sin]}/downloads/image.iso
    step 'A client of another city is sent to its region' \
        'A download of 4 MB has been stored in Frankfurt. Where a client is follows from its address and a geo database, which was built from a text file a moment ago; the site says geo: redirect.'
    curl -o /dev/null "$url/downloads/image.iso"
    wait_for 'the commit' eval 'selvage ls "$url/downloads/" 2>/dev/null | grep -q fresh'
    run selvage regions
    visit 127.2.0.5
    claim "from Singapore (127.2.0.5): a 307 to Singapore's edge" [ "$told" = "307 $there" ]
    command_line "curl -L --interface 127.2.0.5 $url/downloads/image.iso"
    curl -L --interface 127.2.0.5 -o "$dir/image" -D "$dir/answer" "$url/downloads/image.iso"
    tr -d '\r' <"$dir/answer" | grep -i '^HTTP/\|^location:\|^cache-status:' | indent
    claim "which answers, with the same bytes" \
        eval 'grep -aq "^cache-status: sin;" "$dir/answer" && cmp -s "$dir/image" "$dir/www/downloads/image.iso"'
    visit 127.10.0.5
    claim 'from London (127.10.0.5): stays, Frankfurt is near' [ "$told" = '200 ' ]
    visit 127.0.0.9
    claim 'from nowhere known (127.0.0.9): stays' [ "$told" = '200 ' ]
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

# Clients everywhere, until $dir/enough is there: every other request is for something new.  Statuses go
# to $dir/statuses, a line each.
traffic() {
    local n=0 c target
    while [ ! -e "$dir/enough" ]; do
        for c in $CITIES; do
            n=$((n + 1))
            target=/favicon.svg
            [ $((n % 2)) = 0 ] || target="/favicon.svg?n=$n"
            curl -o /dev/null -w '%{response_code}\n' "https://$c.$HOST:${port[$c]}$target"
        done
    done >"$dir/statuses" 2>>"$dir/traffic.log"
}
served() { wc -l <"$dir/statuses"; }
has_served() { [ "$(served)" -ge "$1" ]; }
all_served() { ! grep -qvx 200 "$dir/statuses"; }

metric() { # NODE NAME
    curl -H "Authorization: Bearer $(sed -n 's/^ *secret: //p' "$dir/tokens.yaml")" "${admin[$1]}/metrics" | sed -n "s/^$2 //p"
}
follow_the_shield() {
    local c
    for c in $CITIES; do
        [ "$(metric "$c" selvage_journal_following)" = 1 ] || return 1
    done
}

show_dead_shield() {
    step 'kill -9 of the shield: traffic goes on' \
        'Clients in three cities ask without pause, every other time for what nobody has stored. In the midst of it the shield is killed: edges then ask the origin themselves.'
    rm -f "$dir/enough" "$dir/statuses"
    : >"$dir/statuses"
    traffic {drop_fd}>&- &
    load_pid=$!
    wait_for 'the first answers' has_served 15
    command_line "kill -9 ${pid[shield]}  # selvage-shield"
    stop KILL "${pid[shield]}"
    unset "pid[shield]"
    local at
    at=$(served)
    wait_for 'answers without the shield' has_served $((at + 30))
    claim "$(($(served) - at)) answers without the shield: all of them 200" all_served
    command_line "selvage-shield --config $dir/shield.yaml"
    start shield
    wait_for_start shield
    wait_for 'the edges to follow it again' follow_the_shield
    at=$(served)
    wait_for 'answers through the new one' has_served $((at + 30))
    touch "$dir/enough"
    wait "$load_pid"
    load_pid=''
    claim "it is back, and $(served) clients never noticed" all_served
}

is_stale_now() { selvage ls "$url/short/" 2>/dev/null | grep -q stale; }

show_dead_origin() {
    step 'The origin dies: the last good copy is served' \
        'One object here is good for a second only. It is fetched, gets stale, and then nginx is killed. The shield says so, and the edge has a copy.'
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
    step 'kill -9 of an edge: hits at once after the restart' \
        'The origin is still dead, so whatever comes now comes from the disk. Nothing is scanned or rebuilt at the start; the edge asks the shield which purges it has missed, and serves.'
    command_line "kill -9 ${pid[fra]}  # selvage-edge in Frankfurt"
    stop KILL "${pid[fra]}"
    command_line "selvage-edge --config $dir/fra.yaml"
    start fra
    first=$(/usr/bin/python3 tools/demo/first_hit.py "${pid[fra]}" "$dir/fra.log" \
        "$dir/tls-made/ca.pem" "$HOST" /sqlite/atomiccommit.html)
    echo "cache-status: ${first#* }" | indent
    claim "the first answer after it had caught up, ${first%% *} ms after the start of the process, is a hit" \
        eval '[[ $first == *"; hit"* ]]'
    wait_for_edge fra
    load /sqlite/atomiccommit.html
    claim "the chapter and its $((total - 1)) pictures: all hits, all bytes right" eval 'is_h2 && are_hits && is_genuine'
    load /
    claim "the front page and its $((total - 1)) assets: all hits, all bytes right" eval 'is_h2 && are_hits && is_genuine'
}

# Has every edge the news stored?
have_news() {
    local c
    for c in $CITIES; do
        selvage --node "${admin[$c]}" ls "https://$HOST/news/" 2>/dev/null | grep -q fresh || return 1
    done
}

# read_in_all PATH TEXT: do all cities say that?
read_in_all() {
    local c said all=0
    for c in $CITIES; do
        command_line "curl --connect-to $HOST:443:${PLACE[$c]}:${port[$c]} https://$HOST$1"
        said=$(curl --connect-to "$HOST:443:${PLACE[$c]}:${port[$c]}" "https://$HOST$1")
        printf '%s: %s\n' "${CITY[$c]}" "${said##*>}" | indent
        [[ $said == *"$2"* ]] || all=1
    done
    return $all
}
says_everywhere() { read_in_all "$@" >/dev/null; }

show_purge() {
    local before
    step 'A purge, its receipt, and the fresh answer after it' \
        'The origin is back. A page is fetched and stored for an hour in three cities; then the origin has a new edition.'
    start_origin
    claim 'the first edition is fetched' read_in_all /news/today.html 'first edition'
    wait_for 'the commits' have_news
    write_news 'second edition'
    claim 'all cities still have the first: it is good for an hour' read_in_all /news/today.html 'first edition'
    run selvage --node "${admin[shield]}" purge --wait "https://$HOST/news/today.html"
    claim 'the purge is acknowledged: on disk, and in force' grep -q 'purged up to' "$dir/out"
    claim 'and the receipt says that three edges have applied it' [ "$(grep -c ' applied ' "$dir/out")" = 3 ]
    claim 'the next answer is the second edition, in all cities' read_in_all /news/today.html 'second edition'

    step 'A purge by tag' \
        'The origin gives all of the manual the tag "sqlite" (Surrogate-Key, which clients do not see). One purge covers whatever has it.'
    claim 'clients do not see the tags' eval '! curl -i "$url/sqlite/atomiccommit.html" | grep -aqi "^surrogate-key"'
    run selvage --node "${admin[shield]}" purge --wait --tag sqlite
    before=$(asked)
    load /sqlite/atomiccommit.html
    claim "the chapter and its pictures: $total misses" are_misses
    wait_for "the origin's log" has_asked $((before + total))
    claim "the origin was asked $total times" [ $(($(asked) - before)) = "$total" ]
    load /
    claim 'the front page, but for the picture of the manual, is still hits' \
        [ "$(count '$5 ~ /fra; *hit/')" -ge $((total - 1)) ]
    command_line "curl -X POST -d '{\"scopes\":[{\"all\":true}]}' ${admin[shield]}/purge  # with a wrong token"
    code=$(curl -o "$dir/out" -w '%{response_code}' -H 'Content-Type: application/json' \
        -H 'Authorization: Bearer wrong' -d '{"scopes":[{"all":true}]}' "${admin[shield]}/purge")
    indent <"$dir/out"
    claim 'a purge with a wrong token is refused: 401' [ "$code" = 401 ]
}

# write_app TEXT: a folder as a build makes it, with one name that carries the hash of its content
write_app() {
    local script
    rm -rf "$dir/dist"
    mkdir -p "$dir/dist/app"
    echo "document.title = '$1'" >"$dir/dist/app/main"
    script=main.$(sha256sum "$dir/dist/app/main" | cut -c 1-12).js
    mv "$dir/dist/app/main" "$dir/dist/app/$script"
    printf '<!DOCTYPE html><script src="%s"></script><p>The %s\n' "$script" "$1" >"$dir/dist/app/index.html"
}

show_release() {
    step 'A folder is published, and taken back' \
        'The site says files: yes. What is published to the shield answers before the origin; a site switches to a release whole, on every node.'
    write_app 'first release'
    run selvage --node "${admin[shield]}" publish "$dir/dist" --site demo --release one
    wait_for 'all nodes to switch' says_everywhere /app/ 'first release'
    claim 'all cities serve the first release' read_in_all /app/ 'first release'
    write_app 'second release'
    run selvage --node "${admin[shield]}" publish "$dir/dist" --site demo --release two
    wait_for 'all nodes to switch' says_everywhere /app/ 'second release'
    claim 'all cities serve the second' read_in_all /app/ 'second release'
    command_line "curl -I $url/app/$(basename "$dir"/dist/app/main.*.js)"
    curl -I "$url/app/$(basename "$dir"/dist/app/main.*.js)" | tr -d '\r' | grep -i '^HTTP/\|^content-type\|^cache-control\|^etag' >"$dir/out"
    indent <"$dir/out"
    claim 'a name that carries a hash is kept for a year' grep -qi 'cache-control:.*immutable' "$dir/out"
    run selvage --node "${admin[shield]}" purge --wait --host "$HOST"
    claim 'content is not cache: the host is purged, and the release is there' read_in_all /app/ 'second release'
    run selvage --node "${admin[shield]}" rollback --site demo
    wait_for 'all nodes to switch' says_everywhere /app/ 'first release'
    claim 'the rollback: all cities serve the first again' read_in_all /app/ 'first release'
    run selvage --node "${admin[shield]}" releases
    claim 'and the list of releases says so' grep -q '\* *demo *one' "$dir/out"
}

show_status() {
    step 'How the nodes are' 'status, a few counters, and the last line of an access log.'
    run selvage --node "${admin[shield]}" --node "${admin[fra]}" --node "${admin[sin]}" --node "${admin[iad]}" status
    claim 'all four are ready' [ "$(grep -c 'ready *yes' "$dir/out")" = 4 ]
    command_line "curl -H 'Authorization: Bearer ...' ${admin[fra]}/metrics | grep requests_total"
    curl -H "Authorization: Bearer $(sed -n 's/^ *secret: //p' "$dir/tokens.yaml")" "${admin[fra]}/metrics" |
        grep '^selvage_requests_total' >"$dir/out"
    indent <"$dir/out"
    claim 'counters for Prometheus' grep -q 'verdict="hit"' "$dir/out"
    command_line "tail -n 1 $dir/fra-access.log"
    wait_for 'the access log' test -s "$dir/fra-access.log"
    tail -n 1 "$dir/fra-access.log" | fold -w 92 | indent
    claim 'a JSON object a line' eval 'tail -n 1 "$dir/fra-access.log" | /usr/bin/python3 -m json.tool >/dev/null'
}

show_drain() {
    local name code
    step 'SIGTERM: they drain and end'
    for name in $CITIES shield; do
        command_line "kill ${pid[$name]}  # $name"
        kill "${pid[$name]}"
        wait "${pid[$name]}"
        code=$?
        unset "pid[$name]"
        tail -n 1 "$dir/$name.log" | indent
        claim "exit status 0 of $name" [ $code = 0 ]
    done
}

stay() {
    cat <<TEXT

It stays up until Ctrl-C.  Pages for a browser, which does not know the authority and will say so
($dir/tls-made/ca.pem):
    $url/
    $url/sqlite/atomiccommit.html
    https://sin.$HOST:${port[sin]}/ and https://iad.$HOST:${port[iad]}/
The origin serves $dir/www and writes $dir/origin.log.
For another shell:
    export PATH=$B:\$PATH
    export SELVAGE_CONFIG=$SELVAGE_CONFIG CURL_HOME=$dir
    curl -I $url/
    curl -N $url/events/clock
    curl -I --interface 127.2.0.5 $url/downloads/image.iso
    selvage ls $url/
    selvage explain $url/
    selvage --node ${admin[shield]} purge --wait --all
TEXT
    wait "${pid[fra]}" # a signal ends it, and then us
    die "the edge in Frankfurt has ended"
}

main() {
    work=$(mktemp -d "${TMPDIR:-/tmp}/selvage-demo.XXXXXX") || exit 1
    dir=$work
    mkdir "$dir/nginx"
    install_tools
    build
    export PATH="$B:$PATH"
    lay_out_content
    start_events
    start_origin
    write_fleet_config
    printf '%sSelvage: an origin, a shield, and edges in three cities, on real content%s\n' "$BOLD" "$PLAIN"
    run cat "$dir/fra.yaml"
    run selvage check "$dir/fra.yaml" || die "its configuration has errors"
    run selvage check "$dir/shield.yaml" || die "its configuration has errors"
    start_fleet

    show_page
    show_hits
    show_tiers
    show_regions
    show_stream
    show_explain
    show_dead_shield
    show_dead_origin
    show_kill
    show_purge
    show_release
    show_status
    if [ "$KEEP" != 0 ]; then
        printf '\n%s%d steps with %d claims: all held.%s\n' "$GREEN" "$steps" "$claims" "$PLAIN"
        stay
    fi
    show_drain
    printf '\n%s%d steps with %d claims: all held.%s\n' "$GREEN" "$steps" "$claims" "$PLAIN"
}

main
