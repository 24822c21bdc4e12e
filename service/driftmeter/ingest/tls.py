"""Certificates for both transports, read again when their files change."""

import ssl
import threading
from dataclasses import dataclass
from pathlib import Path

import grpc

from driftmeter.clock import Clock
from driftmeter.errors import ConfigError
from driftmeter.ingest.config import TlsConfig
from driftmeter.ingest.watched import WatchedFiles
from driftmeter.telemetry.metrics import Credentials, Telemetry


@dataclass(frozen=True, slots=True)
class _Loaded:
    """One version of the files, as each transport wants it."""

    context: ssl.SSLContext
    for_grpc: grpc.ServerCertificateConfiguration


class Certificates:
    """The server's certificate and whom of its clients it trusts.

    New connections are met with what the files say at that time; see `WatchedFiles`. Existing ones go on.

    Raises:
        ConfigError: The files cannot be used.
    """

    def __init__(self, config: TlsConfig, telemetry: Telemetry, clock: Clock) -> None:
        paths = [config.cert_file, config.key_file, *([config.client_ca_file] if config.client_ca_file else [])]
        self._asks_clients = config.client_ca_file is not None
        self._files = WatchedFiles(Credentials.TLS, paths, lambda: _load(config), telemetry, clock)

    def grpc_credentials(self) -> grpc.ServerCredentials:
        """For a gRPC port; asks for the certificates anew with every connection."""
        lock = threading.Lock()
        given = self._files.current().for_grpc

        def changed() -> grpc.ServerCertificateConfiguration | None:
            # What gRPC is given takes the place of what the handshakes under way use, which it does not wait for: two
            # clients that connect at once would crash the process. So nothing is given but what is new.
            nonlocal given
            with lock:
                current = self._files.current().for_grpc
                if current is given:
                    return None
                given = current
                return current

        return grpc.dynamic_ssl_server_credentials(given, changed, require_client_authentication=self._asks_clients)

    def http_context(self, *_: object) -> ssl.SSLContext:
        """For an HTTP port; puts the context of today in its own place at each connection."""
        listening = self._files.current().context

        def renew(connection: ssl.SSLSocket | ssl.SSLObject, name: str | None, context: ssl.SSLContext) -> None:
            del name, context
            connection.context = self._files.current().context

        listening.sni_callback = renew
        return listening


def _load(config: TlsConfig) -> _Loaded:
    certificate, key = _read(config.cert_file, "cert_file"), _read(config.key_file, "key_file")
    authority = _read(config.client_ca_file, "client_ca_file") if config.client_ca_file else None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    # Without tickets every connection is checked against the files of its day, not against an earlier session.
    context.options |= ssl.OP_NO_TICKET
    context.num_tickets = 0
    try:
        # A password keeps OpenSSL from asking for one on the terminal when the key is encrypted.
        context.load_cert_chain(config.cert_file, config.key_file, password="")
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"ingest.tls: {config.cert_file} and {config.key_file} are not a certificate and its key in PEM: {error}"
        ) from error
    if authority is not None:
        try:
            context.load_verify_locations(cadata=authority.decode("ascii"))
        except (OSError, ValueError) as error:
            raise ConfigError(
                f"ingest.tls.client_ca_file: {config.client_ca_file}: no certificates in PEM: {error}"
            ) from error
        context.verify_mode = ssl.CERT_REQUIRED
    for_grpc = grpc.ssl_server_certificate_configuration([(key, certificate)], root_certificates=authority)
    return _Loaded(context, for_grpc)


def _read(path: str, name: str) -> bytes:
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise ConfigError(f"ingest.tls.{name}: {path}: cannot be read: {error.strerror}") from error
