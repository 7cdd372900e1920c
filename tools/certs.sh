#!/bin/sh
# A local certificate authority, and a server certificate for each HOST.
#   tools/certs.sh DIR HOST...   DIR/ca.pem (give it to clients), DIR/ca.key,
#                                DIR/HOST.crt and DIR/HOST.key for each HOST
# HOST is a name, an address, or *.NAME (its files begin with _wildcard).  An
# existing CA is used again, never replaced; certificates of hosts are renewed.
# For demonstrations and tests: the CA's key lies unprotected beside it.
set -eu

die() {
    echo "certs.sh: $*" >&2
    exit 1
}

[ $# -ge 2 ] || {
    echo "usage: tools/certs.sh DIR HOST..." >&2
    exit 2
}
dir=$1
shift
for host in "$@"; do
    case $host in
    '' | .* | -* | *..* | *[!A-Za-z0-9.:_*-]*) die "'$host' is neither a host name nor an address" ;;
    \*.*\** | [!*]*\** | \* | \*[!.]*) die "'$host': a wildcard is *.NAME" ;;
    esac
done
mkdir -p "$dir"
umask 077
new=$(mktemp -d "$dir/.new.XXXXXX") # in the same file system, so that mv replaces in one step
trap 'rm -rf "$new"' EXIT

# issue NAME EXTENSIONS OPTION...: a key and a certificate in $new.  The
# configuration is ours alone: that of the system may add extensions.
issue() {
    name=$1
    {
        echo '[req]'
        echo 'prompt = no'
        echo 'distinguished_name = subject'
        echo 'x509_extensions = extensions'
        echo '[subject]'
        echo "O = $3"
        echo '[extensions]'
        echo "$2"
    } >"$new/config"
    shift 3
    openssl req -x509 -new -config "$new/config" -newkey ec -pkeyopt ec_paramgen_curve:P-256 \
        -noenc -sha256 -keyout "$new/$name.key" -out "$new/$name.crt" "$@" 2>"$new/log" ||
        die "openssl failed for $name: $(cat "$new/log")"
}

if [ ! -e "$dir/ca.pem" ]; then
    [ ! -e "$dir/ca.key" ] || die "$dir/ca.key is there without ca.pem; move it away"
    issue ca 'basicConstraints = critical, CA:TRUE, pathlen:0
keyUsage = critical, keyCertSign, cRLSign
subjectKeyIdentifier = hash' "Selvage local CA $(openssl rand -hex 4)" -days 3650
    # A hard link fails where the name is taken: of two runs at once, one makes the CA.
    ln "$new/ca.key" "$dir/ca.key" || die "another run is making $dir/ca.key; start again"
    mv "$new/ca.crt" "$dir/ca.pem"
    chmod 644 "$dir/ca.pem"
fi
[ -r "$dir/ca.key" ] || die "$dir/ca.pem is there without its ca.key; use another directory"

for host in "$@"; do
    case $host in
    *:* | *[!0-9.]*) kind=DNS ;;
    *) kind=IP ;;
    esac
    case $host in
    *:*) kind=IP ;;
    esac
    name=$host
    case $host in
    \**) name=_wildcard${host#\*} ;;
    esac
    [ "$name" != ca ] || die "'ca' is the name of the authority's own files"
    # 825 days are the most that some clients accept, even from a private CA.
    issue "$name" "basicConstraints = critical, CA:FALSE
keyUsage = critical, digitalSignature
extendedKeyUsage = serverAuth
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid
subjectAltName = $kind:$host" "Selvage local certificate" \
        -days 825 -CA "$dir/ca.pem" -CAkey "$dir/ca.key"
    chmod 644 "$new/$name.crt"
    mv "$new/$name.key" "$dir/$name.key"
    mv "$new/$name.crt" "$dir/$name.crt"
done
