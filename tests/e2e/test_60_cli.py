"""selvage, the command line tool, against admin servers that answer as told.

The servers here are written out in this file: what the tool sends and what it makes of every
kind of answer is the claim, and a daemon would not give most of these answers on request.
"""
import json
import os
import re
import socket
import ssl
import subprocess
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SELVAGE = ROOT / os.environ.get("SELVAGE_BUILD", "build/release") / "selvage"

PURGED = {"position": {"epoch": 1, "n": 12}, "scopes": 1, "soft": False}
STATUS = {
    "version": "0.1.0", "node": "fra1-a", "positions": {"epoch": 1, "n": 12, "first": 3}, "scopes": 4,
    "store": {"objects": 1234, "used_bytes": 3 << 30, "size_bytes": 100 << 30, "writable": True,
              "queue_bytes": 0},
    "ready": True, "ready_text": "ok\n", "uptime_s": 7300, "sites": [{"name": "www"}, {"name": "shop"}],
}
HANG_UP = "hang up"
NEVER = "never"


class Node:
    """An admin server: keeps what it was asked and answers from a list, the last one for ever."""

    def __init__(self, tls=None):
        self.requests = []
        self.answers = [(200, json.dumps(PURGED))]
        self.stopped = threading.Event()
        node = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def handle_any(self):
                body = self.rfile.read(int(self.headers.get("content-length", 0)))
                node.requests.append((self.command, self.path, dict(self.headers), body))
                answer = node.answers.pop(0) if len(node.answers) > 1 else node.answers[0]
                if answer == NEVER:
                    node.stopped.wait(60)
                if answer in (HANG_UP, NEVER):
                    self.close_connection = True
                    return
                status, text = answer[:2]
                body = text if isinstance(text, bytes) else text.encode()
                self.send_response(status)
                for name, value in answer[2] if len(answer) > 2 else ():
                    self.send_header(name, value)
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            do_GET = do_POST = handle_any

            def log_message(self, *_):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        if tls:
            self.server.socket = tls.wrap_socket(self.server.socket, server_side=True)
        self.url = f"http{'s' if tls else ''}://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True).start()

    def json(self, i=-1):
        return json.loads(self.requests[i][3])

    def close(self):
        self.stopped.set()
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture
def make_node():
    nodes = []

    def make(*answers, tls=None):
        nodes.append(Node(tls))
        if answers:
            nodes[-1].answers = list(answers)
        return nodes[-1]

    yield make
    for n in nodes:
        n.close()


@pytest.fixture
def node(make_node):
    return make_node()


@pytest.fixture
def selvage(tmp_path):
    """Runs the tool with a home of its own and nothing of ours in the environment."""

    def run(*words, env=None, timeout=30):
        clean = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "http_proxy": "http://127.0.0.1:1"}
        for name in ("ASAN_OPTIONS", "UBSAN_OPTIONS"):
            if name in os.environ:
                clean[name] = os.environ[name]
        return subprocess.run([SELVAGE, *map(str, words)], env={**clean, **(env or {})}, text=True,
                              capture_output=True, timeout=timeout, stdin=subprocess.DEVNULL)

    return run


def refused_url():
    """A port where nobody listens: bound, so that nobody else takes it, and never listening."""
    s = socket.socket()
    s.bind(("127.0.0.1", 0))
    return s, f"http://127.0.0.1:{s.getsockname()[1]}"


# --- purge: what is sent -----------------------------------------------------------------------

URL = "https://www.example.com/a.css"


@pytest.mark.parametrize("words, scopes", [
    ([URL], [{"url": URL}]),
    ([URL, URL + "2"], [{"url": URL}, {"url": URL + "2"}]),
    (["--prefix", URL], [{"prefix": URL}]),
    (["--prefix", URL, URL + "2"], [{"prefix": URL}, {"prefix": URL + "2"}]),
    ([URL, "--prefix", URL], [{"url": URL}, {"prefix": URL}]),
    (["--tag", "a", "b", "--host", "www.example.com"], [{"tag": "a"}, {"tag": "b"},
                                                        {"host": "www.example.com"}]),
    (["--tag", "a", "--", "--b", "--soft", "c"], [{"tag": "a"}, {"tag": "--b"}, {"tag": "--soft"},
                                                  {"tag": "c"}]),
    (["--all"], [{"all": True}]),
])
def test_scopes_are_sent_as_written(selvage, node, words, scopes):
    r = selvage("--node", node.url, "purge", *words)
    assert (r.returncode, r.stderr) == (0, "")
    method, path, fields, _ = node.requests[0]
    assert (method, path) == ("POST", "/purge")
    assert fields["Content-Type"] == "application/json"
    assert "Authorization" not in fields
    sent = node.json()
    assert sent["scopes"] == scopes
    assert sent["soft"] is False


def test_soft_and_id_are_sent_as_written(selvage, node):
    assert selvage("purge", "--soft", "--id", "deploy-42", "--all", "--node", node.url).returncode == 0
    assert node.json() == {"scopes": [{"all": True}], "soft": True, "id": "deploy-42"}


def test_every_purge_has_an_id_of_its_own(selvage, node):
    for _ in range(2):
        selvage("--node", node.url, "purge", "--all")
    ids = [node.json(i)["id"] for i in range(2)]
    assert ids[0] != ids[1]
    assert all(re.fullmatch(r"[0-9a-f]{32}", i) for i in ids)


def test_a_quote_in_a_tag_stays_in_the_tag(selvage, node):
    selvage("--node", node.url, "purge", "--tag", 'a"},{"all":true},{"tag":"ö')
    assert node.json()["scopes"] == [{"tag": 'a"},{"all":true},{"tag":"ö'}]


# --- purge: what is printed ----------------------------------------------------------------------

def test_a_confirmed_purge_is_one_line_and_exit_0(selvage, node):
    r = selvage("--node", node.url, "purge", URL)
    assert re.fullmatch(re.escape(node.url) + r"  purged up to 1-12 \(\d+ ms\)\n", r.stdout)
    assert r.returncode == 0


def test_one_node_that_fails_makes_exit_1_and_the_others_are_purged(selvage, make_node):
    good, other = make_node(), make_node()
    held, gone = refused_url()
    with held:
        r = selvage("--node", good.url, "--node", gone, "--node", other.url, "purge", "--id", "x1", URL)
    assert r.returncode == 1
    assert [line.split("  ")[0] for line in r.stdout.splitlines()] == [good.url, other.url]
    failed, hint = r.stderr.splitlines()
    assert failed == f"{gone}  FAILED: connection refused; is selvage-edge running there?"
    assert "--id x1" in hint


def test_nodes_are_asked_at_once(selvage, make_node):
    meeting = threading.Barrier(3)
    nodes = [make_node() for _ in range(3)]

    class Meeting(list):
        def __getitem__(self, i):  # answers only when all three have been asked
            meeting.wait(20)
            return super().__getitem__(i)

    for n in nodes:
        n.answers = Meeting(n.answers)
    r = selvage(*[w for n in nodes for w in ("--node", n.url)], "purge", URL)
    assert r.returncode == 0
    assert [line.split()[0] for line in r.stdout.splitlines()] == [n.url for n in nodes]
    assert len({n.json()["id"] for n in nodes}) == 1


def test_json_is_one_object_a_node(selvage, make_node):
    good, bad = make_node(), make_node((400, '{"error":"no such host"}'))
    r = selvage("--json", "--node", good.url, "--node", bad.url, "purge", URL)
    rows = [json.loads(line) for line in r.stdout.splitlines()]
    assert rows[0] == {"admin": good.url, **PURGED}
    assert rows[1] == {"admin": bad.url, "error": "no such host (HTTP 400)"}
    assert r.returncode == 1


# --- failures of nodes ---------------------------------------------------------------------------

def test_a_connection_without_an_answer_is_tried_once_more_with_the_same_id(selvage, make_node):
    n = make_node(HANG_UP, (200, json.dumps(PURGED)))
    r = selvage("--node", n.url, "purge", URL)
    assert r.returncode == 0
    assert len(n.requests) == 2
    assert n.json(0) == n.json(1)


def test_it_is_not_tried_a_third_time(selvage, make_node):
    n = make_node(HANG_UP)
    r = selvage("--node", n.url, "purge", URL)
    assert r.returncode == 1
    assert "FAILED: the connection ended without an answer, twice" in r.stderr
    assert len(n.requests) == 2


def test_an_error_is_not_tried_again(selvage, make_node):
    n = make_node((503, '{"error":"the journal\'s disk is full"}'))
    r = selvage("--node", n.url, "purge", URL)
    assert f"{n.url}  FAILED: the journal's disk is full (HTTP 503)\n" in r.stderr
    assert len(n.requests) == 1


def test_a_node_that_never_answers_costs_the_timeout(selvage, make_node):
    n = make_node(NEVER)
    r = selvage("--node", n.url, "--timeout", "1", "status")
    assert r.returncode == 1
    assert "FAILED: no answer within 1 s" in r.stderr


@pytest.mark.parametrize("answer", ["", "ok", "[]", "{}", '{"position":{"epoch":"1"}}', "{" * 5000])
def test_nonsense_with_200_is_no_receipt(selvage, make_node, answer):
    n = make_node((200, answer))
    r = selvage("--node", n.url, "purge", URL)
    assert r.returncode == 1
    assert r.stdout == ""
    assert "cannot be understood" in r.stderr


def test_an_answer_without_end_is_refused(selvage, make_node):
    n = make_node((200, b" " * (1 << 20) + b"{}"))
    r = selvage("--node", n.url, "status")
    assert r.returncode == 1
    assert "longer than 1 MiB" in r.stderr


def test_an_html_error_page_is_not_shown(selvage, make_node):
    n = make_node((502, "<html>bad gateway</html>"))
    assert "FAILED: HTTP 502 without an explanation" in selvage("--node", n.url, "status").stderr


def test_a_redirect_is_not_followed(selvage, make_node):
    elsewhere = make_node((200, json.dumps(PURGED)))
    n = make_node((307, "", [("location", elsewhere.url + "/purge")]))
    r = selvage("--node", n.url, "purge", URL, env={"SELVAGE_TOKEN": "secret-secret-16"})
    assert r.returncode == 1
    assert elsewhere.requests == []


def test_a_node_cannot_write_to_the_terminal(selvage, make_node):
    evil = "\x1b]0;owned\x07\u009b2J"
    n = make_node((400, json.dumps({"error": evil})))
    r = selvage("--node", n.url, "purge", URL)
    assert "\\x1b]0;owned\\x07" in r.stderr
    assert not re.search(r"[^\x20-\x7e\n]", r.stderr)


# --- tokens ----------------------------------------------------------------------------------------

def test_the_token_is_sent_as_bearer(selvage, node, tmp_path):
    token = tmp_path / "token"
    token.write_text("from-the-file-0123\n")
    selvage("--node", node.url, "--token-file", token, "purge", URL, env={"SELVAGE_TOKEN": "from-env"})
    selvage("--node", node.url, "purge", URL, env={"SELVAGE_TOKEN": "from-env"})
    assert [r[2]["Authorization"] for r in node.requests] == ["Bearer from-the-file-0123",
                                                              "Bearer from-env"]


def test_401_says_which_token_was_refused(selvage, make_node, tmp_path):
    n = make_node((401, '{"error":"no"}'))
    token = tmp_path / "token"
    token.write_text("a")
    r = selvage("--node", n.url, "status", "--token-file", token)
    assert f"refused the token from --token-file {token}" in r.stderr
    r = selvage("--node", n.url, "status", env={"SELVAGE_TOKEN": "a"})
    assert "refused the token from SELVAGE_TOKEN" in r.stderr
    r = selvage("--node", n.url, "status")
    assert "none was given" in r.stderr and "--token-file" in r.stderr
    assert r.returncode == 1


@pytest.mark.parametrize("text", ["", "\n", "two words", "a\nX-Evil: 1", "x" * 4097])
def test_a_token_that_is_not_one_word_is_never_sent(selvage, node, tmp_path, text):
    token = tmp_path / "token"
    token.write_text(text)
    r = selvage("--node", node.url, "--token-file", token, "status")
    assert r.returncode == 2
    assert "token" in r.stderr
    assert node.requests == []


# --- where nodes come from -------------------------------------------------------------------------

def config(path, nodes, token="from-the-config-file"):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"nodes: {json.dumps([n.url for n in nodes])}\ntoken: {token}\n")
    return path


def test_flags_win_over_environment_over_file(selvage, make_node, tmp_path):
    flag, env, file = make_node(), make_node(), make_node()
    config(tmp_path / ".config/selvage.yaml", [file])
    environment = {"SELVAGE_NODES": f" {env.url}/ ,"}
    assert selvage("purge", URL).returncode == 0
    assert [len(n.requests) for n in (flag, env, file)] == [0, 0, 1]
    assert file.requests[0][2]["Authorization"] == "Bearer from-the-config-file"
    assert selvage("purge", URL, env=environment).returncode == 0
    assert [len(n.requests) for n in (flag, env, file)] == [0, 1, 1]
    assert selvage("purge", URL, "--node", flag.url, env=environment).returncode == 0
    assert [len(n.requests) for n in (flag, env, file)] == [1, 1, 1]


def test_the_config_file_is_found_where_it_is_said_to_be(selvage, make_node, tmp_path):
    xdg, env, flag = make_node(), make_node(), make_node()
    config(tmp_path / "xdg/selvage.yaml", [xdg])
    by_env, by_flag = config(tmp_path / "env.yaml", [env]), config(tmp_path / "flag.yaml", [flag])
    environment = {"XDG_CONFIG_HOME": str(tmp_path / "xdg")}
    assert selvage("purge", URL, env=environment).returncode == 0
    environment["SELVAGE_CONFIG"] = str(by_env)
    assert selvage("purge", URL, env=environment).returncode == 0
    assert selvage("purge", URL, "--config", by_flag, env=environment).returncode == 0
    assert [len(n.requests) for n in (xdg, env, flag)] == [1, 1, 1]


def test_a_config_file_that_was_named_must_be_there(selvage, node, tmp_path):
    r = selvage("--node", node.url, "--config", tmp_path / "none.yaml", "status")
    assert r.returncode == 2
    assert "none.yaml" in r.stderr
    assert node.requests == []


def test_https_needs_a_certificate_that_is_trusted(selvage, make_node, tmp_path):
    certs(tmp_path / "tls", "127.0.0.1")
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(tmp_path / "tls/127.0.0.1.crt", tmp_path / "tls/127.0.0.1.key")
    n = make_node(tls=tls)
    r = selvage("--node", n.url, "purge", URL, env={"SELVAGE_TOKEN": "secret-secret-16"})
    assert r.returncode == 1
    assert "certificate is not trusted" in r.stderr and "`ca:`" in r.stderr
    assert n.requests == []
    (tmp_path / "c.yaml").write_text(f"ca: {tmp_path}/tls/ca.pem\n")
    assert selvage("--config", tmp_path / "c.yaml", "--node", n.url, "purge", URL).returncode == 0


@pytest.mark.parametrize("url", ["localhost:9180", "ftp://a", "http://", "http://a/path", "x y"])
def test_a_node_is_an_admin_url(selvage, url):
    r = selvage("--node", url, "status")
    assert r.returncode == 2
    assert "not the admin address of a node" in r.stderr


# --- wrong usage -------------------------------------------------------------------------------------

@pytest.mark.parametrize("words", [
    [], ["nonsense"], ["--nonsense"], ["purge"], ["purge", "/a.css"], ["purge", "--prefix"],
    ["purge", "--prefix", "/blog/"], ["purge", "--all", URL], ["purge", "--tag", ""],
    ["purge", "--id", "a b", URL], ["purge", "--id", "x" * 65, URL], ["purge", "--nonsense", URL],
    ["purge", "--soft=yes", URL], ["purge", "-x", URL], ["purge", *[URL] * 1001],
    ["status", "now"], ["ls"], ["ls", URL, URL], ["ls", URL, "--limit", "0"], ["ls", URL, "--limit", "many"],
    ["explain"], ["explain", URL, URL], ["explain", URL, "-H", "no field"],
    ["explain", URL, "-H", "a: b\r\nc: d"], ["explain", URL, "-H"], ["check"], ["check", "a", "b"],
    ["help", "nonsense"], ["--timeout", "0", "status"], ["--timeout", "1s", "status"], ["version", "x"],
])
def test_wrong_usage_is_exit_2_and_asks_nobody(selvage, node, words):
    r = selvage(*words, env={"SELVAGE_NODES": node.url})
    assert r.returncode == 2
    assert r.stdout == ""
    assert re.match(r"selvage( \w+)?: .", r.stderr)
    assert re.search(r"Try `selvage( \w+)? --help`\.\n$", r.stderr)
    assert node.requests == []


@pytest.mark.parametrize("command", ["purge", "status", "check", "ls", "explain", "version", "help"])
def test_every_command_explains_itself(selvage, command):
    long, by_name = selvage(command, "--help"), selvage("help", command)
    assert long.returncode == by_name.returncode == 0
    assert long.stdout == by_name.stdout
    assert long.stdout.startswith(f"usage: selvage [option ...] {command}")
    assert f"\n  {command} " in selvage("--help").stdout


def test_version_is_a_line(selvage):
    assert re.fullmatch(r"selvage \d+\.\d+\.\d+\n", selvage("version").stdout)


def test_output_that_cannot_be_written_is_a_failure(node):
    with open("/dev/full", "w", encoding="ascii") as full:
        r = subprocess.run([SELVAGE, "--node", node.url, "purge", URL], stdout=full, check=False,
                           stderr=subprocess.PIPE, text=True, timeout=30)
    assert r.returncode == 1
    assert "writing the output" in r.stderr


# --- status, ls, explain --------------------------------------------------------------------------------

def test_status_is_tidy(selvage, make_node):
    n = make_node((200, json.dumps(STATUS)))
    r = selvage("--node", n.url, "status")
    assert r.returncode == 0
    assert n.requests[0][:2] == ("GET", "/status")
    assert re.sub(r"\(\d+ ms\)", "(T ms)", r.stdout) == (
        f"{n.url}  (T ms)\n"
        "  node    fra1-a, selvage 0.1.0, up 2h\n"
        "  ready   yes: ok\n"
        "  purges  up to 1-12, journal from 3, 4 scopes\n"
        "  store   1234 objects, 3GiB of 100GiB, writable, 0B waiting to be written\n"
        "  sites   www, shop\n")


def test_status_shouts_what_is_wrong(selvage, make_node):
    sick = {**STATUS, "ready": False, "ready_text": "draining\nstore: read-only\n",
            "store": {**STATUS["store"], "writable": False}, "sites": []}
    out = selvage("--node", make_node((200, json.dumps(sick))).url, "status").stdout
    assert "  ready   NO: draining\n          store: read-only\n" in out
    assert "NOT WRITABLE" in out
    assert "  sites   none\n" in out


def row(**changes):
    return {"url": URL, "age_s": 45, "ttl_s": 300, "size": 1536, "status": 200, "state": "fresh",
            "variant": "", **changes}


def ndjson(*rows):
    return "".join(json.dumps(r) + "\n" for r in rows)


def test_ls_has_a_row_an_object(selvage, make_node):
    n = make_node((200, ndjson(row(), row(age_s=90000, ttl_s=-7300, size=12 << 30, state="stale", status=404,
                                          url=URL + "\u001b[2J"))))
    r = selvage("--node", n.url, "ls", "https://www.example.com/ä&b=1", "--limit", "7")
    assert n.requests[0][1] == "/ls?prefix=https%3A%2F%2Fwww.example.com%2F%C3%A4%26b%3D1&limit=7"
    assert r.stdout.splitlines() == [
        "  AGE    TTL     SIZE  STATUS  STATE       URL",
        f"  45s     5m   1.5KiB     200  fresh       {URL}",
        f"  25h    -2h    12GiB     404  stale       {URL}\\x1b[2J",
    ]
    assert (r.returncode, r.stderr) == (0, "")


def test_ls_says_when_there_may_be_more(selvage, make_node):
    n = make_node((200, ndjson(row(), row())))
    r = selvage("--node", n.url, "ls", URL, "--limit", "2")
    assert r.returncode == 0
    assert "lists only the first 2; --limit shows more" in r.stderr


def test_ls_of_two_nodes_tells_them_apart(selvage, make_node):
    a, b = make_node((200, ndjson(row()))), make_node((200, ""))
    lines = selvage("--node", a.url, "--node", b.url, "ls", URL).stdout.splitlines()
    assert lines[0] == a.url
    assert lines[3:5] == ["", b.url]


def test_ls_json_keeps_every_field(selvage, make_node):
    n = make_node((200, ndjson(row(variant="gzip"), row(more=1))))
    rows = [json.loads(line) for line in selvage("--json", "--node", n.url, "ls", URL).stdout.splitlines()]
    assert rows == [{"admin": n.url, **row(variant="gzip")}, {"admin": n.url, **row(more=1)}]


def test_ls_with_a_row_cut_off_is_a_failure(selvage, make_node):
    n = make_node((200, ndjson(row()) + '{"url":"http'))
    assert selvage("--node", n.url, "ls", URL).returncode == 1


def test_ls_takes_more_than_other_answers(selvage, make_node):
    n = make_node((200, ndjson(*[row()] * 20000)))  # about 2 MiB
    r = selvage("--node", n.url, "ls", URL, "--limit", "30000")
    assert r.returncode == 0
    assert len(r.stdout.splitlines()) == 20001


def test_explain_sends_url_and_fields_and_prints_the_text(selvage, make_node):
    n = make_node((200, b"site www\n\trule \x1b[31m7"))
    r = selvage("--node", n.url, "explain", URL, "-H", "accept-language: de", "--header", "cookie:a=1")
    assert n.requests[0][:2] == ("POST", "/explain")
    assert n.json() == {"url": URL, "fields": ["accept-language: de", "cookie:a=1"]}
    assert r.stdout == "site www\n\trule \\x1b[31m7\n"
    assert r.returncode == 0


def test_explain_json_has_the_text(selvage, make_node):
    n = make_node((200, "site www\n"))
    r = selvage("--json", "--node", n.url, "explain", URL)
    assert json.loads(r.stdout) == {"admin": n.url, "text": "site www\n"}


# --- check ----------------------------------------------------------------------------------------------

SITES = """\
# comment: not a key
sites:
  - name: www
    hosts: [www.example.com, example.com]
    origin: {servers: ["http://192.0.2.1:8080"]}
    rules:
      - {path: "/api/*", cache: off}
"""


def edge_file(tmp_path, sites="sites.yaml"):
    (tmp_path / "tokens.yaml").touch(mode=0o600)
    (tmp_path / "tokens.yaml").write_text(
        "tokens:\n  - {name: deploy, secret: 0123456789abcdef0123456789abcdef, kinds: [purge]}\n")
    path = tmp_path / "edge.yaml"
    path.write_text('listen: [{address: "127.0.0.1:8080"}]\n'
                    f'admin: {{listen: "127.0.0.1:9181", tokens: {tmp_path}/tokens.yaml}}\n'
                    f"store: {{directory: {tmp_path}/store, size: 1GiB}}\n"
                    f"sites: {tmp_path}/{sites}\n")
    return path


def test_check_sums_up_a_good_file(selvage, tmp_path):
    (tmp_path / "sites.yaml").write_text(SITES)
    path = edge_file(tmp_path)
    r = selvage("check", path)
    assert (r.returncode, r.stderr) == (0, "")
    assert r.stdout == (
        f"{path}: ok\n"
        "Listens on 127.0.0.1:8080 (plain); admin on 127.0.0.1:9181 with 1 token; "
        f"store in {tmp_path}/store, 1GiB; 1 site with 2 hosts and 1 rule: www.\n")


def test_check_knows_a_sites_file_by_its_keys(selvage, tmp_path):
    path = tmp_path / "any-name"
    path.write_text(SITES)
    r = selvage("check", path)
    assert (r.returncode, r.stderr) == (0, "")
    assert r.stdout == f"{path}: ok\n1 site with 2 hosts and 1 rule: www.\n"


def test_check_prints_every_error_with_its_place(selvage, tmp_path):
    path = tmp_path / "sites.yaml"
    path.write_text(SITES.replace("origin:", "orogin:").replace("cache: off", "cache: maybe"))
    r = selvage("check", path)
    assert r.returncode == 1
    assert r.stdout == ""
    assert re.search(rf"^{re.escape(str(path))}:5:\d+: .*orogin", r.stderr, re.M)
    assert re.search(rf"^{re.escape(str(path))}:7:\d+: .*cache", r.stderr, re.M)


def test_check_reads_the_files_that_are_named(selvage, tmp_path):
    (tmp_path / "sites.yaml").write_text("sites: [{name: www, hosts: 7}]\n")
    r = selvage("check", edge_file(tmp_path))
    assert r.returncode == 1
    assert f"{tmp_path}/sites.yaml:1:" in r.stderr


def test_check_of_a_file_that_is_not_there(selvage, tmp_path):
    r = selvage("check", tmp_path / "none")
    assert r.returncode == 1
    assert f"{tmp_path}/none: No such file or directory" in r.stderr


def test_check_asks_no_node_and_needs_no_settings(selvage, tmp_path):
    (tmp_path / "s").write_text(SITES)
    assert selvage("--config", tmp_path / "none", "check", tmp_path / "s").returncode == 0


# --- tools/certs.sh -------------------------------------------------------------------------------------

def certs(*words):
    return subprocess.run([ROOT / "tools/certs.sh", *map(str, words)], text=True, capture_output=True,
                          timeout=60, check=False, stdin=subprocess.DEVNULL)


def openssl(*words):
    return subprocess.run(["openssl", *map(str, words)], text=True, capture_output=True, check=True).stdout


def test_certs_belong_to_their_keys_and_to_the_ca(tmp_path):
    d = tmp_path / "tls"
    hosts = {"www.example.com": ("www.example.com", "DNS:www.example.com"),
             "127.0.0.1": ("127.0.0.1", "IP Address:127.0.0.1"),
             "*.cdn.example.com": ("_wildcard.cdn.example.com", "DNS:*.cdn.example.com")}
    assert certs(d, *hosts).returncode == 0
    for name, san in hosts.values():
        crt, key = d / f"{name}.crt", d / f"{name}.key"
        openssl("verify", "-x509_strict", "-purpose", "sslserver", "-CAfile", d / "ca.pem", crt)
        assert openssl("x509", "-in", crt, "-noout", "-pubkey") == openssl("pkey", "-in", key, "-pubout")
        text = openssl("x509", "-in", crt, "-noout", "-text")
        assert san in text and "prime256v1" in text
        assert key.stat().st_mode & 0o077 == 0
    assert not [p for p in d.iterdir() if p.name.startswith(".")]


def test_certs_keep_an_existing_ca(tmp_path):
    certs(tmp_path, "a.test")
    before = [(tmp_path / f).read_bytes() for f in ("ca.pem", "ca.key")]
    assert certs(tmp_path, "b.test").returncode == 0
    assert [(tmp_path / f).read_bytes() for f in ("ca.pem", "ca.key")] == before
    openssl("verify", "-CAfile", tmp_path / "ca.pem", tmp_path / "a.test.crt", tmp_path / "b.test.crt")
    (tmp_path / "ca.key").unlink()
    assert certs(tmp_path, "c.test").returncode == 1
    assert (tmp_path / "ca.pem").read_bytes() == before[0]


@pytest.mark.parametrize("host", ["../x", "a/b", "", "*", "a*b", "-x", "ca", "a\nb"])
def test_certs_refuse_what_is_no_host(tmp_path, host):
    assert certs(tmp_path / "tls", host).returncode == 1
    assert not list(tmp_path.glob("**/*.crt"))
