"""Certificates: a CA of the test run's own, made by the tool that the demonstration uses."""
import ssl
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]


class Authority:
    def __init__(self, directory):
        self.directory = Path(directory)
        self.ca = self.directory / "ca.pem"

    def issue(self, *hosts):
        """Make NAME.crt and NAME.key of each host in the directory; a name once made is made anew."""
        subprocess.run([ROOT / "tools/certs.sh", self.directory, *hosts], check=True, timeout=60,
                       capture_output=True)
        return self

    def file(self, host):
        """The PEM file of a host's certificate; its key lies beside it as .key."""
        return self.directory / (host.replace("*", "_wildcard") + ".crt")

    def copy_to(self, directory, *hosts):
        """Put certificates of `hosts` into a folder that a daemon reads."""
        directory.mkdir(parents=True, exist_ok=True)
        for host in hosts:
            crt = self.file(host)
            for f in (crt, crt.with_suffix(".key")):
                to = directory / f.name
                new = directory / f".{f.name}.new"
                new.write_bytes(f.read_bytes())
                new.chmod(0o600)
                new.rename(to)

    def client_context(self, *alpn):
        ctx = ssl.create_default_context(cafile=self.ca)
        if alpn:
            ctx.set_alpn_protocols(list(alpn))
        return ctx

    def server_context(self, host):
        ctx = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        crt = self.file(host)
        ctx.load_cert_chain(crt, crt.with_suffix(".key"))
        return ctx
