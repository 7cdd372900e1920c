#!/bin/sh
# Makes lib/release/types.inc out of the globs of shared-mime-info:
#   tools/mimetypes.sh [GLOBS2] >lib/release/types.inc
# Only patterns of the form *.EXTENSION; of several types for one the heaviest, and of equal ones
# the first by name.  What IANA's registrations say otherwise, or what the database lacks, stands
# below and wins.
set -eu
globs=${1:-/usr/share/mime/globs2}
[ -r "$globs" ] || { echo "$0: $globs cannot be read: apt-get install shared-mime-info" >&2; exit 1; }
{
    cat <<'OURS'
js text/javascript
mjs text/javascript
cjs text/javascript
html text/html
htm text/html
map application/json
webmanifest application/manifest+json
wasm application/wasm
xml application/xml
json application/json
jsonld application/ld+json
ts video/mp2t
m3u8 application/vnd.apple.mpegurl
mpd application/dash+xml
m4s video/iso.segment
pdf application/pdf
rss application/rss+xml
atom application/atom+xml
ics text/calendar
vcf text/vcard
csv text/csv
md text/markdown
yaml application/yaml
yml application/yaml
gz application/gzip
zip application/zip
bin application/octet-stream
OURS
    LC_ALL=C sort -t: -k1,1nr -k2,2 "$globs" | awk -F: '
        /^#/ { next }
        $3 ~ /^\*\.[A-Za-z0-9][A-Za-z0-9+_.-]*$/ && $4 == "" { print tolower(substr($3, 3)), $2 }'
} | awk '!seen[$1]++ { printf "{\"%s\", \"%s\"},\n", $1, $2 }' | LC_ALL=C sort -t'"' -k2,2
