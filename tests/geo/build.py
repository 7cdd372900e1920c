#!/usr/bin/env python3
"""build.py IN.tsv OUT.mmdb [--flat]: a small MaxMind DB (format 2.0), written whole or not at all.

IN.tsv: network, country, continent, latitude, longitude, city.  Nested as MaxMind's own files
(country.iso_code, location.latitude as double, IPv4 aliased below ::ffff:0:0/96), or --flat as other
free ones (country_code, latitude as float, no alias).  IPv4 lies at ::/96.
"""
import ipaddress
import os
import struct
import sys
import time

STRING, DOUBLE, UINT16, UINT32, MAP, UINT64, ARRAY, FLOAT = 2, 3, 5, 6, 7, 9, 11, 15


class Typed(tuple):
    """(type, value), where Python's own types do not say enough."""


def control(kind, n):
    if n < 29:
        size, tail = n, b""
    elif n < 285:
        size, tail = 29, bytes([n - 29])
    elif n < 65821:
        size, tail = 30, struct.pack(">H", n - 285)
    else:
        size, tail = 31, (n - 65821).to_bytes(3, "big")
    if kind > 7:
        return bytes([size, kind - 7]) + tail
    return bytes([kind << 5 | size]) + tail


def encode(v):
    if isinstance(v, Typed):
        kind, n = v
        if kind == FLOAT:
            return control(FLOAT, 4) + struct.pack(">f", n)
        data = n.to_bytes((n.bit_length() + 7) // 8, "big")
        return control(kind, len(data)) + data
    if isinstance(v, str):
        data = v.encode()
        return control(STRING, len(data)) + data
    if isinstance(v, float):
        return control(DOUBLE, 8) + struct.pack(">d", v)
    if isinstance(v, dict):
        return control(MAP, len(v)) + b"".join(encode(k) + encode(x) for k, x in v.items())
    return control(ARRAY, len(v)) + b"".join(map(encode, v))


def record(country, continent, latitude, longitude, city, flat):
    if flat:
        return {"city": city, "country_code": country, "latitude": Typed((FLOAT, latitude)),
                "longitude": Typed((FLOAT, longitude)), "postcode": "", "state1": ""}
    return {"city": {"names": {"en": city}}, "continent": {"code": continent}, "country": {"iso_code": country},
            "location": {"accuracy_radius": Typed((UINT16, 10)), "latitude": latitude, "longitude": longitude}}


def inner(node, bit):
    """The node below, where there is a record or nothing yet: both sides inherit it."""
    if not isinstance(node[bit], list):
        node[bit] = [node[bit], node[bit]]
    return node[bit]


def put(root, network, what):
    bits, length = int(network.network_address), network.prefixlen + (96 if network.version == 4 else 0)
    node = root
    for i in range(length - 1):
        node = inner(node, bits >> (127 - i) & 1)
    node[bits >> (128 - length) & 1] = what


def alias(root):
    """::ffff:0:0/96 is the subtree of ::/96."""
    v4 = root
    for _ in range(96):
        v4 = v4[0] if isinstance(v4, list) else None
    node = root
    for i in range(95):
        node = inner(node, int(i >= 80))
    node[1] = v4


def numbered(root):
    order, number, todo = [], {}, [root]
    while todo:
        node = todo.pop()
        if id(node) in number:
            continue
        number[id(node)] = len(order)
        order.append(node)
        todo += [side for side in (node[1], node[0]) if isinstance(side, list)]
    return order, number


def build(rows, flat=False, extra=None):
    """The bytes of a database; rows as in the file, `extra`: {network: any record}."""
    root, data, seen = [None, None], bytearray(), {}
    records = [(cidr, record(cc, cont, float(lat), float(lon), city, flat)) for cidr, cc, cont, lat, lon, city in rows]
    for cidr, what in records + list((extra or {}).items()):
        text = encode(what)
        if text not in seen:
            seen[text] = len(data)
            data += text
        put(root, ipaddress.ip_network(cidr), seen[text])
    if not flat:
        alias(root)
    order, number = numbered(root)
    count = len(order)

    def value(side):
        if side is None:
            return count
        return number[id(side)] if isinstance(side, list) else count + 16 + side

    tree = b"".join(value(side).to_bytes(4, "big") for node in order for side in node)
    meta = encode({"binary_format_major_version": Typed((UINT16, 2)), "binary_format_minor_version": Typed((UINT16, 0)),
                   "build_epoch": Typed((UINT64, int(time.time()))), "database_type": "test",
                   "description": {"en": "test data, not for production"}, "ip_version": Typed((UINT16, 6)),
                   "languages": ["en"], "node_count": Typed((UINT32, count)), "record_size": Typed((UINT16, 32))})
    return tree + bytes(16) + bytes(data) + b"\xab\xcd\xefMaxMind.com" + meta


def read(path):
    rows = []
    with open(path, encoding="utf-8") as f:
        for line in f:
            words = line.split("#")[0].split(None, 5)
            if words:
                rows.append((*words[:5], words[5].strip() if len(words) > 5 else ""))
    return rows


def write(path, data):
    """By rename: who has the old one open goes on with it."""
    with open(f"{path}.new", "wb") as f:
        f.write(data)
    os.replace(f"{path}.new", path)


if __name__ == "__main__":
    names = [a for a in sys.argv[1:] if a != "--flat"]
    if len(names) != 2:
        sys.exit(__doc__)
    write(names[1], build(read(names[0]), "--flat" in sys.argv))
