"""aioquic's settings as tquic's."""

from __future__ import annotations

import dataclasses
import io
import ssl
import sys
from pathlib import Path
from typing import Any

import pytest
import trustme
from cryptography import x509
from cryptography.hazmat.primitives import serialization

from tquic.compat.aioquic.quic.configuration import (
    NO_ALPN,
    QuicConfiguration,
    client_config,
    server_config,
)
from tquic.compat.aioquic.tls import CipherSuite
from tquic.config import Config
from tquic.errors import ConfigError


def configuration(**settings: Any) -> QuicConfiguration:
    return QuicConfiguration(**{"alpn_protocols": ["x"], **settings})


def server(files: Any, **settings: Any) -> QuicConfiguration:
    made = configuration(is_client=False, **settings)
    made.load_cert_chain(files.cert, files.key)
    return made


def test_every_setting_of_a_client() -> None:
    with pytest.warns(UserWarning, match="connection_id_length"):
        config = client_config(
            configuration(
                congestion_control_algorithm="cubic",
                connection_id_length=12,
                idle_timeout=7.5,
                max_data=50_000_000,
                max_stream_data=4096,
                max_datagram_size=1350,
                server_name="example.org",
                cipher_suites=[CipherSuite.CHACHA20_POLY1305_SHA256],
                initial_rtt=0.05,
                max_datagram_frame_size=1000,
                supported_versions=[1, 0x6B3343CF, 0x0A0A0A0A],
                original_version=0x6B3343CF,
                verify_mode=ssl.CERT_NONE,
            )
        )
    assert config == Config(
        alpn=("x",),
        congestion="cubic",
        idle_timeout=7.5,
        handshake_timeout=7.5,
        connection_window=50_000_000,
        max_connection_window=50_000_000,
        stream_window=4096,
        mtu=1350,
        server_name="example.org",
        ciphers=("TLS_CHACHA20_POLY1305_SHA256",),
        initial_rtt=0.05,
        max_datagram_frame_size=1000,
        versions=("v1", "v2"),
        initial_version="v2",
        insecure=True,
        write_buffer=1 << 30,
    )


def test_defaults() -> None:
    config = client_config(configuration())
    assert (config.congestion, config.idle_timeout) == ("newreno", 60)
    assert config.max_datagram_frame_size == 0
    assert config.mtu == Config().mtu
    assert config.ca is None
    assert not config.insecure
    assert client_config(configuration(idle_timeout=0)).idle_timeout == 0


def test_servers(files: Any) -> None:
    config = server_config(server(files), tickets=False, retry=False)
    assert (config.resumption, config.early_data, config.retry) == (False, False, "when-busy")
    config = server_config(server(files), tickets=True, retry=True)
    assert (config.resumption, config.early_data, config.retry) == (True, True, "always")
    asking = server(files, verify_mode=ssl.CERT_REQUIRED, cafile=files.ca)
    config = server_config(asking, tickets=False, retry=False)
    assert (config.client_auth, config.client_ca) == ("required", Path(files.ca).read_bytes())
    assert client_config(configuration(cafile=files.ca)).ca == Path(files.ca).read_bytes()


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({"congestion_control_algorithm": "vegas"}, "must be of reno, cubic"),
        ({"max_datagram_size": 1000}, "at least 1200"),
        ({"supported_versions": [0x0A0A0A0A]}, "neither"),
        ({"is_client": False}, "of a server"),
        ({"certificate": b"x"}, "private_key is missing"),
        ({"idle_timeout": -1}, "idle_timeout"),
        ({"supported_versions": [1], "original_version": 0x6B3343CF}, "initial_version"),
    ],
)
def test_what_cannot_be(settings: dict[str, Any], text: str) -> None:
    with pytest.raises(ConfigError, match=text):
        client_config(configuration(**settings))


def test_what_a_server_cannot_be(files: Any) -> None:
    for wrong, text in (
        (configuration(is_client=False), "needs a certificate"),
        (configuration(), "of a client"),
        (server(files, token=b"x"), "only for clients"),
    ):
        with pytest.raises(ConfigError, match=text):
            server_config(wrong, tickets=False, retry=False)


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({"alpn_protocols": None}, "application protocol"),
        ({"quic_logger": object()}, "quic_logger"),
        ({"original_version": 0x0A0A0A0A}, "original_version"),
        ({"quantum_readiness_test": True}, "quantum_readiness_test"),
        ({"secrets_log_file": io.StringIO()}, "files that have a name"),
        ({"secrets_log_file": sys.__stdout__}, "files that have a name"),
    ],
)
def test_what_is_not_had_is_told(settings: dict[str, Any], text: str) -> None:
    with pytest.warns(UserWarning, match=text):
        config = client_config(configuration(**settings))
    assert config.keylog is None
    if "alpn_protocols" in settings:
        assert config.alpn == (NO_ALPN,)


def test_certificates_of_all_kinds(tmp_path: Path, authority: trustme.CA, files: Any) -> None:
    leaf = authority.issue_cert("localhost")
    (chain,) = (c.bytes() for c in leaf.cert_chain_pems)
    key = serialization.load_pem_private_key(leaf.private_key_pem.bytes(), None)
    encrypted = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(b"secret"),
    )
    both = tmp_path / "both.pem"
    both.write_bytes(leaf.private_key_pem.bytes() + chain + authority.cert_pem.bytes())
    locked = tmp_path / "locked.pem"
    locked.write_bytes(encrypted)
    certificate = tmp_path / "cert.pem"
    certificate.write_bytes(chain)

    in_one = configuration(is_client=False)
    in_one.load_cert_chain(both)
    assert len(in_one.certificate_chain) == 1
    opened = configuration(is_client=False)
    opened.load_cert_chain(certificate, locked, password="secret")
    objects = configuration(
        is_client=False, certificate=x509.load_pem_x509_certificate(chain), private_key=key
    )
    for made in (in_one, opened, objects):
        # The engine reads it.
        assert server_config(made, tickets=False, retry=False)._server_tls
    with pytest.raises(ConfigError, match="password"):
        opened.load_cert_chain(certificate, locked)
    with pytest.raises(ConfigError, match="no certificate"):
        opened.load_cert_chain(locked)
    with pytest.raises(OSError, match="missing"):
        opened.load_cert_chain(tmp_path / "missing")


def test_authorities_from_everywhere(tmp_path: Path, files: Any) -> None:
    (tmp_path / "a.pem").write_bytes(b"A")
    (tmp_path / "b.pem").write_bytes(b"B")
    made = configuration()
    made.load_verify_locations(cafile=files.ca, capath=str(tmp_path), cadata=b"C")
    pem = Path(files.ca).read_bytes()
    assert client_config(made).ca == b"\n".join((b"C", pem, b"A", b"B"))


def test_copies(files: Any) -> None:
    made = server(files)
    assert dataclasses.replace(made, idle_timeout=1).certificate == made.certificate
