#!/bin/sh
# Runs parts of the tests and sums up; `make check` calls it with everything built.
#   tools/check.sh PART...   PART: units replay headers layers e2e conformance long asan ubsan tsan mutants fuzz
# The last line is "N passed, N failed"; exit status 0 only if nothing failed and something passed.
#   B        where things were built       UNITS, REPLAYS, HEADERS   files
#   N        end-to-end tests at once      K    names of those to run
#   CC, CPPFLAGS   for headers and layers
#   FUZZERS, FUZZ_SECONDS   for each of them
set -eu
cd "$(dirname "$0")/.."
: "${B:=build/release}" "${UNITS:=}" "${REPLAYS:=}" "${HEADERS:=}" "${N:=4}" "${K:=}" "${CC:=gcc}" "${CPPFLAGS:=}"
: "${FUZZERS:=}" "${FUZZ_SECONDS:=60}" "${MAKE:=make}"
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
passed=0
failed=0

say() { printf '%s\n' "$*"; }

supp=$PWD/tests/sanitizers
export SELVAGE_BUILD="$B"
export ASAN_OPTIONS="${ASAN_OPTIONS:-detect_stack_use_after_return=1:strict_string_checks=1}"
export LSAN_OPTIONS="${LSAN_OPTIONS:-suppressions=$supp/lsan.supp:print_suppressions=0}"
export UBSAN_OPTIONS="${UBSAN_OPTIONS:-print_stacktrace=1:suppressions=$supp/ubsan.supp}"
# report_mutex_bugs=0: libh2o takes a lock, which goes unseen as all that it does, and jumps into the
# unlock as its last deed, which then seems to be ours
export TSAN_OPTIONS="${TSAN_OPTIONS:-halt_on_error=0:report_mutex_bugs=0:second_deadlock_stack=1:suppressions=$supp/tsan.supp}"
case ${SELVAGE_SANITIZER:-} in
tsan) export SELVAGE_SLOWER="${SELVAGE_SLOWER:-5}" ;;
?*) export SELVAGE_SLOWER="${SELVAGE_SLOWER:-3}" ;;
esac

# one DIR PROGRAM ARGUMENT...: run it, keep what it says in DIR/NAME.log and its status in .rc
one='d=$1; shift; n=$(basename "$1")
rc=0; "$@" >"$d/$n.log" 2>&1 || rc=$?; echo "$rc" >"$d/$n.rc"'

# sum LOG RC NAME: count what cmocka says of a program; a program that ended badly without a failed
# test counts as one.
sum() {
    p=$(sed -n 's/^\[  PASSED  \] \([0-9]*\) test.*/\1/p' "$1" | tail -1)
    f=$(sed -n 's/^\[  FAILED  \] \([0-9]*\) test.*/\1/p' "$1" | tail -1)
    [ -n "$p" ] || p=0
    [ -n "$f" ] || f=0
    if [ "$2" != 0 ] && [ "$f" = 0 ]; then
        f=1
    elif [ "$2" = 0 ] && [ "$p" = 0 ]; then
        say "  $3: no test has passed, though it ended well"
        f=1
    fi
    passed=$((passed + p))
    failed=$((failed + f))
    [ "$f" = 0 ] || {
        grep -v '^\[ RUN      \]\|^\[       OK \]' "$1" | tail -60
        say "  FAILED $3 (exit status $2)"
    }
}

# result STATUS NAME LOG: a part that is one test
result() {
    if [ "$1" = 0 ]; then
        passed=$((passed + 1))
    else
        failed=$((failed + 1))
        tail -60 "$3"
        say "  FAILED $2"
    fi
}

units() {
    # shellcheck disable=SC2086
    printf '%s\n' $UNITS | xargs -P 2 -I {} timeout -k 10 600 sh -c "$one" one "$dir" "./{}" || :
    for u in $UNITS; do
        n=$(basename "$u")
        sum "$dir/$n.log" "$(cat "$dir/$n.rc" 2>/dev/null || echo 'none: it took too long')" "$u"
    done
}

replay() {
    for f in $REPLAYS; do
        n=$(basename "$f")
        rc=0
        # shellcheck disable=SC2046
        timeout 300 "./$f" $(ls -d "tests/fuzz/corpus/$n" "tests/fuzz/regression/$n" 2>/dev/null) \
            >"$dir/log" 2>&1 || rc=$?
        result "$rc" "$f" "$dir/log"
    done
}

headers() {
    rc=0
    for h in $HEADERS; do
        # shellcheck disable=SC2086
        echo "#include \"${h#lib/}\"" | $CC -std=c11 $CPPFLAGS -fsyntax-only -xc - || rc=1
    done >"$dir/log" 2>&1
    result "$rc" headers "$dir/log"
}

layers() {
    rc=0
    CC=$CC CPPFLAGS=$CPPFLAGS tools/layers.sh >"$dir/log" 2>&1 || rc=$?
    result "$rc" layers "$dir/log"
    rc=0
    CC=$CC tools/layers_test.sh >"$dir/log" 2>&1 || rc=$?
    result "$rc" layers_test "$dir/log"
}

# number LINE WORD: the one that stands before the word, or 0
number() {
    n=$(say "$1" | grep -oE "[0-9]+ $2" | head -1)
    say "$((${n%% *} + 0))"
}

# pytest ARGUMENT...: its own summary is the count
pytest() {
    rc=0
    # shellcheck disable=SC2086
    /usr/bin/python3 -m pytest -q "$@" tests/e2e >"$dir/log" 2>&1 || rc=$?
    cat "$dir/log"
    last=$(grep -E '^(=+ )?[0-9]+ (passed|failed|errors?|skipped|deselected)\b.* in [0-9.]+s' "$dir/log" | tail -1)
    p=$(number "$last" passed)
    f=$(($(number "$last" failed) + $(number "$last" error)))
    [ "$rc" = 0 ] || [ "$f" -gt 0 ] || f=1
    passed=$((passed + p))
    failed=$((failed + f))
}

e2e() {
    if [ -n "$K" ]; then
        pytest -n "$N" -k "$K"
    else
        pytest -n "$N"
    fi
}

# The suite comes from the npm registry: where that or node is out of reach, it is said and no failure.
conformance() {
    rc=0
    timeout -k 10 900 tests/conformance/run.py >"$dir/log" 2>&1 || rc=$?
    if [ "$rc" = 77 ]; then
        say "  skipped: $(sed 's/^conformance: //' "$dir/log")"
        return
    fi
    [ "$rc" = 0 ] && tail -1 "$dir/log"
    result "$rc" conformance "$dir/log"
}

long() { pytest -m long ${K:+-k "$K"} -s; }

# made TARGET: what make says of it, as it comes; its last line is the count
made() {
    { rc=0; $MAKE --no-print-directory "$1" || rc=$?; echo "$rc" >"$dir/made.rc"; } 2>&1 | tee "$dir/log"
    rc=$(cat "$dir/made.rc")
    last=$(grep -E '^([0-9]+ passed, [0-9]+ failed|mutants caught [0-9]+ of [0-9]+)$' "$dir/log" | tail -1)
    case $last in
    mutants*)
        p=${last#mutants caught }
        f=$((${p##* } - ${p%% *}))
        p=${p%% *}
        ;;
    *)
        p=$(number "$last" passed)
        f=$(number "$last" failed)
        ;;
    esac
    [ "$rc" = 0 ] || [ "$f" -gt 0 ] || f=1
    passed=$((passed + p))
    failed=$((failed + f))
}

asan() { made asan; }
ubsan() { made ubsan; }
tsan() { made tsan; }
mutants() { made mutants; }

# What they find new goes into build/fuzz/corpus.
fuzz() {
    for f in $FUZZERS; do
        n=$(basename "$f")
        rc=0
        mkdir -p "build/fuzz/corpus/$n"
        # shellcheck disable=SC2046
        "./$f" -max_total_time="$FUZZ_SECONDS" "build/fuzz/corpus/$n" \
            $(ls -d "tests/fuzz/corpus/$n" "tests/fuzz/regression/$n" 2>/dev/null) >"$dir/log" 2>&1 || rc=$?
        say "  $n: $(grep -E '^Done [0-9]+ runs' "$dir/log" || echo 'ended early')"
        result "$rc" "$f" "$dir/log"
    done
}

for part in "$@"; do
    begun=$(date +%s)
    say "== $part"
    $part
    say "   $part: $(($(date +%s) - begun)) s"
done
say "$passed passed, $failed failed"
[ "$failed" = 0 ] && [ "$passed" -gt 0 ]
