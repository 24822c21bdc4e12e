"""TLS, client certificates and bearer tokens on both ports, with real certificates, rotated while serving."""

import asyncio
import ssl
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import httpx
import pytest

from certificates import Authority, Pair, put
from driftmeter.clock import SystemClock
from driftmeter.errors import ConfigError
from driftmeter.ingest.config import IngestConfig
from driftmeter.ingest.receiver import Receiver
from driftmeter.telemetry.metrics import RequestResult, Telemetry
from otlp_samples import usual_request
from programs import LOOPBACK
from receiving import PROTOBUF, Kept, Receiving, receiving, run
from spans import EXPORT, export_over

ANY = usual_request(2)
TYPE = {"content-type": PROTOBUF}


@dataclass(frozen=True)
class Files:
    """What a test's receiver is configured with, and who signed it."""

    directory: Path
    authority: Authority
    served: Pair

    def tls(self, client_ca: Path | None = None) -> dict[str, Any]:
        """The `tls` part of the configuration."""
        ca = {} if client_ca is None else {"client_ca_file": str(client_ca)}
        return {"cert_file": str(self.served.cert), "key_file": str(self.served.key), **ca}


@pytest.fixture
def files(tmp_path: Path) -> Files:
    """A certificate for the receiver, signed by an authority of its own."""
    authority = Authority.create(tmp_path, "authority")
    return Files(tmp_path, authority, authority.sign(tmp_path, "server"))


@contextmanager
def secure_channel(it: Receiving, authority: Authority, client: Pair | None = None) -> Iterator[grpc.Channel]:
    """A gRPC connection that trusts an authority and shows a certificate."""
    key, chain = (client.key.read_bytes(), client.cert.read_bytes()) if client else (None, None)
    credentials = grpc.ssl_channel_credentials(authority.root.cert.read_bytes(), key, chain)
    options = [("grpc.enable_retries", 0), ("grpc.use_local_subchannel_pool", 1)]
    with grpc.secure_channel(f"{LOOPBACK}:{it.receiver.grpc_port}", credentials, options=options) as channel:
        yield channel


@asynccontextmanager
async def secure_client(
    it: Receiving, authority: Authority, client: Pair | None = None
) -> AsyncIterator[httpx.AsyncClient]:
    """An HTTP client that trusts an authority and shows a certificate."""
    context = await asyncio.to_thread(authority.client_context, client)
    url = f"https://{LOOPBACK}:{it.receiver.http_port}"
    async with httpx.AsyncClient(base_url=url, verify=context, trust_env=False) as http:
        yield http


def code_of(channel: grpc.Channel, **options: object) -> grpc.StatusCode:
    """How a request over gRPC ends: taken, refused for want of a token, or without a connection."""
    call = channel.unary_unary(EXPORT).future(ANY, timeout=30, **options)
    code: grpc.StatusCode = call.code()
    assert code in (grpc.StatusCode.OK, grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.UNAVAILABLE)
    return code


async def served(it: Receiving, authority: Authority, client: Pair | None = None) -> tuple[bool, bool]:
    """Whether a new connection over gRPC, and one over HTTP, is served."""

    def over_grpc() -> bool:
        with secure_channel(it, authority, client) as channel:
            return code_of(channel) is grpc.StatusCode.OK

    async with secure_client(it, authority, client) as http:
        try:
            answer = await http.post("/v1/traces", content=ANY, headers=TYPE)
        except httpx.TransportError:
            over_http = False
        else:
            over_http = answer.status_code == 200
    return await asyncio.to_thread(over_grpc), over_http


def test_tls_serves_those_who_trust_it(files: Files) -> None:
    """Both ports speak TLS with the given certificate: to others, and without TLS, there is no answer."""

    async def test() -> None:
        async with receiving(Kept(), tls=files.tls()) as it:
            assert await served(it, files.authority) == (True, True)
            stranger = await asyncio.to_thread(Authority.create, files.directory, "stranger")
            assert await served(it, stranger) == (False, False)
            assert (await it.refusal(ANY)).code() == grpc.StatusCode.UNAVAILABLE
            with pytest.raises(httpx.TransportError):
                await it.post(ANY)
            assert it.requests() == {RequestResult.OK: 2}

    run(test)


def test_old_versions_of_tls_are_not_spoken(files: Files) -> None:
    """TLS 1.1 and older are refused."""

    async def test() -> None:
        async with receiving(Kept(), tls=files.tls()) as it:
            context = files.authority.client_context()
            with pytest.warns(DeprecationWarning, match="TLSv1"):
                context.minimum_version = ssl.TLSVersion.TLSv1
            with pytest.warns(DeprecationWarning, match="TLSv1"):
                context.maximum_version = ssl.TLSVersion.TLSv1_1
            with pytest.raises((ssl.SSLError, ConnectionError)):
                await asyncio.open_connection(LOOPBACK, it.receiver.http_port, ssl=context)

    run(test)


def test_certificates_are_read_again(files: Files) -> None:
    """A new certificate is shown to new connections within a second; an open connection goes on."""

    async def test() -> None:
        async with receiving(Kept(), tls=files.tls()) as it, secure_client(it, files.authority) as http:
            with secure_channel(it, files.authority) as channel:
                await asyncio.to_thread(export_over, channel, ANY)
                await http.get("/readyz")
                newer = await asyncio.to_thread(Authority.create, files.directory, "newer")
                renewed = await asyncio.to_thread(newer.sign, files.directory, "renewed")
                # The key first: until the certificate follows they do not fit, and the old pair stays in force.
                put(renewed.key, files.served.key)
                await asyncio.sleep(0.6)
                assert await served(it, files.authority) == (True, True)
                assert reloads(it, "tls") == (0, 1)
                put(renewed.cert, files.served.cert)
                await asyncio.sleep(0.6)
                assert await served(it, newer) == (True, True)
                assert await served(it, files.authority) == (False, False)
                assert reloads(it, "tls") == (1, 1)
                await asyncio.to_thread(export_over, channel, ANY)
                assert (await http.get("/readyz")).status_code == 200

    run(test)


def reloads(it: Receiving, credentials: str) -> tuple[int, int]:
    """How often files were read again with success, and without."""
    counter = it.telemetry.credentials_reloads
    return (
        int(counter.value(credentials=credentials, result="ok")),
        int(counter.value(credentials=credentials, result="failed")),
    )


def test_client_certificates_are_asked_for_and_rotated(files: Files) -> None:
    """Only clients with a certificate of the given authority are served; the authority can be replaced."""

    async def test() -> None:
        old = await asyncio.to_thread(Authority.create, files.directory, "clients")
        client = await asyncio.to_thread(old.sign, files.directory, "client")
        accepted = files.directory / "accepted.pem"
        put(old.root.cert, accepted)
        async with receiving(Kept(), tls=files.tls(accepted)) as it:
            assert await served(it, files.authority, client) == (True, True)
            assert await served(it, files.authority) == (False, False)
            assert await served(it, files.authority, files.served) == (False, False)
            new = await asyncio.to_thread(Authority.create, files.directory, "clients2")
            other = await asyncio.to_thread(new.sign, files.directory, "client2")
            both = files.directory / "both.pem"
            both.write_bytes(old.root.cert.read_bytes() + new.root.cert.read_bytes())
            put(both, accepted)
            await asyncio.sleep(0.6)
            assert await served(it, files.authority, client) == (True, True)
            assert await served(it, files.authority, other) == (True, True)
            put(new.root.cert, accepted)
            await asyncio.sleep(0.6)
            assert await served(it, files.authority, other) == (True, True)
            assert await served(it, files.authority, client) == (False, False)

    run(test)


def bearer(token: str) -> dict[str, str]:
    """The header that shows a token."""
    return {"authorization": f"Bearer {token}"}


async def let_in(it: Receiving, token: str | None) -> tuple[bool, bool]:
    """Whether a token opens gRPC, and HTTP."""
    metadata = None if token is None else tuple(bearer(token).items())
    code = await asyncio.to_thread(code_of, it.channel, metadata=metadata)
    assert code in (grpc.StatusCode.OK, grpc.StatusCode.UNAUTHENTICATED)
    headers = {**TYPE, **({} if token is None else bearer(token))}
    answer = await it.http.post("/v1/traces", content=ANY, headers=headers)
    assert answer.status_code in (200, 401)
    return code is grpc.StatusCode.OK, answer.status_code == 200


def test_tokens_open_and_rotate_with_overlap(tmp_path: Path) -> None:
    """Any token of the file opens both ports, nothing else does; adding and removing takes effect in a second."""
    path = tmp_path / "tokens"
    path.write_text("# senders of team one\nfirst-token\n\n")

    async def test() -> None:
        sink = Kept()
        async with receiving(sink, bearer_tokens_file=str(path)) as it:
            assert await let_in(it, "first-token") == (True, True)
            for wrong in (None, "first-toke", "first-token2", "FIRST-TOKEN", "# senders of team one"):
                assert await let_in(it, wrong) == (False, False)
            assert len(sink.requests) == 2
            path.write_text("first-token\nsecond-token\n")
            await asyncio.sleep(0.6)
            assert await let_in(it, "first-token") == (True, True)
            assert await let_in(it, "second-token") == (True, True)
            path.write_text("second-token\n")
            await asyncio.sleep(0.6)
            assert await let_in(it, "first-token") == (False, False)
            assert await let_in(it, "second-token") == (True, True)
            assert reloads(it, "bearer_tokens") == (2, 0)
            path.write_text("\n")  # Nothing in it can only be a mistake, or half of a change.
            await asyncio.sleep(0.6)
            assert await let_in(it, "second-token") == (True, True)
            path.unlink()
            await asyncio.sleep(0.6)
            assert await let_in(it, "second-token") == (True, True)
            assert reloads(it, "bearer_tokens") == (2, 2)

    run(test)


def test_without_a_token_nothing_is_read_but_the_pages_are(tmp_path: Path) -> None:
    """401 says which scheme; a body is not decompressed before; `/healthz` and `/readyz` need no token."""
    path = tmp_path / "tokens"
    path.write_text("token\n")

    async def test() -> None:
        async with receiving(Kept(), bearer_tokens_file=str(path)) as it:
            answer = await it.post(b"not gzip at all", content_encoding="gzip")
            assert (answer.status_code, answer.headers["www-authenticate"]) == (401, "Bearer")
            for scheme in ("Basic token", "token", "Bearer", "Bearertoken"):
                assert (await it.post(ANY, authorization=scheme)).status_code == 401
            assert (await it.post(ANY, authorization="bearer  token")).status_code == 200
            assert it.requests() == {RequestResult.UNAUTHENTICATED: 5, RequestResult.OK: 1}
            assert it.telemetry.received_bytes.value() == len(ANY)
            assert (await it.http.get("/readyz")).status_code == 200

    run(test)


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("cert_file", b"rubbish", "are not a certificate and its key in PEM"),
        ("key_file", b"", "are not a certificate and its key in PEM"),
        ("client_ca_file", b"rubbish", "ingest.tls.client_ca_file"),
        ("client_ca_file", b"\xff", "ingest.tls.client_ca_file"),
        ("cert_file", None, "ingest.tls.cert_file: .* cannot be read"),
        ("client_ca_file", None, "ingest.tls.client_ca_file: .* cannot be read"),
        ("bearer_tokens_file", None, "ingest.bearer_tokens_file: .* cannot be read"),
        ("bearer_tokens_file", b"# only words\n", "holds no token"),
        ("bearer_tokens_file", "schlüssel".encode(), "tokens are ASCII"),
    ],
)
def test_files_that_cannot_be_used_are_mistakes_at_start(
    files: Files, name: str, content: bytes | None, words: str
) -> None:
    """A missing, empty or wrong file stops the start with a message that names the setting."""
    broken = files.directory / "broken"
    if content is not None:
        broken.write_bytes(content)
    tls = files.tls(files.authority.root.cert)
    settings: dict[str, Any] = {"bearer_tokens_file": str(broken)} if name == "bearer_tokens_file" else {}
    config = IngestConfig.model_validate({"tls": {**tls, name: str(broken)} if name in tls else tls, **settings})
    with pytest.raises(ConfigError, match=words):
        Receiver(config, Kept(), Telemetry(), SystemClock())


def test_encrypted_keys_are_a_mistake_and_no_question(files: Files) -> None:
    """A key with a password does not make the service ask on the terminal: it is a mistake."""
    locked = files.directory / "locked.key"
    subprocess.run(
        ["openssl", "pkey", "-in", files.served.key, "-aes256", "-passout", "pass:secret", "-out", locked],
        check=True, capture_output=True,
    )  # fmt: skip
    config = IngestConfig.model_validate({"tls": {"cert_file": str(files.served.cert), "key_file": str(locked)}})
    with pytest.raises(ConfigError, match="are not a certificate and its key"):
        Receiver(config, Kept(), Telemetry(), SystemClock())
