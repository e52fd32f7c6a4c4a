"""TLS 1.3 as far as a rule-breaking peer needs it (RFC 8446): one cipher suite, one group, and no
checks of what the other end says."""

from __future__ import annotations

import hashlib
import hmac
import os
import struct
from collections.abc import Callable
from dataclasses import dataclass, field

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, EllipticCurvePrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key

from ..interop.dissect.frames import Reader
from ..interop.dissect.keys import AES_128_GCM_SHA256

CLIENT_HELLO, SERVER_HELLO, NEW_SESSION_TICKET, END_OF_EARLY_DATA = 1, 2, 4, 5
ENCRYPTED_EXTENSIONS, CERTIFICATE, CERTIFICATE_REQUEST, CERTIFICATE_VERIFY = 8, 11, 13, 15
FINISHED, KEY_UPDATE = 20, 24
QUIC_TRANSPORT_PARAMETERS = 57
X25519, ECDSA_P256, RSA_PSS = 29, 0x0403, 0x0804

EARLY, INITIAL, HANDSHAKE, ONE_RTT = "0rtt", "initial", "handshake", "1rtt"


def message(kind: int, body: bytes = b"") -> bytes:
    """A handshake message."""
    return bytes([kind]) + len(body).to_bytes(3) + body


def vector(size: int, body: bytes) -> bytes:
    """Bytes behind their length of `size` bytes."""
    return len(body).to_bytes(size) + body


def extension(kind: int, body: bytes) -> bytes:
    """One extension."""
    return struct.pack("!H", kind) + vector(2, body)


def expand(secret: bytes, label: str, context: bytes, length: int = 32) -> bytes:
    """HKDF-Expand-Label (section 7.1); at most 32 bytes."""
    info = struct.pack("!H", length) + vector(1, b"tls13 " + label.encode()) + vector(1, context)
    return hmac.digest(secret, info + b"\1", "sha256")[:length]


def extract(salt: bytes, secret: bytes) -> bytes:
    """HKDF-Extract."""
    return hmac.digest(salt, secret, "sha256")


@dataclass(frozen=True)
class Identity:
    """A server's certificates and key, PEM."""

    chain: bytes
    key: bytes


@dataclass(frozen=True)
class Ticket:
    """What resumes a session."""

    ticket: bytes
    secret: bytes
    age_add: int


@dataclass
class Script:
    """What is said in the handshake, and how it is spoilt."""

    parameters: bytes = b""
    # None: the extension is left out.
    parameters_type: int | None = QUIC_TRANSPORT_PARAMETERS
    alpn: bytes | None = b"h3"
    server_name: bytes = b"localhost"
    ticket: Ticket | None = None
    # Changes a message before it is sent; both ends see what is left.
    rewrite: Callable[[int, bytes], bytes] = field(default=lambda kind, data: data)


class Session:
    """One handshake; `out` is what it wants sent, by encryption level, `secrets` the traffic
    secrets by level and whether they are the client's."""

    def __init__(self, script: Script, identity: Identity | None = None) -> None:
        self.script = script
        self.identity = identity
        self.is_client = identity is None
        self.out: dict[str, bytes] = {INITIAL: b"", HANDSHAKE: b"", ONE_RTT: b""}
        self.secrets: dict[tuple[str, bool], bytes] = {}
        self.complete = False
        self.tickets: list[Ticket] = []
        self._transcript = b""
        self._private = X25519PrivateKey.generate()
        psk = script.ticket.secret if script.ticket else bytes(32)
        self._early = extract(bytes(32), psk)
        self._resumption = b""
        if self.is_client:
            self._hello()

    def receive(self, kind: int, body: bytes) -> None:
        """Takes one message of the other end."""
        data = message(kind, body)
        if kind == NEW_SESSION_TICKET:
            self._ticket(body)
            return
        if kind == FINISHED and self.is_client:
            self._transcript += data
            self._finish_client()
            return
        self._transcript += data
        if kind == SERVER_HELLO:
            reader = Reader(body)
            reader.take(34)
            reader.opaque(1)
            reader.take(3)
            extensions = self._extensions(reader)
            if 41 not in extensions:
                # The ticket was not taken.
                self._early = extract(bytes(32), bytes(32))
            self._handshake_secrets(extensions[51][4:])
        elif kind == CLIENT_HELLO:
            self._answer(body)
        elif kind == FINISHED:
            self.complete = True

    # ---- The client ----

    def _hello(self) -> None:
        script = self.script
        extensions = [
            extension(0, vector(2, b"\0" + vector(2, script.server_name))),
            extension(10, vector(2, struct.pack("!H", X25519))),
            extension(13, vector(2, struct.pack("!HH", ECDSA_P256, RSA_PSS))),
            extension(43, vector(1, b"\3\4")),
            extension(45, vector(1, b"\1")),
            extension(51, vector(2, struct.pack("!H", X25519) + vector(2, self._share()))),
            *self._quic_extensions(),
        ]
        if script.ticket is not None:
            extensions.append(extension(42, b""))
            # The age of a ticket that was just given is what obfuscates it.
            identity = vector(2, script.ticket.ticket) + struct.pack("!I", script.ticket.age_add)
            binders = vector(2, vector(1, bytes(32)))
            extensions.append(extension(41, vector(2, identity) + binders))
        body = (
            b"\3\3" + os.urandom(32) + vector(1, b"")
            + vector(2, struct.pack("!H", AES_128_GCM_SHA256)) + vector(1, b"\0")
            + vector(2, b"".join(extensions))
        )  # fmt: skip
        hello = message(CLIENT_HELLO, body)
        if script.ticket is not None:
            # Section 4.2.11.2: the binder covers everything before the binders.
            key = self._derive(self._early, "res binder", b"")
            digest = hashlib.sha256(hello[:-35]).digest()
            hello = hello[:-32] + hmac.digest(expand(key, "finished", b""), digest, "sha256")
        self._send(INITIAL, CLIENT_HELLO, hello)
        if script.ticket is not None:
            secret = self._derive(self._early, "c e traffic", self._transcript)
            self.secrets[EARLY, True] = secret

    def _finish_client(self) -> None:
        self._application_secrets()
        base = self.secrets[HANDSHAKE, True]
        self._send(HANDSHAKE, FINISHED, message(FINISHED, self._verify_data(base)))
        self._resumption = self._derive(self._master, "res master", self._transcript)
        self.complete = True

    def _ticket(self, body: bytes) -> None:
        reader = Reader(body)
        reader.take(4)
        age_add, nonce, ticket = reader.uint(4), reader.opaque(1), reader.opaque(2)
        secret = expand(self._resumption, "resumption", nonce)
        self.tickets.append(Ticket(ticket, secret, age_add))

    # ---- The server ----

    def _answer(self, body: bytes) -> None:
        assert self.identity is not None
        reader = Reader(body)
        reader.take(34)
        session = reader.opaque(1)
        reader.opaque(2)
        reader.opaque(1)
        shares = Reader(Reader(self._extensions(reader)[51]).opaque(2))
        offered = {}
        while shares.left:
            group = shares.uint(2)
            offered[group] = shares.opaque(2)
        share = struct.pack("!H", X25519) + vector(2, self._share())
        hello = (
            b"\3\3" + os.urandom(32) + vector(1, session)
            + struct.pack("!HB", AES_128_GCM_SHA256, 0)
            + vector(2, extension(43, b"\3\4") + extension(51, share))
        )  # fmt: skip
        self._send(INITIAL, SERVER_HELLO, message(SERVER_HELLO, hello))
        self._handshake_secrets(offered[X25519])
        extensions = vector(2, b"".join(self._quic_extensions()))
        self._send(HANDSHAKE, ENCRYPTED_EXTENSIONS, message(ENCRYPTED_EXTENSIONS, extensions))
        chain = x509.load_pem_x509_certificates(self.identity.chain)
        entries = b"".join(
            vector(3, one.public_bytes(Encoding.DER)) + vector(2, b"") for one in chain
        )
        self._send(HANDSHAKE, CERTIFICATE, message(CERTIFICATE, b"\0" + vector(3, entries)))
        self._send(HANDSHAKE, CERTIFICATE_VERIFY, message(CERTIFICATE_VERIFY, self._signature()))
        base = self.secrets[HANDSHAKE, False]
        self._send(HANDSHAKE, FINISHED, message(FINISHED, self._verify_data(base)))
        self._application_secrets()

    def _signature(self) -> bytes:
        assert self.identity is not None
        key = load_pem_private_key(self.identity.key, None)
        assert isinstance(key, EllipticCurvePrivateKey)
        digest = hashlib.sha256(self._transcript).digest()
        signed = b" " * 64 + b"TLS 1.3, server CertificateVerify\0" + digest
        signature = key.sign(signed, ECDSA(hashes.SHA256()))
        return struct.pack("!H", ECDSA_P256) + vector(2, signature)

    # ---- Both ----

    def _quic_extensions(self) -> list[bytes]:
        script = self.script
        found = []
        if script.alpn is not None:
            found.append(extension(16, vector(2, vector(1, script.alpn))))
        if script.parameters_type is not None:
            found.append(extension(script.parameters_type, script.parameters))
        return found

    def _send(self, level: str, kind: int, data: bytes) -> None:
        data = self.script.rewrite(kind, data)
        self._transcript += data
        self.out[level] += data

    def _share(self) -> bytes:
        return self._private.public_key().public_bytes_raw()

    @staticmethod
    def _extensions(reader: Reader) -> dict[int, bytes]:
        inner = Reader(reader.opaque(2))
        found = {}
        while inner.left:
            kind = inner.uint(2)
            found[kind] = inner.opaque(2)
        return found

    @staticmethod
    def _derive(secret: bytes, label: str, transcript: bytes) -> bytes:
        return expand(secret, label, hashlib.sha256(transcript).digest())

    def _handshake_secrets(self, share: bytes) -> None:
        shared = self._private.exchange(X25519PublicKey.from_public_bytes(share))
        secret = extract(self._derive(self._early, "derived", b""), shared)
        for client, label in ((True, "c hs traffic"), (False, "s hs traffic")):
            self.secrets[HANDSHAKE, client] = self._derive(secret, label, self._transcript)
        self._master = extract(self._derive(secret, "derived", b""), bytes(32))

    def _application_secrets(self) -> None:
        for client, label in ((True, "c ap traffic"), (False, "s ap traffic")):
            self.secrets[ONE_RTT, client] = self._derive(self._master, label, self._transcript)

    def _verify_data(self, base: bytes) -> bytes:
        digest = hashlib.sha256(self._transcript).digest()
        return hmac.digest(expand(base, "finished", b""), digest, "sha256")
