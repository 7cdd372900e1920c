#!/bin/sh
# The Debian packages that building and testing need.
#   tools/deps.sh [build|test|fuzz|all]   installs what is missing, as root or through sudo, and
#                                         says so; silent and quick when nothing is
# `make demo` and `make bench` see to what they need beyond this themselves.
set -eu

build='gcc make pkg-config libc6-dev libh2o-evloop-dev liblmdb-dev libssl-dev libmaxminddb-dev libzstd-dev
libcurl4-openssl-dev libyaml-dev libxxhash-dev libjansson-dev uthash-dev'
run='curl openssl python3'
test="$run libcmocka-dev python3-pytest python3-pytest-xdist python3-h2 python3-websockets python3-yaml strace procps util-linux
patch chromium-headless-shell"
fuzz='clang libclang-rt-14-dev'
# of any of these one is enough, the first is installed
either='chromium-headless-shell|chromium'

case ${1:-all} in
build) want=$build ;;
test) want="$build $test" ;;
fuzz) want="$build $fuzz" ;;
all) want="$build $test $fuzz" ;;
*)
    echo "usage: tools/deps.sh [build|test|fuzz|all]" >&2
    exit 2
    ;;
esac
# Elsewhere than on Debian the compiler will say what is missing.
command -v dpkg-query >/dev/null || exit 0

installed=" $(dpkg-query -W -f '${db:Status-Abbrev}${Package} ' 2>/dev/null)"
have() {
    case $installed in *" ii $1 "* | *" hi $1 "*) return 0 ;; esac
    return 1
}
missing=
for p in $want; do
    found=
    for e in $either; do
        case "|$e|" in *"|$p|"*)
            for q in $(echo "$e" | tr '|' ' '); do
                ! have "$q" || found=1
            done
            ;;
        esac
    done
    [ -n "$found" ] || have "$p" || missing="$missing $p"
done
[ -n "$missing" ] || exit 0
if [ -z "${DEPS_LOCKED:-}" ]; then # make asks for several at once; the second may find it all done
    mkdir -p build
    DEPS_LOCKED=1 exec flock build/.deps "$0" "$@"
fi

if [ "$(id -u)" = 0 ]; then
    as=
elif command -v sudo >/dev/null; then
    as=sudo
else
    echo "Missing Debian packages; install them as root:" >&2
    echo "  apt-get install --no-install-recommends$missing" >&2
    exit 1
fi
echo "Installing Debian packages${as:+ through sudo}:$missing"
install() {
    # shellcheck disable=SC2086
    $as env DEBIAN_FRONTEND=noninteractive apt-get -qq -o DPkg::Lock::Timeout=300 install -y \
        --no-install-recommends $missing </dev/null >"$log" 2>&1
}
log=$(mktemp)
trap 'rm -f "$log"' EXIT
install || {
    $as apt-get -qq -o DPkg::Lock::Timeout=300 update >"$log" 2>&1 && install
} || {
    cat "$log" >&2
    echo "deps.sh: the packages could not be installed:$missing" >&2
    exit 1
}
