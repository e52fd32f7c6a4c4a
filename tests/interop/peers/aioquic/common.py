"""The environment contract and the settings both roles of the aioquic peer share."""

from __future__ import annotations

import os
import ssl
import sys
from pathlib import Path

from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.logger import QuicFileLogger
from aioquic.quic.packet import QuicProtocolVersion
from aioquic.tls import CipherSuite

EXIT_UNSUPPORTED = 127


class Unsupported(Exception):
    """aioquic cannot play this test case in this role."""


def setting(name: str, fallback: str) -> str:
    """An environment variable, or the place where quic-interop-runner mounts the thing."""
    return os.environ.get(name) or fallback


def configuration(*, is_client: bool, testcase: str) -> QuicConfiguration:
    """The QUIC configuration of a test case."""
    alpn = ["h3"] if testcase == "http3" else ["hq-interop"]
    config = QuicConfiguration(is_client=is_client, alpn_protocols=alpn)
    certs = Path(setting("CERTS", "/certs"))
    if is_client:
        config.load_verify_locations(cafile=str(certs / "ca.pem"))
        config.verify_mode = ssl.CERT_REQUIRED
    else:
        config.load_cert_chain(str(certs / "cert.pem"), str(certs / "priv.key"))
    if testcase == "chacha20":
        config.cipher_suites = [CipherSuite.CHACHA20_POLY1305_SHA256]
    if testcase == "v2":
        # The first Initial is version 1; listing version 2 first makes it the preferred one (RFC 9369 section 4).
        config.original_version = QuicProtocolVersion.VERSION_1
        config.supported_versions = [
            QuicProtocolVersion.VERSION_2,
            QuicProtocolVersion.VERSION_1,
        ]
    if keylog := os.environ.get("SSLKEYLOGFILE"):
        config.secrets_log_file = Path(keylog).open("a")  # noqa: SIM115 - lives as long as the process
    if qlog := os.environ.get("QLOGDIR"):
        config.quic_logger = QuicFileLogger(qlog)
    return config


def unsupported(error: Unsupported) -> int:
    """Says why, and gives the status quic-interop-runner expects."""
    print(f"aioquic: unsupported: {error}", file=sys.stderr)
    return EXIT_UNSUPPORTED
