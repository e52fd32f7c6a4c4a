"""TlsContext, pins, certificates by name, encrypted keys."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import ssl
import threading
from pathlib import Path
from typing import Any

import pytest
import trustme
from cryptography import x509
from cryptography.hazmat.primitives import serialization

import tquic


async def idle(connection: tquic.Connection) -> None:
    await connection.wait_closed()


async def attempt(
    server: tquic.TlsContext | tquic.Config, client: tquic.TlsContext | tquic.Config, **to: Any
) -> tuple[bytes, ...]:
    """The server's certificates, when a connection succeeds."""
    listening = (
        tquic.serve("127.0.0.1", 0, idle, tls=server)
        if isinstance(server, tquic.TlsContext)
        else tquic.serve("127.0.0.1", 0, idle, config=server)
    )
    async with listening as running:
        settings: dict[str, Any] = {"tls": client}
        if isinstance(client, tquic.Config):
            settings = {"config": client}
        settings["config"] = settings.get("config", tquic.Config()).replace(**to)
        async with tquic.connect(*running.address, **settings) as connection:
            return connection.info.peer_certificates


def server_context(identity: Any) -> tquic.TlsContext:
    context = tquic.TlsContext(server_side=True)
    context.load_cert_chain(identity.cert, identity.key)
    return context


def client_context(identity: Any) -> tquic.TlsContext:
    context = tquic.TlsContext()
    context.load_verify_locations(cadata=identity.ca.decode())
    return context


def der(pem: bytes) -> bytes:
    return x509.load_pem_x509_certificate(pem).public_bytes(serialization.Encoding.DER)


def pin_by_hand(pem: bytes) -> str:
    """RFC 7469 section 2.4, by another implementation."""
    key = x509.load_pem_x509_certificate(pem).public_key()
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    digest = hashlib.sha256(key.public_bytes(serialization.Encoding.DER, form)).digest()
    return f"sha256//{base64.b64encode(digest).decode()}"


# ---- The context ----


async def test_files_and_folders(identity: Any, stranger: Any, tmp_path: Path) -> None:
    (tmp_path / "both.pem").write_bytes(identity.cert + identity.key)
    (tmp_path / "ca.pem").write_bytes(identity.ca)
    folder = tmp_path / "cas"
    folder.mkdir()
    (folder / "README").write_text("not a certificate")
    (folder / "one.crt").write_bytes(stranger.ca)
    (folder / "two.0").write_bytes(identity.ca)

    server = tquic.TlsContext(server_side=True)
    server.load_cert_chain(tmp_path / "both.pem")
    for arguments in (
        {"cafile": tmp_path / "ca.pem"},
        {"capath": folder},
        {"cadata": identity.ca.decode()},
        {"cadata": der(identity.ca)},
        {"cadata": der(stranger.ca) + der(identity.ca)},
        {"cafile": stranger.ca, "cadata": der(identity.ca)},
    ):
        client = tquic.TlsContext()
        client.load_verify_locations(**arguments)
        assert await attempt(server, client)
    other = tquic.TlsContext()
    other.load_verify_locations(stranger.ca)
    with pytest.raises(tquic.UntrustedCertificate):
        await attempt(server, other)


async def test_the_system_comes_on_top(identity: Any, stranger: Any) -> None:
    server = server_context(identity)
    client = client_context(identity)
    client.load_default_certs()
    assert client.config().system_ca
    assert await attempt(server, client)
    with pytest.raises(tquic.UntrustedCertificate):
        await attempt(server, tquic.TlsContext())


async def test_what_is_verified(identity: Any, stranger: Any) -> None:
    server = server_context(identity)
    client = client_context(identity)
    assert (client.verify_mode, client.check_hostname) == (ssl.CERT_REQUIRED, True)
    with pytest.raises(tquic.CertificateNameMismatch):
        await attempt(server, client, server_name="example.org")
    with pytest.raises(ValueError, match="check_hostname"):
        client.verify_mode = ssl.CERT_NONE
    client.check_hostname = False
    assert await attempt(server, client, server_name="example.org")
    # The CA still counts.
    lax = tquic.TlsContext()
    lax.load_verify_locations(stranger.ca)
    lax.check_hostname = False
    with pytest.raises(tquic.UntrustedCertificate):
        await attempt(server, lax)
    lax.verify_mode = ssl.CERT_NONE
    assert await attempt(server, lax)
    lax.check_hostname = True
    assert lax.verify_mode is ssl.CERT_REQUIRED


async def test_client_certificates(identity: Any, stranger: Any) -> None:
    server = server_context(identity)
    server.load_verify_locations(identity.ca)
    assert server.config().client_auth == "none"
    server.verify_mode = ssl.CERT_OPTIONAL
    client = client_context(identity)
    assert await attempt(server, client)
    server.verify_mode = ssl.CERT_REQUIRED
    config = server.config()
    assert config.client_auth == "required"
    client.load_cert_chain(identity.client_cert, identity.client_key)
    assert await attempt(server, client)


async def test_settings_of_the_handshake(identity: Any, tmp_path: Path) -> None:
    server, client = server_context(identity), client_context(identity)
    server.set_alpn_protocols(["one", "two"])
    client.set_alpn_protocols(["two"])
    client.set_ciphers("TLS_CHACHA20_POLY1305_SHA256:TLS_AES_128_GCM_SHA256")
    assert client.get_ciphers()[0]["name"] == "TLS_CHACHA20_POLY1305_SHA256"
    client.keylog_filename = tmp_path / "keys"
    server.set_ciphers("TLS_CHACHA20_POLY1305_SHA256")
    async with (
        tquic.serve("127.0.0.1", 0, idle, tls=server) as running,
        tquic.connect(*running.address, tls=client, config=tquic.Config(mtu=1300)) as connection,
    ):
        assert connection.alpn == "two"
        assert connection.info.cipher == "TLS_CHACHA20_POLY1305_SHA256"
        assert connection.config.mtu == 1300
    assert (tmp_path / "keys").stat().st_size > 0


def test_there_is_one_version() -> None:
    context = tquic.TlsContext()
    for version in (ssl.TLSVersion.TLSv1_3, ssl.TLSVersion.TLSv1_2):
        context.minimum_version = version
        assert context.minimum_version is ssl.TLSVersion.TLSv1_3
    context.maximum_version = ssl.TLSVersion.MAXIMUM_SUPPORTED
    with pytest.raises(tquic.ConfigError, match=r"TLS 1\.3 and nothing else"):
        context.maximum_version = ssl.TLSVersion.TLSv1_2
    assert context.maximum_version is ssl.TLSVersion.TLSv1_3


def test_mistakes(identity: Any, tmp_path: Path) -> None:
    context = tquic.TlsContext()
    with pytest.raises(tquic.ConfigError, match="not 'ECDHE-RSA-AES128-GCM-SHA256'"):
        context.set_ciphers("ECDHE-RSA-AES128-GCM-SHA256")
    with pytest.raises(tquic.ConfigError, match=r"cafile: cannot read .*none"):
        context.load_verify_locations(tmp_path / "none")
    with pytest.raises(TypeError):
        context.load_verify_locations()
    with pytest.raises(tquic.ConfigError, match="neither PEM nor DER"):
        context.load_verify_locations(cadata=b"\x00\x01")
    with pytest.raises(tquic.ConfigError, match="CAs of its clients"):
        context.load_default_certs(ssl.Purpose.CLIENT_AUTH)
    with pytest.raises(tquic.ConfigError, match="is no pin"):
        context.add_pin("sha256//x")
    with pytest.raises(tquic.ConfigError, match="server_side=True"):
        tquic.serve("127.0.0.1", 0, idle, tls=context)
    with pytest.raises(tquic.ConfigError, match="server_side=False"):
        tquic.connect("127.0.0.1", 1, tls=server_context(identity))
    with pytest.raises(tquic.ConfigError, match="ca_path: there is no certificate"):
        asyncio.run(attempt(server_context(identity), tquic.Config(ca_path=tmp_path)))
    assert repr(context) == "<TlsContext of a client, CERT_REQUIRED>"


# ---- Pins ----


async def test_pins(identity: Any, stranger: Any) -> None:
    ours, other = tquic.public_key_pin(identity.cert), tquic.public_key_pin(stranger.cert)
    assert ours == pin_by_hand(identity.cert)
    assert tquic.public_key_pin(der(identity.cert)) == ours
    server, client = server_context(identity), client_context(identity)
    client.add_pin(other)
    with pytest.raises(tquic.PinMismatch, match=ours.replace("+", r"\+")) as caught:
        await attempt(server, client)
    assert (caught.value.by, caught.value.alert_name) == ("local", "certificate_unknown")
    client.add_pin(ours)
    assert await attempt(server, client)
    # The pin of the CA is none of the server's.
    ca = tquic.Config(ca=identity.ca, pins=(tquic.public_key_pin(identity.ca),))
    with pytest.raises(tquic.PinMismatch):
        await attempt(server, ca)
    # Alone, without any CA.
    assert await attempt(server, tquic.Config(insecure=True, pins=(ours,)))
    with pytest.raises(tquic.PinMismatch):
        await attempt(server, tquic.Config(insecure=True, pins=(other,)))
    # And no replacement for the CA.
    with pytest.raises(tquic.UntrustedCertificate):
        await attempt(server, tquic.Config(ca=stranger.ca, pins=(ours,)))


# ---- Certificates by name ----


async def test_certificates_by_name(identity: Any) -> None:
    exact, wild = identity.issue("a.example.org"), identity.issue("*.example.org")
    server = server_context(identity)
    server.add_cert_chain("A.example.org", *exact)
    server.add_cert_chain("*.example.org", *wild)
    client = client_context(identity)
    for name, chain in (
        ("a.example.org", exact[0]),
        ("b.example.org", wild[0]),
        ("localhost", identity.cert),
    ):
        shown = await attempt(server, client, server_name=name)
        assert shown[0] == der(chain)
    with pytest.raises(tquic.CertificateNameMismatch):
        await attempt(server, client, server_name="b.a.example.org")


async def test_a_function_finds_certificates(identity: Any, tmp_path: Path) -> None:
    cert, key = identity.issue("found.example.org")
    (tmp_path / "key").write_bytes(key)
    asked: list[tuple[str, bool]] = []

    def find(name: str) -> tuple[bytes, Path] | None:
        asked.append((name, threading.current_thread() is threading.main_thread()))
        return (cert, tmp_path / "key") if name == "found.example.org" else None

    server, client = server_context(identity), client_context(identity)
    server.sni_callback = find
    async with tquic.serve("127.0.0.1", 0, idle, tls=server) as running:

        async def shown(name: str) -> bytes:
            config = client.config(server_name=name)
            async with tquic.connect(*running.address, config=config) as connection:
                return connection.info.peer_certificates[0]

        assert await shown("found.example.org") == der(cert)
        assert await shown("Found.example.org") == der(cert)
        # A name that stands in a certificate here needs no question.
        assert await shown("localhost") == der(identity.cert)
        with pytest.raises(tquic.CertificateNameMismatch):
            await shown("lost.example.org")
    assert asked == [("found.example.org", False), ("lost.example.org", False)]


async def test_a_function_that_fails_or_dawdles(
    identity: Any, caplog: pytest.LogCaptureFixture
) -> None:
    release = threading.Event()

    def find(name: str) -> None:
        if name == "slow.example.org":
            release.wait(30)
        raise ValueError(name)

    server = server_context(identity)
    server.sni_callback = find
    client = client_context(identity)
    client.check_hostname = False
    try:
        async with tquic.serve("127.0.0.1", 0, idle, tls=server) as running:
            # The default certificate is shown, in time.
            for name in ("bad.example.org", "slow.example.org"):
                config = client.config(server_name=name)
                async with tquic.connect(*running.address, config=config) as connection:
                    assert connection.info.peer_certificates[0] == der(identity.cert)
            assert "sni_callback failed for bad.example.org" in caplog.text
    finally:
        release.set()


# ---- Keys under a password ----


def encrypted(key: bytes, password: bytes, traditional: bool = False) -> bytes:
    form = serialization.PrivateFormat
    loaded = serialization.load_pem_private_key(key, None)
    return loaded.private_bytes(
        serialization.Encoding.PEM,
        form.TraditionalOpenSSL if traditional else form.PKCS8,
        serialization.BestAvailableEncryption(password),
    )


async def test_encrypted_keys(identity: Any) -> None:
    key = encrypted(identity.key, b"hunter2")
    client = client_context(identity)
    for password in ("hunter2", b"hunter2", lambda: "hunter2"):
        server = tquic.TlsContext(server_side=True)
        server.load_cert_chain(identity.cert, key, password)
        assert await attempt(server, client)
    wrong = tquic.Config(cert=identity.cert, key=key, key_password="hunter3")
    with pytest.raises(tquic.ConfigError, match="the password is wrong"):
        await attempt(wrong, client)
    with pytest.raises(tquic.ConfigError, match="encrypted: give its password"):
        await attempt(wrong.replace(key_password=None), client)
    old = wrong.replace(key=encrypted(identity.key, b"hunter2", traditional=True))
    with pytest.raises(tquic.ConfigError, match="openssl pkcs8 -topk8"):
        await attempt(old, client)


# ---- Long chains ----


@pytest.mark.parametrize(("intermediates", "good"), [(6, True), (7, False)])
async def test_long_chains(intermediates: int, good: bool) -> None:
    root = trustme.CA()
    authority = root
    for _ in range(intermediates):
        authority = authority.create_child_ca()
    leaf = authority.issue_cert("127.0.0.1")
    chain = b"".join(blob.bytes() for blob in leaf.cert_chain_pems)
    assert chain.count(b"BEGIN") == intermediates + 1
    server = tquic.Config(cert=chain, key=leaf.private_key_pem.bytes())
    client = tquic.Config(ca=root.cert_pem.bytes())
    if good:
        assert len(await attempt(server, client)) == 7
        return
    with pytest.raises(tquic.CertificateError, match="more than 6 intermediate") as caught:
        await attempt(server, client)
    assert type(caught.value) is tquic.CertificateError


def test_a_context_changes_nothing_that_was_begun(identity: Any) -> None:
    client = client_context(identity)
    config = client.config()
    client.set_alpn_protocols(["other"])
    assert config.alpn == ("tquic",)
    assert client.config().alpn == ("other",)
