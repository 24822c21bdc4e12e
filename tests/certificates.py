"""Real certificates for tests, made with the openssl program."""

import ssl
import subprocess
from dataclasses import dataclass
from pathlib import Path

_DAYS = "2"


@dataclass(frozen=True, slots=True)
class Pair:
    """A certificate and its key, as files in PEM."""

    cert: Path
    key: Path


@dataclass(frozen=True, slots=True)
class Authority:
    """Signs certificates.

    Attributes:
        root: Its own certificate and key.
    """

    root: Pair

    @classmethod
    def create(cls, directory: Path, name: str) -> "Authority":
        """A new one, in files of this name."""
        root = Pair(directory / f"{name}.pem", directory / f"{name}.key")
        _openssl(
            "req", "-x509", *_NEW_KEY, "-keyout", root.key, "-out", root.cert, "-days", _DAYS, "-subj", f"/CN={name}",
            "-addext", "basicConstraints=critical,CA:TRUE",
        )  # fmt: skip
        return cls(root)

    def sign(self, directory: Path, name: str) -> Pair:
        """A certificate for this machine's loopback address, good for servers and clients."""
        pair, request = Pair(directory / f"{name}.pem", directory / f"{name}.key"), directory / f"{name}.csr"
        extensions = directory / f"{name}.ext"
        extensions.write_text("subjectAltName=IP:127.0.0.1,DNS:localhost\nextendedKeyUsage=serverAuth,clientAuth\n")
        _openssl("req", *_NEW_KEY, "-keyout", pair.key, "-out", request, "-subj", f"/CN={name}")
        _openssl(
            "x509", "-req", "-in", request, "-CA", self.root.cert, "-CAkey", self.root.key, "-CAcreateserial",
            "-days", _DAYS, "-extfile", extensions, "-out", pair.cert,
        )  # fmt: skip
        return pair

    def client_context(self, client: Pair | None = None) -> ssl.SSLContext:
        """What a client needs that trusts this authority and shows that certificate."""
        context = ssl.create_default_context(cafile=str(self.root.cert))
        if client is not None:
            context.load_cert_chain(client.cert, client.key)
        return context


_NEW_KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")


def _openssl(*arguments: str | Path) -> None:
    subprocess.run(["openssl", *arguments], check=True, capture_output=True)


def put(source: Path, target: Path) -> None:
    """Replaces a file with the content of another one at once, as rotation should."""
    beside = target.with_suffix(".new")
    beside.write_bytes(source.read_bytes())
    beside.replace(target)
