"""Whom tquic is compared with, and how each is started."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from compare.works import Work

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
# Everything that is built for the comparison.
BUILT = ROOT / "target" / "compare"
RUST = BUILT / "rust" / "release"
GO = BUILT / "bin" / "compare-go"
TQUIC = ROOT / ".venv" / "bin" / "tquic"

Family = Literal["tquic", "native", "python", "reference"]

TQUIC_SERVER = (str(TQUIC), *["perf", "server", "--json", "--host", "127.0.0.1", "--port", "0"])

# Polling instead of sleeping, which is off by default.
SPIN = ("--spin", "1ms")

# The windows, the cipher suite and the key-exchange group that every driver sets.
TQUIC_SETTINGS = {
    "TQUIC_STREAM_WINDOW": "16Mi",
    "TQUIC_MAX_STREAM_WINDOW": "16Mi",
    "TQUIC_CONNECTION_WINDOW": "32Mi",
    "TQUIC_MAX_CONNECTION_WINDOW": "32Mi",
    "TQUIC_IDLE_TIMEOUT": "120s",
    "TQUIC_CIPHERS": "TLS_AES_128_GCM_SHA256",
    "TQUIC_GROUPS": "x25519",
}


@dataclass(frozen=True)
class Files:
    """The certificates of a session."""

    ca: Path
    cert: Path
    key: Path


@dataclass(frozen=True)
class Peer:
    """One stack, or one way to use it."""

    name: str
    family: Family
    # The server and the client, without what the harness adds.
    server: tuple[str, ...]
    client: tuple[str, ...]
    # What is built for it: crates, `go`, Python environments, or `tquic`.
    builds: tuple[str, ...]
    # Its client takes the options of `tquic perf` instead of those of the drivers.
    is_cli: bool = False
    # The works it can do, by kind, and why it cannot do others.
    kinds: frozenset[str] = frozenset({"bulk", "requests", "handshakes", "datagrams", "idle"})
    cannot: Callable[[Work], str | None] = lambda _: None
    # A client of its own for idle connections.
    idle_client: tuple[str, ...] = ()
    # How much of a work it is given.
    share: float = 1.0
    # Settings of the environment.
    environment: dict[str, str] = field(default_factory=dict)
    # Crates, modules or packages whose versions are reported.
    versions: tuple[str, ...] = ()
    # What is not as it is for the others.
    remark: str = ""

    def why_not(self, work: Work) -> str | None:
        """Why it does not do some work; `None` if it does."""
        if work.kind not in self.kinds:
            return f"its driver has no {work.kind}"
        return self.cannot(work)

    def server_command(self, files: Files) -> list[str]:
        """The whole command of the server."""
        return [*self.server, "--cert", str(files.cert), "--key", str(files.key)]

    def client_command(self, work: Work, address: str, files: Files) -> list[str]:
        """The whole command of the client."""
        client = self.idle_client if work.kind == "idle" and self.idle_client else self.client
        if self.is_cli and client is self.client:
            return [*self.client, address, "--cacert", str(files.ca), "--json", *cli_options(work)]
        options = [f"--{name}={value}" for name, value in work.options.items()]
        split = [part for option in options for part in option.split("=", 1)]
        head = ["--to", address, "--ca", str(files.ca), "--work", work.kind]
        return [*client, *head, *split]


def cli_options(work: Work) -> list[str]:
    """A work as `tquic perf client` reads it."""
    number = work.number
    if work.kind == "bulk":
        amounts = [
            part
            for name in ("download", "upload")
            if number(name)
            for part in (f"--{name}", str(number(name)))
        ]
        return [*amounts, "--streams", str(number("streams"))]
    if work.kind == "requests":
        # There every connection does all of it.
        connections = max(number("connections"), 1)
        counts = {"requests": number("requests") // connections, "connections": connections}
        counts |= {name: number(name) for name in ("inflight", "response")}
        return [part for name, value in counts.items() for part in (f"--{name}", str(value))]
    if work.kind == "handshakes":
        kinds = {"full": [], "resumed": ["--resume"], "0rtt": ["--0rtt"]}
        kinds["first-byte"] = ["--first-byte"]
        return ["--handshakes", str(number("count")), *kinds[str(work.options["kind"])]]
    if work.kind == "datagrams":
        return ["--datagrams", str(number("count")), "--size", str(number("size"))]
    raise ValueError(f"tquic perf has no {work.kind}")


def _rust(
    name: str,
    versions: tuple[str, ...],
    remark: str = "",
    cannot: Callable[[Work], str | None] = lambda _: None,
) -> Peer:
    program = str(RUST / f"compare-{name}")
    return Peer(
        name,
        "native",
        (program, "server"),
        (program, "client"),
        (name,),
        versions=versions,
        remark=remark,
        cannot=cannot,
    )


def _ceiling(name: str, mode: str, kinds: set[str], remark: str) -> Peer:
    program = str(RUST / "compare-ceiling")
    return Peer(
        name,
        "reference",
        (program, mode, "server"),
        (program, mode, "client"),
        ("ceiling",),
        kinds=frozenset(kinds),
        cannot=_without_protocol,
        remark=remark,
    )


def _go(name: str, mode: str, family: Family) -> Peer:
    return Peer(name, family, (str(GO), mode, "server"), (str(GO), mode, "client"), ("go",))


def _python(name: str, version: str, share: float, remark: str) -> Peer:
    python = str(BUILT / f"python{version}" / "bin" / "python")
    driver = str(HERE / "python" / f"{name}_driver.py")
    return Peer(
        name,
        "python",
        (python, driver, "server"),
        (python, driver, "client"),
        (f"python{version}",),
        kinds=frozenset({"bulk", "requests", "handshakes"}),
        cannot=_full_only,
        share=share,
        versions=(name,),
        remark=remark,
    )


def _full_only(work: Work) -> str | None:
    if work.kind == "handshakes" and work.options["kind"] in {"resumed", "0rtt"}:
        return "its driver resumes no sessions"
    if work.number("connections") > 1:
        return "its driver has one connection"
    return None


def _without_protocol(work: Work) -> str | None:
    one = work.number("streams") <= 1 and work.number("inflight") <= 1
    if not one or work.link or work.number("connections") > 1:
        return "there are no streams and no connections without a protocol"
    return None


def _tcp(work: Work) -> str | None:
    if work.number("streams") > 1:
        return "TCP has no streams"
    if work.options.get("kind") == "0rtt":
        return "crypto/tls sends no early data over TCP"
    if work.link:
        return "the relay carries UDP"
    if work.number("connections") > 1:
        return "its driver has one connection"
    return None


def _s2n(work: Work) -> str | None:
    if work.options.get("kind") in {"resumed", "0rtt"}:
        return "s2n-quic resumes no sessions without its unstable features"
    if work.kind == "datagrams":
        return "s2n-quic has no datagrams without its unstable features"
    return None


def _msquic(work: Work) -> str | None:
    if work.options.get("kind") == "0rtt":
        return "msquic does not tell the client whether early data was accepted"
    if work.number("connections") > 1:
        return "its driver gives every connection a socket and a number of threads"
    return None


def _asyncio(work: Work) -> str | None:
    if work.number("connections") > 1:
        return "its client has one connection"
    return None


PEERS: tuple[Peer, ...] = (
    Peer(
        "tquic",
        "tquic",
        TQUIC_SERVER,
        (str(TQUIC), "perf", "client"),
        ("tquic",),
        is_cli=True,
        idle_client=(
            str(TQUIC.parent / "python"),
            str(HERE / "python" / "tquic_idle.py"),
            "client",
        ),
        environment=TQUIC_SETTINGS,
        versions=("tquic",),
    ),
    Peer(
        "tquic-asyncio",
        "tquic",
        TQUIC_SERVER,
        (str(TQUIC), "perf", "client", "--api", "asyncio"),
        ("tquic",),
        is_cli=True,
        kinds=frozenset({"bulk", "requests"}),
        cannot=_asyncio,
        environment=TQUIC_SETTINGS,
        versions=("tquic",),
        remark="client through the asyncio API, native server",
    ),
    Peer(
        "tquic-spin",
        "tquic",
        (*TQUIC_SERVER, *SPIN),
        (str(TQUIC), "perf", "client", *SPIN),
        ("tquic",),
        is_cli=True,
        kinds=frozenset({"requests"}),
        environment=TQUIC_SETTINGS,
        versions=("tquic",),
        remark="both ends poll for up to 1 ms before they sleep: `--spin 1ms`",
    ),
    _rust("quinn", ("quinn", "quinn-proto", "rustls", "ring")),
    _rust("noq", ("noq", "noq-proto", "rustls", "ring")),
    _rust("s2n-quic", ("s2n-quic", "aws-lc-rs"), "P-256 key exchange, its own choice", cannot=_s2n),
    _rust("quiche", ("quiche", "boring"), "in a loop of ours, trains of 44 packets"),
    _rust("msquic", ("msquic",), "no pacing, low-latency profile", cannot=_msquic),
    replace(
        _go("quic-go", "quic-go", "native"),
        versions=("github.com/quic-go/quic-go", "go"),
        remark="datagrams of 1452 bytes, the largest it takes",
    ),
    _python("aioquic", "3.11", 0.02, "a fiftieth of the work"),
    _python("qh3", "3.11", 0.05, "a twentieth of the work"),
    _python("aiopquic", "3.12", 0.1, "a tenth of the work; CPython 3.12"),
    replace(
        _go("tcp-tls", "tcp", "reference"),
        versions=("go",),
        kinds=frozenset({"bulk", "requests", "handshakes"}),
        cannot=_tcp,
        remark="Go's crypto/tls; segments of 64 KiB on the loopback",
    ),
    _ceiling(
        "raw-udp", "raw", {"bulk", "requests"}, "trains of 44 datagrams, no protection, no protocol"
    ),
    _ceiling("ceiling", "sealed", {"bulk"}, "the same, sealed and masked by tquic-crypto"),
)

# Who stands for tquic when others are compared with it.
SUBJECT = "tquic"


def select(names: list[str]) -> list[Peer]:
    """The peers of these names, or all; `a/b` is the client of `a` with the server of `b`."""
    if not names:
        return list(PEERS)
    known = {peer.name: peer for peer in PEERS}
    chosen = []
    for name in names:
        client, _, server = name.partition("/")
        for part in {client, server or client}:
            if part not in known:
                raise ValueError(f"no peer {part!r}; there are {', '.join(known)}")
        chosen.append(_pair(known[client], known[server]) if server else known[client])
    return chosen


def _pair(client: Peer, server: Peer) -> Peer:
    return replace(
        client,
        name=f"{client.name}/{server.name}",
        family="reference",
        server=server.server,
        builds=tuple(dict.fromkeys((*client.builds, *server.builds))),
        environment=client.environment | server.environment,
        share=min(client.share, server.share),
        cannot=lambda work: client.why_not(work) or server.why_not(work),
        versions=tuple(dict.fromkeys((*client.versions, *server.versions))),
        remark=f"client of {client.name}, server of {server.name}",
    )
