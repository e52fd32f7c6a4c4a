"""ngtcp2's programs for GnuTLS, as Debian has them, called the way the test case asks.

They speak HTTP/3 only. The server writes no files and the client no key log of its own accord:
GnuTLS does it by SSLKEYLOGFILE.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from urllib.parse import urlsplit

EXIT_UNSUPPORTED = 127
CHACHA20 = "NORMAL:-VERS-ALL:+VERS-TLS1.3:-CIPHER-ALL:+CHACHA20-POLY1305"
# Both programs know these without further ado; `multiconnect` is one client after the other.
PLAIN = {"handshake", "transfer", "chacha20", "ecn", "http3"}
CLIENT = PLAIN | {
    "retry", "resumption", "zerortt", "keyupdate", "multiconnect", "clientmigration",
    "connectionmigration",
}  # fmt: skip
SERVER = PLAIN | {
    "retry", "resumption", "zerortt", "keyupdate", "multiconnect", "clientmigration",
    "connectionmigration",
}  # fmt: skip


def setting(name: str, fallback: str) -> str:
    """An environment variable, or the place where quic-interop-runner mounts the thing."""
    return os.environ.get(name) or fallback


def program(name: str) -> str:
    """Its path; Debian puts servers where users do not look."""
    path = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin"])
    return shutil.which(name, path=path) or name


def run_client(testcase: str, urls: list[str], state: Path) -> int:
    """One connection for these URLs; `state` keeps what the next one resumes with."""
    first = urlsplit(urls[0])
    command = [
        program("gtlsclient"), "--quiet", "--no-quic-dump", "--no-http-dump",
        "--exit-on-all-streams-close", "--timeout=60s", "--handshake-timeout=60s",
        f"--download={setting('DOWNLOADS', '/downloads')}",
        f"--qlog-dir={setting('QLOGDIR', tempfile.gettempdir())}",
        f"--session-file={state / 'session'}", f"--tp-file={state / 'parameters'}",
        "--max-data=16M", "--max-stream-data-bidi-local=16M",
    ]  # fmt: skip
    if testcase == "chacha20":
        command.append(f"--ciphers={CHACHA20}")
    if testcase != "zerortt":
        command.append("--disable-early-data")
    if testcase == "keyupdate":
        command.append("--key-update=10ms")
    if testcase == "clientmigration":
        command.append("--change-local-addr=20ms")
    command += [first.hostname or "", str(first.port or 443), *urls]
    return subprocess.run(command, check=False).returncode


def client(testcase: str) -> int:
    """Downloads REQUESTS."""
    urls = setting("REQUESTS", "").split()
    with tempfile.TemporaryDirectory() as folder:
        state = Path(folder)
        if testcase == "multiconnect":
            parts = [[url] for url in urls]
        elif testcase in ("resumption", "zerortt"):
            parts = [urls[:1], urls[1:]]
        else:
            parts = [urls]
        for part in parts:
            if testcase == "multiconnect":
                (state / "session").unlink(missing_ok=True)
            if status := run_client(testcase, part, state):
                return status
    missing = [u for u in urls if not (Path(setting("DOWNLOADS", "/downloads")) / Path(urlsplit(u).path).name).exists()]
    if missing:
        print(f"ngtcp2: {len(missing)} files did not come", file=sys.stderr)
    return bool(missing)


def server(testcase: str) -> int:
    """Serves until SIGTERM."""
    certs = Path(setting("CERTS", "/certs"))
    port = setting("PORT", "443")
    command = [
        program("gtlsserver"), "--quiet", "--no-quic-dump", "--no-http-dump", "--timeout=60s",
        "--handshake-timeout=60s", f"--htdocs={setting('WWW', '/www')}",
        f"--qlog-dir={setting('QLOGDIR', tempfile.gettempdir())}",
    ]  # fmt: skip
    if testcase == "retry":
        command.append("--validate-addr")
    if testcase == "connectionmigration":
        preferred = setting("PREFERRED_V4", f"127.0.0.1:{int(port) + 1}")
        command.append(f"--preferred-ipv4-addr={preferred}")
    command += [setting("HOST", "*"), port, str(certs / "priv.key"), str(certs / "cert.pem")]
    process = subprocess.Popen(command)
    signal.signal(signal.SIGTERM, lambda *_: process.terminate())
    return process.wait()


def main() -> int:
    """The exit status."""
    role, testcase = setting("ROLE", ""), setting("TESTCASE", "")
    if testcase not in (CLIENT if role == "client" else SERVER):
        print(f"ngtcp2: unsupported: {role}, test case {testcase}", file=sys.stderr)
        return EXIT_UNSUPPORTED
    return client(testcase) if role == "client" else server(testcase)


if __name__ == "__main__":
    sys.exit(main())
