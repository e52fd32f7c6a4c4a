"""What a test case needs on disk: files to serve and certificates."""

from __future__ import annotations

import datetime
import hashlib
import random
import string
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

NAMES = ("localhost", "server", "server4", "server6", "server46")
ADDRESSES = ("127.0.0.1", "127.0.0.2", "::1")
# Host names that make each certificate of a long chain big: nine of them carry more than 7,500
# bytes.
PADDING_NAMES = 24


@dataclass(frozen=True)
class Folders:
    """The folders of one run."""

    root: Path

    def __post_init__(self) -> None:
        for folder in (self.www, self.downloads, self.certs, self.client_qlog, self.server_qlog):
            folder.mkdir(parents=True, exist_ok=True)

    @property
    def www(self) -> Path:
        """What the server serves."""
        return self.root / "www"

    @property
    def downloads(self) -> Path:
        """Where the client puts what it got."""
        return self.root / "downloads"

    @property
    def certs(self) -> Path:
        """cert.pem, priv.key, ca.pem."""
        return self.root / "certs"

    @property
    def client_qlog(self) -> Path:
        """The client's qlog files."""
        return self.root / "client-qlog"

    @property
    def server_qlog(self) -> Path:
        """The server's qlog files."""
        return self.root / "server-qlog"

    @property
    def keylogs(self) -> tuple[Path, Path]:
        """The client's and the server's TLS secrets."""
        return self.root / "client.keys", self.root / "server.keys"


def make_files(folder: Path, sizes: list[int], name_length: int, seed: str) -> list[str]:
    """Files of these sizes with random content; the same seed gives the same files."""
    source = random.Random(seed)
    names = []
    for size in sizes:
        name = "".join(source.choices(string.ascii_lowercase + string.digits, k=name_length))
        (folder / name).write_bytes(source.randbytes(size))
        names.append(name)
    return names


def compare(www: Path, downloads: Path) -> str | None:
    """Why the downloads are not exactly the served files, or None."""
    wanted = {path.name: path for path in www.iterdir()}
    got = {path.name: path for path in downloads.iterdir()}
    if missing := wanted.keys() - got.keys():
        return f"{len(missing)} of {len(wanted)} files missing"
    if extra := got.keys() - wanted.keys():
        return f"{len(extra)} files nobody asked for"
    for name, path in wanted.items():
        if digest(path) != digest(got[name]):
            return f"{name[:12]} differs: {got[name].stat().st_size} of {path.stat().st_size} bytes"
    return None


def digest(path: Path) -> str:
    """SHA-256 of a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def make_certificates(folder: Path, chain: int) -> None:
    """cert.pem with `chain` certificates, leaf first, its key, and the root in ca.pem."""
    issuer_key = ec.generate_private_key(ec.SECP256R1())
    issuer = _certificate("Interop Root CA", issuer_key, None, ca=True, padding=0)
    _write(folder / "ca.pem", [issuer])
    certificates: list[x509.Certificate] = []
    for depth in range(chain - 1):
        key = ec.generate_private_key(ec.SECP256R1())
        name = f"Interop Intermediate {depth}"
        issuer = _certificate(name, key, (issuer, issuer_key), ca=True, padding=PADDING_NAMES)
        issuer_key = key
        certificates.insert(0, issuer)
    key = ec.generate_private_key(ec.SECP256R1())
    padding = PADDING_NAMES if chain > 1 else 0
    leaf = _certificate("server", key, (issuer, issuer_key), ca=False, padding=padding)
    _write(folder / "cert.pem", [leaf, *certificates])
    pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    (folder / "priv.key").write_bytes(pem)


def _certificate(
    name: str,
    key: ec.EllipticCurvePrivateKey,
    issuer: tuple[x509.Certificate, ec.EllipticCurvePrivateKey] | None,
    *,
    ca: bool,
    padding: int,
) -> x509.Certificate:
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    parent, signing_key = issuer or (None, key)
    now = datetime.datetime.now(datetime.UTC)
    names: list[x509.GeneralName] = []
    if not ca:
        names += [x509.DNSName(host) for host in NAMES]
        names += [x509.IPAddress(ip_address(address)) for address in ADDRESSES]
    names += [x509.DNSName(f"padding-{i:02}.of-the-chain.example") for i in range(padding)]
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(parent.subject if parent else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(days=7))
        .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(signing_key.public_key()),
            critical=False,
        )
    )
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    return builder.sign(signing_key, hashes.SHA256())


def _write(path: Path, certificates: list[x509.Certificate]) -> None:
    path.write_bytes(b"".join(c.public_bytes(serialization.Encoding.PEM) for c in certificates))
