"""Packet protection of QUIC versions 1 and 2: RFC 9001 section 5, RFC 9369 section 3.3."""

from __future__ import annotations

import hmac
import struct
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers import Cipher, CipherContext, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM, ChaCha20Poly1305

VERSION_1 = 0x00000001
VERSION_2 = 0x6B3343CF
SALTS = {
    VERSION_1: bytes.fromhex("38762cf7f55934b34d179ae6a4c80cadccbb7f0a"),
    VERSION_2: bytes.fromhex("0dede3def700a6db819381be6e269dcbf9bd2ed9"),
}
LABELS = {VERSION_1: "quic ", VERSION_2: "quicv2 "}

AES_128_GCM_SHA256 = 0x1301
AES_256_GCM_SHA384 = 0x1302
CHACHA20_POLY1305_SHA256 = 0x1303
# Cipher suite to (hash, key length).
SUITES = {
    AES_128_GCM_SHA256: ("sha256", 16),
    AES_256_GCM_SHA384: ("sha384", 32),
    CHACHA20_POLY1305_SHA256: ("sha256", 32),
}

Secrets = dict[bytes, dict[str, bytes]]


def expand_label(secret: bytes, label: str, length: int, digest: str) -> bytes:
    """HKDF-Expand-Label of TLS 1.3 with an empty context (RFC 8446 section 7.1)."""
    name = b"tls13 " + label.encode()
    info = struct.pack("!HB", length, len(name)) + name + b"\0"
    block, output = b"", b""
    for counter in range(1, 256):
        if len(output) >= length:
            break
        block = hmac.digest(secret, block + info + bytes([counter]), digest)
        output += block
    return output[:length]


class PacketKeys:
    """Keys of one direction at one encryption level and key generation."""

    def __init__(
        self, secret: bytes, suite: int, version: int, header_key: bytes | None = None
    ) -> None:
        self.secret, self.suite, self.version = secret, suite, version
        self._digest, length = SUITES[suite]
        prefix = LABELS[version]
        key = expand_label(secret, prefix + "key", length, self._digest)
        self._iv = expand_label(secret, prefix + "iv", 12, self._digest)
        self._header_key = header_key or expand_label(secret, prefix + "hp", length, self._digest)
        self._aead = ChaCha20Poly1305(key) if suite == CHACHA20_POLY1305_SHA256 else AESGCM(key)

    @cached_property
    def _block_cipher(self) -> CipherContext:
        return Cipher(algorithms.AES(self._header_key), modes.ECB()).encryptor()

    def mask(self, sample: bytes) -> bytes:
        """Header protection mask of a 16-byte sample (RFC 9001 section 5.4)."""
        if self.suite == CHACHA20_POLY1305_SHA256:
            cipher = Cipher(algorithms.ChaCha20(self._header_key, sample), None).encryptor()
            return cipher.update(bytes(5))
        return self._block_cipher.update(sample)[:5]

    def open(self, header: bytes, number: int, sealed: bytes) -> bytes | None:
        """The plaintext, or None when the tag does not hold."""
        nonce = (int.from_bytes(self._iv) ^ number).to_bytes(12)
        try:
            return self._aead.decrypt(nonce, sealed, header)
        except InvalidTag:
            return None

    def updated(self) -> PacketKeys:
        """The next key generation; the header protection key stays (RFC 9001 section 6.1)."""
        label = LABELS[self.version] + "ku"
        secret = expand_label(self.secret, label, len(self.secret), self._digest)
        return PacketKeys(secret, self.suite, self.version, self._header_key)


def initial_keys(destination: bytes, version: int, *, client: bool) -> PacketKeys:
    """Keys of Initial packets, from the client's first destination connection ID."""
    secret = hmac.digest(SALTS[version], destination, "sha256")
    label = "client in" if client else "server in"
    return PacketKeys(expand_label(secret, label, 32, "sha256"), AES_128_GCM_SHA256, version)


def candidates(secret: bytes, version: int) -> Iterator[PacketKeys]:
    """Keys of every cipher suite that a secret of this length may belong to."""
    for suite, (digest, _) in SUITES.items():
        if hmac.new(b"", b"", digest).digest_size == len(secret):
            yield PacketKeys(secret, suite, version)


def read_keylog(paths: list[Path]) -> Secrets:
    """Secrets by client random and label, from files in the format of NSS key logs."""
    secrets: Secrets = {}
    for path in paths:
        if not path.exists():
            continue
        for line in path.read_text().splitlines():
            parts = line.split()
            if len(parts) == 3 and not line.startswith("#"):
                label, random, secret = parts
                secrets.setdefault(bytes.fromhex(random), {})[label] = bytes.fromhex(secret)
    return secrets
