#!/bin/sh
# What other programs say of scripts and manual pages; one that is not installed is named and left out.
#   tools/lint.sh   exit status 0 only if none has found anything
# C is left to the compilers' warnings: cppcheck 2.10 takes compound literals for errors of syntax.
set -eu
cd "$(dirname "$0")/.."
bad=0

here() {
    if command -v "$1" >/dev/null; then
        echo "  $1"
    else
        echo "  $1 is not installed: left out"
        return 1
    fi
}

if here shellcheck; then
    shellcheck -S warning .ci/run tools/*.sh tests/bench/*.sh || bad=1
fi
if here mandoc; then
    # whether pages of others are installed here is not for ours to know
    said=$(mandoc -T lint -W style edge/*.[58] origin-shield/*.8 tools/selvage/*.1 |
        grep -v 'referenced manual not found\|operating system explicitly' || :)
    [ -z "$said" ] || {
        printf '%s\n' "$said"
        bad=1
    }
fi
if here pyflakes3; then
    # shellcheck disable=SC2046
    pyflakes3 $(git ls-files '*.py') || bad=1
fi
exit $bad
