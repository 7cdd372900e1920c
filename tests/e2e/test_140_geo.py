"""Where clients are: X-Geo-Country to the origin and in the key; redirects to a much nearer region."""
import json
import math
import random
import re
import sys

import pytest
import yaml

from testenv.client import H1
from testenv.edge import ROOT, NotStarted

sys.path.insert(0, str(ROOT / "tests" / "geo"))
import build  # noqa: E402

REGIONS = [
    {"name": "fra", "hostname": "fra.wild.test", "latitude": 50.11, "longitude": 8.68, "addresses": ["192.0.2.1"]},
    {"name": "iad", "hostname": "iad.wild.test:8443", "latitude": 39.04, "longitude": -77.49},
    {"name": "sin", "hostname": "sin.wild.test", "latitude": 1.35, "longitude": 103.82},
]
HOSTNAMES = {r["hostname"] for r in REGIONS}
ROWS = build.read(ROOT / "tests" / "geo" / "places.tsv")
FRANKFURT, SINGAPORE, ASHBURN, TOKYO, LONDON, SAMOA, NOWHERE = (
    "127.1.0.1", "127.2.0.1", "127.3.0.1", "127.7.0.1", "127.10.0.1", "127.12.0.1", "127.0.0.9")
BIG = b"x" * (1 << 20)
ISO = {"geo": "redirect", "geo_redirect": {"paths": ["/iso/*"]}}


def place(edge, rows=ROWS, regions=REGIONS, flat=False):
    """Write the database and the regions, and let the configuration name them."""
    edge.directory.mkdir(parents=True, exist_ok=True)
    build.write(edge.directory / "places.mmdb", build.build(rows, flat))
    (edge.directory / "regions.yaml").write_text(yaml.safe_dump({"regions": regions}))
    edge.config["geo"] = {"database": "places.mmdb", "regions": "regions.yaml", "here": "fra"}
    return edge


def ask(edge, target, source, fields=(), method="GET", host="www.test", named=None):
    with H1(edge.port, edge.authority.client_context("http/1.1"), host, source=source) as c:
        return c.request(target, method, fields, None, named)


@pytest.fixture
def make_geo(make_edge, origin):
    def make(site, rows=ROWS, regions=REGIONS, flat=False, **more):
        return place(make_edge(origin, start=False, site=site, **more), rows, regions, flat).start()
    return make


def echo(origin, path, **more):
    """A page that says which country it was asked for."""
    def handler(request, c):
        body = (request.field("x-geo-country") or "nowhere").encode()
        c.send(b"HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\n" + more.get("head", b"")
               + b"Content-Length: %d\r\n\r\n%s" % (len(body), body))
    return origin.page(path, handler=handler)


# ---- the country ----

@pytest.mark.parametrize("flat", [False, True])
def test_a_country_has_its_own_copy_and_reaches_the_origin(origin, make_geo, flat):
    page = echo(origin, "/hello", head=b"Vary: X-Geo-Country\r\n")
    edge = make_geo({"geo": "header"}, flat=flat)
    for source, country, continent in ((FRANKFURT, "DE", "EU"), (SINGAPORE, "SG", "AS"), (SAMOA, "WS", "OC"),
                                       (NOWHERE, "nowhere", None)):
        before = page.hits
        assert ask(edge, "/hello", source).body == country.encode()
        edge.wait_idle()
        r = ask(edge, "/hello", source)
        assert r.body == country.encode() and r.is_hit and page.hits == before + 1
        assert page.requests[-1].field("x-geo-continent") == continent
    assert edge.metric("selvage_geo_unknown_total") > 0


def test_what_clients_say_of_their_country_is_removed(origin, make_geo):
    page = echo(origin, "/")
    edge = make_geo({"geo": "header", "underscores": "allow"})
    lies = [("X-Geo-Country", "US"), ("x_geo_country", "US"), ("X-Geo_Country", "US"), ("X-Geo-Continent", "NA"),
            ("X-Geo-City", "Nowhere"), ("X-Forwarded-For", ASHBURN), ("Connection", "X-Geo-Country")]
    assert ask(edge, "/", FRANKFURT, lies).body == b"DE"
    seen = [(n.lower(), v) for n, v in page.requests[-1].fields if "geo" in n.lower()]
    assert seen == [("x-geo-country", "DE"), ("x-geo-continent", "EU")]
    edge.wait_idle()
    assert ask(edge, "/", SINGAPORE).body == b"SG"


def test_a_site_that_is_silent_about_places_lets_nobody_speak(origin, make_geo):
    page = echo(origin, "/")
    edge = make_geo({})
    assert ask(edge, "/", FRANKFURT, [("X-Geo-Country", "US")]).body == b"nowhere"
    edge.wait_idle()
    assert ask(edge, "/", SINGAPORE).is_hit and page.hits == 1


def test_a_purge_and_a_post_reach_the_copies_of_all_countries(origin, make_geo):
    page = echo(origin, "/page")
    edge = make_geo({"geo": "header"})
    sources = (FRANKFURT, SINGAPORE, NOWHERE)

    def all_hit():
        return [ask(edge, "/page", s).is_hit for s in sources]

    assert all_hit() == [False] * 3
    edge.wait_idle()
    assert all_hit() == [True] * 3
    edge.purge(url="https://www.test/page")
    assert all_hit() == [False] * 3
    edge.wait_idle()
    assert all_hit() == [True] * 3
    assert {o["url"] for o in edge.ls()} == {"https://www.test/page"}
    page.handler = None
    assert ask(edge, "/page", ASHBURN, method="POST").status == 200
    echo_again = echo(origin, "/page")
    assert all_hit() == [False] * 3 and echo_again.hits >= 3


def test_explain_names_the_key_of_a_country(origin, make_geo):
    edge = make_geo({"geo": "header"})
    assert "key: 1 https www.test / DE\n" in edge.explain("https://www.test/", "X-Geo-Country: DE")
    assert "key: 1 https www.test / --\n" in edge.explain("https://www.test/")


def test_an_edge_tells_its_shield(origin, make_geo, make_shield, fleet):
    """The shield has no database: it takes the edge's word, and keeps a copy for each country too."""
    page = echo(origin, "/a")
    shield = make_shield(origin, site={"geo": "header"})
    edge = make_geo({"geo": "header"}, config={"node": "edge-a", "peer": fleet.peer("edge-a"),
                                               "upstream": {"shields": [[shield.url]], "direct": "refused"}})
    for source, country in ((FRANKFURT, b"DE"), (SINGAPORE, b"SG"), (NOWHERE, b"nowhere")):
        assert ask(edge, "/a", source, [("X-Geo-Country", "US")]).body == country
    assert page.hits == 3
    shield.wait_idle()
    for country in (b"DE", b"SG"):
        r = shield.ask("/a", fields=[("X-Geo-Country", country.decode()), ("X-Forwarded-Proto", "https")])
        assert r.is_hit and r.body == country
    r = shield.ask("/a", fields=[("X-Geo-Country", "XX"), ("X-Forwarded-Proto", "https")])
    assert r.is_hit and r.body == b"nowhere"  # what is no country makes no copy
    assert page.hits == 3


# ---- regions ----

def location(edge, target="/iso/a", source=SINGAPORE, **more):
    r = ask(edge, target, source, **more)
    assert (r.status == 307) == (r.field("location") is not None)
    return r.field("location")


def test_a_client_far_away_is_sent_to_its_region(origin, make_geo):
    origin.page("/iso/a", body="here", cache_control="max-age=60")
    edge = make_geo(ISO)
    r = ask(edge, "/iso/a?b=%0d%0ac", SINGAPORE)
    assert r.status == 307 and r.field("location") == "https://sin.wild.test/iso/a?b=%0d%0ac"
    assert r.field("cache-control") == "no-store" and r.field("access-control-allow-origin") == "*"
    assert location(edge, source=ASHBURN) == "https://iad.wild.test:8443/iso/a"
    assert location(edge, source=TOKYO) == "https://sin.wild.test/iso/a"
    assert location(edge, method="HEAD") == "https://sin.wild.test/iso/a"
    for stays in (FRANKFURT, LONDON, NOWHERE):
        assert location(edge, source=stays) is None
    assert edge.metric("selvage_geo_redirects_total") == 4
    assert edge.wait_access(lambda line: line["status"] == 307)["reason"] == "region"


@pytest.mark.parametrize("why, more", [
    ("the region was asked for by name", {"host": "fra.wild.test"}),
    ("another host of the site", {"host": "else.wild.test"}),
    ("another method", {"method": "POST"}),
    ("a range", {"fields": [("Range", "bytes=5-")]}),
    ("a cookie", {"fields": [("Cookie", "a=b")]}),
    ("credentials", {"fields": [("Authorization", "Basic eDp5")]}),
    ("a proxy", {"fields": [("Via", "1.1 other")]}),
    ("another CDN", {"fields": [("CDN-Loop", "other")]}),
    ("two slashes", {"target": "//iso/a"}),
    ("a byte that is no ASCII", {"target": "/iso/\xff"}),
    ("another path", {"target": "/other"}),
])
def test_who_is_not_sent_anywhere(origin, make_geo, why, more):
    for path in ("/iso/a", "//iso/a", "/other", "/iso/\xff"):
        origin.page(path, body="here")
    edge = make_geo(ISO)
    assert location(edge, **more) is None, why
    assert location(edge) is not None


def test_credentials_are_sent_along_where_the_site_says_so(origin, make_geo):
    edge = make_geo({"geo": "redirect", "geo_redirect": {"paths": ["/iso/*"], "credentials": "yes"}})
    assert location(edge, fields=[("Cookie", "a=b")]) is not None


@pytest.mark.parametrize("version", [1, 2])
def test_a_large_stored_object_is_worth_it(origin, make_geo, version):
    origin.page("/big", body=BIG, cache_control="max-age=60")
    origin.page("/small", body=BIG[1:], cache_control="max-age=60")
    edge = make_geo({"geo": "redirect"})
    get = (lambda t: ask(edge, t, SINGAPORE)) if version == 1 else (lambda t: edge_h2(edge, t))
    assert get("/big").body == BIG  # nobody knows its size yet
    edge.wait_idle()
    for _ in range(2):
        r = get("/big")
        assert r.status == 307 and r.field("location") == "https://sin.wild.test/big" and r.body == b""
        assert r.field("content-type") is None and r.field("age") is None
    assert ask(edge, "/big", FRANKFURT).body == BIG
    assert get("/small").body == BIG[1:]
    edge.wait_idle()
    assert get("/small").status == 200


def edge_h2(edge, target):
    with edge.h2(source=SINGAPORE) as c:
        return c.request(target)


def test_a_region_answers_as_the_site_does(origin, make_geo):
    """One copy and one purge for all names; and search engines are told which is the site's own."""
    page = origin.page("/a", body="<p>", cache_control="max-age=60", fields=[("Content-Type", "text/html")])
    edge = make_geo(ISO)
    r = ask(edge, "/a", SINGAPORE, host="fra.wild.test")
    assert r.field("x-robots-tag") == "noindex" and r.field("link") == '<https://www.test/a>; rel="canonical"'
    assert page.requests[-1].field("x-forwarded-host") == "www.test"
    edge.wait_idle()
    r = ask(edge, "/a", FRANKFURT)
    assert r.is_hit and r.field("x-robots-tag") is None and r.field("link") is None
    edge.purge(url="https://www.test/a")
    assert not ask(edge, "/a", SINGAPORE, host="fra.wild.test").is_hit and page.hits == 2


@pytest.mark.parametrize("scope", [{"url": "https://fra.wild.test/p"}, {"prefix": "https://fra.wild.test/"},
                                   {"host": "fra.wild.test"}])
def test_a_purge_under_a_regions_name_reaches_the_copy(origin, make_geo, scope):
    """The name that stands in the browser of somebody who was sent there."""
    edge = make_geo(ISO)
    page = origin.page("/p", b"old", cache_control="max-age=600")
    edge.fill("/p", host="fra.wild.test")
    page.body = b"new"
    edge.purge(scope)
    assert edge.get("/p", host="fra.wild.test").body == b"new"
    assert edge.get("/p").body == b"new"


def test_a_drained_region_gets_nobody(origin, make_geo, selvage):
    edge = make_geo(ISO)
    node = ["--node", f"http://127.0.0.1:{edge.admin_port}"]
    listed = selvage(*node, "regions")
    assert "sin  sin.wild.test  1.3500 103.8200\n" in listed.stdout and "(here)" in listed.stdout
    done = selvage(*node, "regions", "drain", "sin")
    assert done.returncode == 0 and "sin is drained" in done.stdout
    assert location(edge) is None  # Ashburn is farther than we are
    assert "drained by command" in selvage(*node, "regions").stdout
    edge.reload()
    assert location(edge) is None
    edge.restart()
    assert location(edge) is None
    node = ["--node", f"http://127.0.0.1:{edge.admin_port}"]
    assert selvage(*node, "regions", "undrain", "sin").returncode == 0
    assert location(edge) == "https://sin.wild.test/iso/a"
    wrong = selvage(*node, "regions", "drain", "nope")
    assert wrong.returncode != 0 and "there is no region nope" in wrong.stderr
    regions = [dict(r, drain=r["name"] == "sin") for r in REGIONS]
    (edge.directory / "regions.yaml").write_text(yaml.safe_dump({"regions": regions}))
    edge.reload()
    assert location(edge) is None


def test_a_token_must_be_for_regions(origin, make_geo):
    edge = make_geo({}, tokens=[{"name": "all", "secret": "a" * 20, "kinds": ["purge", "read", "wide"]},
                                {"name": "ops", "secret": "b" * 20, "kinds": ["regions"]}])
    drain = {"name": "sin", "drain": True}
    assert edge.admin("POST", "/regions", drain)[0] == 403
    assert edge.admin("POST", "/regions", drain, token="b" * 20)[0] == 200
    assert edge.admin("GET", "/regions", token="b" * 20)[0] == 403
    listed = json.loads(edge.admin("GET", "/regions")[1])["regions"]
    assert [r["drained"] for r in listed] == [None, None, "command"]
    for body in ({"name": "sin"}, {"name": 1, "drain": True}, {"name": "sin", "drain": 1}, [], {"x": 1}):
        assert edge.admin("POST", "/regions", body, token="b" * 20)[0] == 400


# ---- an independent calculation: angles between vectors ----

def kilometres(a, b):
    def vector(latitude, longitude):
        f, m = math.radians(latitude), math.radians(longitude)
        return math.cos(f) * math.cos(m), math.cos(f) * math.sin(m), math.sin(f)
    p, q = vector(*a), vector(*b)
    cross = (p[1] * q[2] - p[2] * q[1], p[2] * q[0] - p[0] * q[2], p[0] * q[1] - p[1] * q[0])
    return 6371 * math.atan2(math.hypot(*cross), sum(x * y for x, y in zip(p, q)))


def want(point):
    km = {r["hostname"]: kilometres(point, (r["latitude"], r["longitude"])) for r in REGIONS}
    best, here = min(km, key=km.get), km["fra.wild.test"]
    return f"https://{best}/iso/a" if here - km[best] > 1000 and km[best] < 0.6 * here else None


def many_points(make_geo, count, seed):
    random.seed(seed)
    points = {f"127.{100 + i // 250}.{i % 250}.1": (math.degrees(math.asin(random.uniform(-1, 1))),
                                                    random.uniform(-180, 180)) for i in range(count)}
    rows = [(f"{ip}/32", "DE", "EU", f"{p[0]:.6f}", f"{p[1]:.6f}", "") for ip, p in points.items()]
    edge = make_geo(ISO, rows=rows)
    sent = 0
    for ip, p in points.items():
        with H1(edge.plain_port, None, "www.test", source=ip) as c:
            got = c.request("/iso/a").field("location")
        assert got == want((round(p[0], 6), round(p[1], 6))), (ip, p)
        sent += got is not None
    assert count / 4 < sent < count


def test_points_reach_the_region_that_another_calculation_names(origin, make_geo):
    origin.page("/iso/a", body="here", cache_control="max-age=60")
    many_points(make_geo, 500, 1)


@pytest.mark.long
@pytest.mark.limit(600)
def test_ten_thousand_points_reach_their_region(origin, make_geo):
    origin.page("/iso/a", body="here", cache_control="max-age=60")
    many_points(make_geo, 10000, 2)


# ---- nobody is led elsewhere ----

TARGETS = ["/iso/a", "//evil.test/iso/", "/iso//evil.test", "/iso/\\evil.test", "/\\evil.test/iso/", "/iso/%0d%0aSet-Cookie:%20a=b",
           "/iso/%0aLocation:%20https://evil.test", "/iso/?https://evil.test", "/iso/@evil.test", "/iso/..//evil.test",
           "/iso/%2f%2fevil.test", "/iso/#@evil.test", "/iso/\tevil", "/iso/<script>", "/iso/\"", "/iso/%", "/iso/\xc3\xa9",
           "https://evil.test/iso/a", "http://evil.test/iso/a", "https://www.test@evil.test/iso/a", "/iso/;evil.test",
           "/iso/a?next=//evil.test", ".evil.test/iso/", "@evil.test/iso/", ":80/iso/", "/iso/%00"]
HOSTS = ["evil.test", "www.test@evil.test", "www.test:80@evil.test", "www.test\\evil.test", "www.test/evil", "www.test#evil.test",
         "www.test:8443", "www.test.", "WWW.TEST", "sin.wild.test.evil.test"]


def test_a_redirect_leads_to_the_hostnames_of_the_file_alone(origin, make_geo):
    for path in ("/iso/a", "/iso/", "/"):
        origin.page(path, body="here")
    edge = make_geo(ISO)
    sent = 0
    for target, named in [(t, None) for t in TARGETS] + [("/iso/a", h) for h in HOSTS]:
        for extra in ([], [("X-Forwarded-Host", "evil.test"), ("Forwarded", "host=evil.test"), ("X-Original-URL", "//evil.test")]):
            r = ask(edge, target, SINGAPORE, extra, named=named)
            assert r.status is not None and not r.all("set-cookie") and len(r.all("location")) <= 1
            where = r.field("location")
            if where is not None:
                sent += 1
                assert re.match(r"https://([^/?#\\@]+)/(?![/\\])", where)[1] in HOSTNAMES, (target, named, where)
                assert "evil" not in where.split("/")[2]
    assert sent >= 10


def test_a_forged_address_changes_nothing(origin, make_geo):
    edge = make_geo(ISO)
    for name in ("X-Forwarded-For", "X-Real-IP", "Forwarded", "True-Client-IP", "CF-Connecting-IP", "X-Client-IP"):
        value = f"for={FRANKFURT}" if name == "Forwarded" else FRANKFURT
        assert location(edge, fields=[(name, value)]) == "https://sin.wild.test/iso/a"
        assert location(edge, source=FRANKFURT, fields=[(name, value.replace(FRANKFURT, SINGAPORE))]) is None


# ---- bad files ----

def spoil(edge, data):
    build.write(edge.directory / "places.mmdb", data)


GOOD = build.build(ROWS)
BAD = {
    "empty": (b"", "no MaxMind DB file"),
    "text": (b"hello\n" * 1000, "no MaxMind DB file"),
    "cut": (GOOD[:len(GOOD) // 2], "no MaxMind DB file"),
    "of something else": (build.build([], extra={"127.0.0.0/8": {"autonomous_system_number": 1.0}}), "knows no places"),
    "tree overwritten": (b"\xff" * 2000 + GOOD[2000:], "is damaged"),
}


@pytest.mark.parametrize("kind", BAD)
def test_a_bad_database_stops_a_start_and_no_running_node(origin, make_geo, kind):
    data, says = BAD[kind]
    edge = make_geo(ISO)
    spoil(edge, data)
    edge.reload(ok=False)
    edge.wait_said(f"places.mmdb: .*{says}")
    assert location(edge) == "https://sin.wild.test/iso/a"
    edge.stop()
    with pytest.raises(NotStarted, match=f"places.mmdb: .*{says}"):
        edge.start()
    spoil(edge, GOOD)
    edge.start()
    assert location(edge) == "https://sin.wild.test/iso/a"


def test_a_missing_database_is_named_with_its_key(origin, make_geo):
    edge = make_geo(ISO)
    (edge.directory / "places.mmdb").unlink()
    edge.reload(ok=False)
    edge.wait_said(r"edge.yaml:\d+:\d+: geo.database: .*places.mmdb' cannot be read")
    assert location(edge) == "https://sin.wild.test/iso/a"


def test_a_database_cut_short_under_a_running_node_harms_nobody(origin, make_geo):
    """Who does not rename but overwrites: what is mapped is a copy."""
    edge = make_geo(ISO)
    with open(edge.directory / "places.mmdb", "r+b") as f:
        f.truncate(0)
    assert location(edge, source="127.2.99.99") == "https://sin.wild.test/iso/a"


def test_a_new_database_is_in_force_after_a_reload(origin, make_geo):
    edge = make_geo(ISO)
    with H1(edge.port, edge.authority.client_context("http/1.1"), source=SINGAPORE) as c:
        assert c.request("/iso/a").field("location") == "https://sin.wild.test/iso/a"
        spoil(edge, build.build([(n, cc, ct, "39.0", "-77.5", "") for n, cc, ct, *_ in ROWS]))
        edge.reload()
        assert c.request("/iso/a").field("location") == "https://iad.wild.test:8443/iso/a"


@pytest.mark.parametrize("spoilt, says", [
    ({"regions": [dict(REGIONS[0], latitude=91.0), *REGIONS[1:]]}, r"regions\[0\].latitude: '91.0' is beyond the globe"),
    ({"regions": [dict(REGIONS[0], longitude="east"), *REGIONS[1:]]}, "'east' is no number of degrees"),
    ({"regions": [dict(REGIONS[0], hostname="evil.test/x"), *REGIONS[1:]]}, "is no host name"),
    ({"regions": [*REGIONS, dict(REGIONS[1], hostname="b.wild.test")]}, "is the name of another region too"),
    ({"regions": REGIONS[1:]}, "'fra' is the name of no region"),
    ({"regions": [dict(REGIONS[0], hostname="fra.elsewhere.test"), *REGIONS[1:]]}, "among the hosts of the site"),
    ({"regions": []}, "at least one region"),
    ({"region": REGIONS}, "unknown key; did you mean 'regions'"),
])
def test_bad_regions_are_told_with_file_line_and_key(origin, make_geo, spoilt, says):
    edge = make_geo(ISO)
    (edge.directory / "regions.yaml").write_text(yaml.safe_dump(spoilt))
    edge.reload(ok=False)
    edge.wait_said(says)
    assert location(edge) == "https://sin.wild.test/iso/a"
