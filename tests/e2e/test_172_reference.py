"""The papers beside the programs: what is named exists, and what exists is named."""
import re
import subprocess

import pytest

from testenv.edge import BUILD, ROOT

COMMANDS = ("purge", "status", "ls", "explain", "regions", "publish", "releases", "rollback", "check", "pki", "version",
            "help")
PAPERS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")), ROOT / "edge/selvage-edge.8",
          ROOT / "edge/selvage-edge.yaml.5", ROOT / "origin-shield/selvage-shield.8", ROOT / "tools/selvage/selvage.1"]


def page(name):
    """A manual page as text without its marks: \\- is -, one word after the other."""
    text = (ROOT / name).read_text().replace("\\-", "-").replace("\\&", "")
    return re.sub(r"\bFl -?(?=\S)", lambda m: m[0].replace("Fl -", "--").replace("Fl ", "-"), text)


# ---- metrics ----

def families(text):
    """{name: (type, help, {label: {value}})} of what /metrics says."""
    out = {}
    for line in text.splitlines():
        if m := re.match(r"# HELP (\w+) (.*)", line):
            out[m[1]] = [None, m[2], {}]
        elif m := re.match(r"# TYPE (\w+) (\w+)", line):
            out[m[1]][0] = m[2]
        elif m := re.match(r"(\w+)(?:\{(.*)\})? ", line):
            for label, value in re.findall(r'(\w+)="([^"]*)"', m[2] or ""):
                out[m[1]][2].setdefault(label, []).append(value)
    return out


def row(name, family):
    kind, means, labels = family
    text = "; ".join(f"`{k}`: {', '.join(v) if k != 'version' else 'of the program'}" for k, v in labels.items())
    return f"| `{name}` | {kind} | {text} | {means} |"


def test_every_metric_is_a_row_of_the_reference_and_no_row_is_of_none(edge):
    want = [row(name, f) for name, f in families(edge.admin("GET", "/metrics")[1]).items()]
    table = (ROOT / "docs/metrics.md").read_text().split("## All of them")[1]
    rows = [line for line in table.splitlines() if line.startswith("| `selvage_")]
    assert sorted(rows) == sorted(want), "docs/metrics.md wants these rows:\n" + "\n".join(want)


@pytest.mark.parametrize("paper", PAPERS, ids=lambda p: p.name)
def test_every_metric_that_a_paper_names_exists(edge, paper):
    exist = families(edge.admin("GET", "/metrics")[1])
    for name, labels in re.findall(r"\b(selvage_[a-z0-9_]+)(?:\{([^}]*)\})?", paper.read_text()):
        assert name in exist, name
        for label, value in re.findall(r'(\w+)=~?"([^"]*)"', labels):
            if label != "job":
                assert set(value.split("|")) <= set(exist[name][2][label]), (name, label, value)


# ---- the access log ----

def test_every_field_of_the_access_log_is_in_the_manual(edge, origin):
    origin.page("/x", b"x", cache_control="max-age=60")
    text = page("edge/selvage-edge.8")
    text = text[text.index(".Ss The access log"):text.index(".Sh SIGNALS")]
    named = {w for line in re.findall(r"^\.It Sy (.*)$", text, re.M) for w in line.split() if w != ","}
    edge.get("/x")
    line = edge.wait_access(lambda l: l["path"] == "/x")
    assert named == {*line, "received"}
    verdicts = {v for v in families(edge.admin("GET", "/metrics")[1])["selvage_requests_total"][2]["verdict"]}
    assert verdicts <= set(re.findall(r"^\.Ql (\w+)", text, re.M))


# ---- the command line ----

def help_of(command):
    """Without the options that all commands have."""
    said = subprocess.run([BUILD / "selvage", "help", command], capture_output=True, text=True, timeout=20,
                          check=True).stdout
    return said.split("Options of every command:")[0]


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_and_its_options_are_in_the_manual(command):
    text = page("tools/selvage/selvage.1")
    synopsis = text[text.index(".Sh SYNOPSIS"):text.index(".Sh DESCRIPTION")]
    assert re.search(rf"^\.Cm {command}\b", synopsis, re.M), f"{command} is missing in SYNOPSIS"
    assert re.search(rf"^\.It Cm {command}\b", text, re.M), f"{command} is missing in DESCRIPTION"
    for option in set(re.findall(r"(?<![\w-])--[a-z][a-z-]*", help_of(command))) - {"--check", "--header"}:
        # the first is of selvage-edge, the second a longer name of -H
        assert option in synopsis, f"{option} of {command} is missing in SYNOPSIS"


def test_an_option_in_the_manual_is_an_option():
    said = subprocess.run([BUILD / "selvage", "--help"], capture_output=True, text=True, timeout=20, check=True).stdout
    known = {"--check", *re.findall(r"--[a-z][a-z-]*", said + "".join(map(help_of, COMMANDS)))}
    named = set(re.findall(r"(?<![\w-])--[a-z][a-z-]*", page("tools/selvage/selvage.1")))
    assert named - known == set()


@pytest.mark.parametrize("program, file", [("selvage-edge", "edge/selvage-edge.8"),
                                           ("selvage-shield", "origin-shield/selvage-shield.8")])
def test_the_options_of_a_daemon_are_in_its_manual(program, file):
    said = subprocess.run([BUILD / program, "--help"], capture_output=True, text=True, timeout=20, check=True).stdout
    text = page(file)
    synopsis = text[text.index(".Sh SYNOPSIS"):text.index(".Sh DESCRIPTION")]
    assert set(re.findall(r"--[a-z]+", said)) == set(re.findall(r"--[a-z]+", synopsis))


# ---- the admin interface ----

def test_every_path_of_the_admin_interface_is_in_the_manual(edge):
    source = (ROOT / "lib/admin/router.c").read_text()
    served = set(re.findall(r'\{SLICE\("(GET|POST)"\), SLICE\("(/[a-z/]+)"\)', source))
    named = {(m, p) for m, p in re.findall(r"^\.It Pa (GET|POST) (/[a-z/]+)", page("edge/selvage-edge.8"), re.M)}
    assert served == named
    said = edge.admin("GET", "/nothing")[1]
    for _, path in served:
        assert "/" + path.split("/")[1] in said, said
