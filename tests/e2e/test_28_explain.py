"""explain: what would be done and why, in words, of the six cases that people ask about; and the same in an answer."""
import re
import time

import pytest

SECRET = "an-explain-secret-of-the-test"
RULES = [{"path": "/ruled", "default_ttl": "60s"}, {"path": "/off", "cache": "off"}, {"path": "/v", "slice": "1MiB"}]


@pytest.fixture
def edge(make_edge, origin, directory):
    (directory / "explain.secret").write_text(SECRET + "\n")
    (directory / "explain.secret").chmod(0o600)
    return make_edge(origin, site={"rules": RULES}, config={"explain": {"secret": str(directory / "explain.secret")}})


def hit(edge, origin):
    origin.page("/p", b"x" * 2000, cache_control="max-age=60", fields=[("Age", "5")])
    edge.fill("/p")
    return "/p", [], [
        r"^stored: status 200, 2000 bytes, age \d+ s of a lifetime of 60 s, born at position \d+-\d+$",
        r"^  lifetime 60 s by max-age \(RFC 9111 section 5\.2\.2\.1\)$",
        r"^  age: 5\.\d{3} s when it came \(Age, and the wait for it\) \+ \d+\.\d{3} s since = \d+ s \(RFC 9111 section 4\.2\.3\)$",
        r"^  lifetime 60 s - age \d+ s = [45]\d s: fresh \(RFC 9111 section 4\.2\)$",
        r"^decision: answer from the store$",
        r"^  fresh for another [45]\d s \(RFC 9111 section 4\.2\)$"]


def miss_by_vary(edge, origin):
    origin.page("/p", b"x", cache_control="max-age=600", fields=[("Vary", "Accept-Language")])
    edge.fill("/p", fields=[("Accept-Language", "de")])
    return "/p", [("Accept-Language", "en")], [
        r"^  variants by: accept-language ",
        r"^decision: fetch from the origin$",
        r"differs \(RFC 9111 section 4\.1\)$"]


def expired(edge, origin):
    origin.page("/p", b"x", cache_control="max-age=2", etag='"1"', fields=[("Age", "30")])
    edge.fill("/p")
    return "/p", [], [
        r"^  lifetime 2 s - age 3\d s = -\d+ s: stale \(RFC 9111 section 4\.2\)$",
        r"^decision: ask the origin whether what is stored is still right$",
        r"^  stale since \d+ s \(RFC 9111 section 4\.2\)$",
        r"may stand in \(stale_if_error\)$"]


def purged(edge, origin):
    origin.page("/p", b"x", cache_control="max-age=600")
    edge.fill("/p")
    edge.purge(url="https://www.test/p")
    return "/p", [], [
        r"hard purge of url www\.test/p, position \d+-\d+ \(selvage purge\)$",
        r"^stored: nothing usable$",
        r"^decision: fetch from the origin$",
        r"^  what was stored has been purged \(selvage purge\)$"]


def purged_by_a_tag(edge, origin):
    origin.page("/p", b"x", cache_control="max-age=600", fields=[("Surrogate-Key", "red"), ("Vary", "Accept-Language")])
    edge.fill("/p", fields=[("Accept-Language", "de")])
    edge.purge(tag="red")
    return "/p", [("Accept-Language", "de")], [
        r"hard purge of tag red, position \d+-\d+ \(selvage purge\)$",
        r"^stored: nothing usable$",
        r"^  what was stored has been purged \(selvage purge\)$"]


def uncacheable(edge, origin):
    origin.page("/p", b"x", cache_control="private, max-age=600")
    edge.get("/p")
    edge.wait_idle()
    return "/p", [], [
        r"^decision: fetch from the origin$",
        r"^last answer of the origin: status 200, \d+ s ago, not stored$",
        r"^  private \(RFC 9111 section 5\.2\.2\.7\)$"]


def by_a_rule(edge, origin):
    origin.page("/ruled", b"x")
    edge.fill("/ruled")
    return "/ruled", [], [
        r"^rule: line \d+, path /ruled$",
        r"^  lifetime 60 s by the rule's default_ttl \(rules\.default_ttl\)$",
        r"^  the rule in line \d+ matched the response$"]


def off_by_a_rule(edge, origin):
    origin.page("/off", b"x")
    return "/off", [], [
        r"^decision: pass to the origin, without the store$",
        r"^  the rule in line \d+ says cache: off \(rules\.cache\)$"]


def sliced(edge, origin):
    origin.page("/v", bytes(3 << 20), cache_control="max-age=600", etag='"1"', ranges=True)
    edge.get("/v", fields=[("Range", "bytes=1100000-1100001")])
    edge.wait_idle()
    return "/v", [("Range", "bytes=1100000-1100001")], [
        r"^slice: block 1, of 1048192 bytes \(rules\.slice\)$",
        r"^stored: status 206, 1048192 bytes, ",
        r"^decision: answer from the store$"]


CASES = [hit, miss_by_vary, expired, purged, purged_by_a_tag, uncacheable, by_a_rule, off_by_a_rule, sliced]


def must_say(text, patterns):
    for p in patterns:
        assert re.search(p, text, re.M), f"{p!r} is not in\n{text}"


@pytest.mark.parametrize("case", CASES)
def test_the_reasons_are_right(edge, origin, case):
    target, fields, patterns = case(edge, origin)
    text = edge.explain(f"https://www.test{target}", *(f"{n}: {v}" for n, v in fields))
    print(text)
    must_say(text, [r"^GET https://www\.test" + target, r"^site: www$", *patterns])


def sign(selvage, directory, target, seconds=600):
    r = selvage("explain", "--sign", directory / "explain.secret", "--for", seconds, f"https://www.test{target}")
    assert r.returncode == 0, r.stderr
    name, _, value = r.stdout.strip().partition(": ")
    return name, value


@pytest.mark.parametrize("get", ["get", "get2"])
@pytest.mark.parametrize("case", CASES)
def test_an_answer_says_the_same_to_who_may_know(edge, origin, selvage, directory, case, get):
    target, fields, patterns = case(edge, origin)
    r = getattr(edge, get)(target, fields=[*fields, sign(selvage, directory, target)])
    must_say("\n".join(r.all("selvage-explain")), [p.replace("^  ", "^") for p in patterns])


def test_nobody_else_is_told(edge, origin, selvage, directory):
    page = origin.page("/p", b"x", cache_control="max-age=600")
    name, good = sign(selvage, directory, "/p")
    other = sign(selvage, directory, "/q")[1]
    expired_at, mac = good.split(".")
    for value in ("", "1", other, f"{int(expired_at) + 1}.{mac}", f"{expired_at}.{'0' * 64}", good[:-1], good + "0"):
        assert edge.get("/p", fields=[(name, value)]).field("selvage-explain") is None, value
    assert edge.get("/p?with=query", fields=[(name, good)]).field("selvage-explain") is not None
    late = sign(selvage, directory, "/p", seconds=1)
    deadline = time.time() + 10
    while edge.get("/p", fields=[late]).field("selvage-explain") is not None:
        assert time.time() < deadline
    assert time.time() >= int(late[1].split(".")[0])
    assert all(r.field(name) is None for r in page.requests)  # it is not told the origin


def test_without_a_secret_there_is_no_such_field(make_edge, origin, selvage, directory, edge):
    origin.page("/p", b"x", cache_control="max-age=600")
    plain = make_edge(origin)
    assert plain.get("/p", fields=[sign(selvage, directory, "/p")]).field("selvage-explain") is None


@pytest.mark.parametrize("words", [["--for", "0"], ["--for", "x"], ["--for", "604801"]])
def test_bad_words(selvage, directory, words):
    (directory / "s").write_text(SECRET)
    assert selvage("explain", "--sign", directory / "s", *words, "https://www.test/").returncode == 2


def test_a_secret_that_is_not_there(selvage, directory):
    r = selvage("explain", "--sign", directory / "none", "https://www.test/")
    assert (r.returncode, "explain.secret" in r.stderr) == (1, True)
