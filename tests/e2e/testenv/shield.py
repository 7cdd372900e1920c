"""A fleet's certificates, and one selvage-shield in a directory of its own."""
import json
import ssl
import subprocess

import yaml

from testenv.client import H1
from testenv.edge import BUILD, Dumper, Edge
from testenv.wait import seconds

SECRET = "the secret of this fleet, 32 bytes".replace(" ", "-")


class Fleet:
    """A CA and certificates of nodes, made by the tool that people use."""

    def __init__(self, directory):
        self.directory = directory
        self.pki("init")

    def pki(self, *words):
        done = subprocess.run([BUILD / "selvage", "--json", "pki", *words, "--dir", self.directory], check=True,
                              capture_output=True, text=True, timeout=seconds(30))
        return json.loads(done.stdout)

    @property
    def ca(self):
        return self.directory / "fleet-ca.pem"

    @property
    def secret(self):
        """The file of the shared secret."""
        path = self.directory / "peer.secret"
        if not path.exists():
            path.touch(mode=0o600)
            path.write_text(SECRET + "\n")
        return path

    def node(self, name, *more):
        """Make NAME.pem; what the tool said of it: file, serial, until."""
        return self.pki("node", name, "--host", "127.0.0.1", "--host", f"{name}.test", *more)

    def peer(self, name, *more):
        """The `peer:` of a node's configuration; its certificate is made when there is none."""
        if not (self.directory / f"{name}.pem").exists():
            self.node(name, *more)
        return {"certificate": str(self.directory / f"{name}.pem"), "ca": str(self.ca)}

    def client_context(self, name=None):
        """Of a client that shows the certificate of that node; None: it shows none."""
        ctx = ssl.create_default_context(cafile=self.ca)
        ctx.set_alpn_protocols(["http/1.1"])
        if name is not None:
            ctx.load_cert_chain(self.peer(name)["certificate"])
        return ctx


class Shield(Edge):
    """Listens at `port` for certificates of the fleet, at `plain_port` for its secret."""

    PROGRAM = "selvage-shield"

    def __init__(self, directory, fleet, origin=None, name="shield", **more):
        super().__init__(directory, None, origin, **more)
        self.fleet, self.name = fleet, name
        self.revoked = []
        self.peer = {**fleet.peer(name), "secret": str(fleet.secret), "peers": str(self.directory / "peers.yaml")}

    @property
    def file(self):
        return self.directory / "shield.yaml"

    @property
    def url(self):
        """As edges name it."""
        return f"https://127.0.0.1:{self.port}"

    def write_config(self):
        listen = [{"address": f"127.0.0.1:{self.port}", "peers": "certificate"},
                  {"address": f"127.0.0.1:{self.plain_port}", "peers": "secret"}]
        (self.directory / "peers.yaml").write_text(yaml.safe_dump({"revoked": self.revoked}))
        whole = {"listen": listen, "admin": {"listen": f"127.0.0.1:{self.admin_port}"}, "peer": self.peer,
                 "node": self.name, "sites": self.sites, **self.config}
        self.file.write_text(yaml.dump(whole, Dumper=Dumper, sort_keys=False))

    def connect(self, node="edge1", **more):
        """A connection as that node of the fleet would make it; None: without a certificate."""
        return H1(self.port, self.fleet.client_context(node), f"{self.name}.test", **more)

    def ask(self, target, method="GET", fields=(), body=None, node="edge1", named="www.test", timeout=10):
        """One request as an edge sends it, on a connection of its own."""
        with self.connect(node, timeout=timeout) as c:
            return c.request(target, method, fields, body, named)
