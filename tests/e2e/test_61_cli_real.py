"""The command line tool against a real daemon."""
import json

import pytest

TOKENS = [
    {"name": "operator", "secret": "operator-0123456789abcdef", "kinds": ["purge", "wide", "read"]},
    {"name": "deploy", "secret": "deploy-0123456789abcdef00", "kinds": ["purge"]},
    {"name": "reader", "secret": "reader-0123456789abcdef00", "kinds": ["read"]},
]
URL = "https://www.test"


@pytest.fixture
def edge(make_edge, origin):
    return make_edge(origin, tokens=TOKENS)


@pytest.fixture
def tool(edge, selvage):
    def run(*words, token="operator", **more):
        secret = next((t["secret"] for t in TOKENS if t["name"] == token), token)
        env = {"SELVAGE_NODES": f"http://127.0.0.1:{edge.admin_port}"}
        if secret:
            env["SELVAGE_TOKEN"] = secret
        return selvage(*words, env=env, **more)
    return run


def stored(edge, origin, path="/foo", **more):
    page = origin.page(path.split("?")[0], b"old", cache_control="max-age=600", **more)
    edge.fill(path)
    page.body = b"new"
    return page


@pytest.mark.parametrize("words", [[f"{URL}/foo"], ["--prefix", f"{URL}/f"], ["--tag", "t"], ["--host", "www.test"],
                                   ["--all"]])
def test_purge(edge, origin, tool, words):
    stored(edge, origin, fields=[("Surrogate-Key", "t")])
    r = tool("purge", *words)
    assert r.returncode == 0, r.stderr
    assert "purged up to 1-1" in r.stdout
    assert edge.get("/foo").body == b"new"


def test_a_host_that_no_site_has_is_told(edge, tool):
    r = tool("purge", f"{URL}/foo", "https://wwww.test/foo", "--host", "wwww.test", "other.example")
    assert (r.returncode, r.stdout.count("purged up to 1-4")) == (0, 1), r.stderr
    assert r.stderr.splitlines() == [f"http://127.0.0.1:{edge.admin_port}  no site has the host {h}; is it spelt right?"
                                     for h in ("wwww.test", "other.example")]
    r = tool("--json", "purge", f"{URL}/foo")
    assert r.stderr == "" and "no_site_has" not in r.stdout
    r = tool("releases", "--site", "wwww")
    assert (r.returncode, r.stdout) == (1, "")
    assert "this node has no site wwww" in r.stderr


def test_soft_purge(edge, origin, tool):
    page = stored(edge, origin, etag='"1"')
    assert tool("purge", "--soft", f"{URL}/foo").returncode == 0
    origin.refuse()
    assert edge.get("/foo").body == b"old"
    assert page.hits == 1


@pytest.mark.parametrize("token, words", [
    ("wrong-0123456789abcdef00", ["purge", f"{URL}/foo"]), (None, ["purge", f"{URL}/foo"]),
    ("operator-0123456789abcde", ["purge", f"{URL}/foo"]), ("reader", ["purge", f"{URL}/foo"]),
    ("deploy", ["purge", "--all"]), ("deploy", ["purge", "--host", "www.test"]), ("deploy", ["status"]),
    ("deploy", ["ls", f"{URL}/"]), (None, ["status"]), ("deploy", ["explain", f"{URL}/"]),
])
def test_nobody_without_the_right_token(edge, origin, tool, token, words):
    stored(edge, origin)
    r = tool(*words, token=token)
    assert r.returncode == 1
    assert "FAILED" in r.stderr
    assert edge.get("/foo").is_hit


def test_a_bad_token_is_401_and_counted(edge):
    status, text = edge.admin("POST", "/purge", {"scopes": [{"all": True}]}, token="bad-bad-bad-bad-bad")
    assert status == 401 and "error" in json.loads(text)
    assert edge.metric("selvage_admin_unauthorized_total") == 1


def test_one_node_that_is_gone_is_exit_1(edge, origin, tool, selvage):
    stored(edge, origin)
    r = selvage("--node", f"http://127.0.0.1:{edge.admin_port}", "--node", "http://127.0.0.1:1", "purge", f"{URL}/foo",
                env={"SELVAGE_TOKEN": TOKENS[0]["secret"]})
    assert r.returncode == 1
    assert "purged up to 1-1" in r.stdout and "FAILED" in r.stderr
    assert edge.get("/foo").body == b"new"


def test_the_settings_file_names_nodes_and_token(edge, origin, selvage, directory):
    stored(edge, origin)
    (directory / ".config").mkdir()
    f = directory / ".config/selvage.yaml"
    f.touch(mode=0o600)
    f.write_text(f"nodes: ['http://127.0.0.1:{edge.admin_port}']\ntoken: {TOKENS[0]['secret']}\n")
    assert selvage("purge", f"{URL}/foo").returncode == 0
    assert edge.get("/foo").body == b"new"


def test_status(edge, origin, tool):
    stored(edge, origin)
    tool("purge", f"{URL}/bar")
    r = tool("status")
    assert r.returncode == 0
    for text in ("ready   yes", "up to 1-1", "1 object", "sites   www"):
        assert text in r.stdout, r.stdout
    assert json.loads(tool("--json", "status").stdout)["positions"]["n"] == 1


def test_ls(edge, origin, tool):
    stored(edge, origin, "/foo")
    stored(edge, origin, "/bar/x?y=1")
    r = tool("ls", f"{URL}/")
    assert r.returncode == 0
    rows = [line.split() for line in r.stdout.splitlines()]
    assert rows[0] == ["AGE", "TTL", "SIZE", "STATUS", "STATE", "URL"]
    assert sorted((row[2], row[3], row[4], row[5]) for row in rows[1:]) == [
        ("3B", "200", "fresh", f"{URL}/bar/x?y=1"), ("3B", "200", "fresh", f"{URL}/foo")]
    assert len(tool("ls", f"{URL}/bar").stdout.splitlines()) == 2


def test_explain_says_what_then_happens(edge, origin, tool):
    origin.page("/never", b"x", cache_control="no-store")
    page = stored(edge, origin)
    hit = tool("explain", f"{URL}/foo").stdout
    assert "fresh for another" in hit and "RFC 9111" in hit
    assert edge.get("/foo").is_hit
    miss = tool("explain", f"{URL}/nothing").stdout
    assert "nothing is stored under this key" in miss
    tool("purge", f"{URL}/foo")
    assert "has been purged" in tool("explain", f"{URL}/foo").stdout
    assert page.hits == 1 and all(r.path != "/nothing" for r in origin.requests)  # nothing was fetched


def test_explain_of_fields_and_rules(make_edge, origin, selvage):
    edge = make_edge(origin, site={"rules": [{"path": "/s/*", "bypass_cookies": ["sessionid"]}]})
    node = f"http://127.0.0.1:{edge.admin_port}"
    r = selvage("--node", node, "explain", f"{URL}/s/x", "-H", "cookie: sessionid=1")
    assert r.returncode == 0 and "bypass_cookies" in r.stdout
    r = selvage("--node", node, "explain", "https://nobody.test/")
    assert r.returncode == 1 and "no site has this host" in r.stderr


def test_check_agrees_with_the_daemon(edge, selvage):
    r = selvage("check", edge.file)
    assert (r.returncode, r.stderr) == (0, "")
