"""Shows the engine at work, on this machine's loopback: ``demo.py [--size SIZE] [--time T]``.

Makes certificates, serves a large file, fetches it over QUIC and verifies it, measures with
``tquic perf``, and compares with what the machine carries as plain UDP. The commands are those that
anybody would type; they are printed before they run. Results go to ``reports/demo.json``, too.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tquic._engine import raw_udp_rate
from tquic.cli.values import argument, duration, show_size, size

REPORT = Path("reports/demo.json")
BLOCK = 8 << 20
# Free space that the file and its copy leave alone.
SPARE = 512 << 20
STOP_SECONDS = 10.0


@dataclass
class Row:
    """One line of the table."""

    what: str
    gbps: float
    packets_per_send_call: float | None = None
    packets_per_receive_call: float | None = None
    # Of both ends.
    cpu_seconds_per_gb: float | None = None


def tquic(*arguments: object) -> list[str]:
    """The command, shown."""
    print("$ tquic", *arguments, flush=True)
    return [sys.executable, "-m", "tquic", *map(str, arguments)]


@contextmanager
def server(*arguments: object) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A server and the address at which it listens."""
    process = subprocess.Popen(tquic(*arguments, "--port", 0), stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        line = process.stdout.readline().strip()
        if not line.startswith("listening on "):
            raise SystemExit(f"demo: the server did not start: {line}")
        print(line)
        yield process, line.removeprefix("listening on ")
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(STOP_SECONDS)
        process.stdout.close()


def client(process: subprocess.Popen[str], *arguments: object) -> tuple[dict[str, Any], float]:
    """A client's JSON, and the CPU seconds that it and the server took meanwhile."""
    before = cpu_seconds(process.pid)
    running = subprocess.Popen(tquic(*arguments, "--json"), stdout=subprocess.PIPE, text=True)
    assert running.stdout is not None
    text = running.stdout.read()
    _, status, usage = os.wait4(running.pid, 0)
    running.returncode = os.waitstatus_to_exitcode(status)
    running.stdout.close()
    if running.returncode:
        raise SystemExit(f"demo: the client failed: {text}")
    cpu = usage.ru_utime + usage.ru_stime + cpu_seconds(process.pid) - before
    return json.loads(text), cpu


def cpu_seconds(pid: int) -> float:
    """CPU time of a process so far; 0 where there is no /proc."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except FileNotFoundError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def make_file(path: Path, length: int) -> str:
    """A file without repetition that a disk or network could profit from; its SHA-256."""
    source, digest = random.Random(length), hashlib.sha256()
    block = bytearray(source.randbytes(BLOCK))
    with path.open("wb") as file:
        left = length
        while left:
            # Every block is another one, and made fast.
            block[:16] = source.randbytes(16)
            piece = memoryview(block)[: min(left, BLOCK)]
            file.write(piece)
            digest.update(piece)
            left -= len(piece)
    return digest.hexdigest()


def transfer(folder: Path, certs: Path, length: int) -> Row:
    """The file over QUIC."""
    www, copy = folder / "www", folder / "copy.bin"
    www.mkdir()
    digest = make_file(www / "large.bin", length)
    pair = ("--cert", certs / "cert.pem", "--key", certs / "key.pem")
    with server("serve", www, *pair) as (process, address):
        url = f"https://{address}/large.bin"
        result, cpu = client(
            process, "get", url, "-o", copy, "--sha256", digest, "--cacert", certs / "ca.pem"
        )
    (file,) = result["files"]
    if not file["verified"] or copy.stat().st_size != length:
        raise SystemExit(f"demo: the file did not arrive as it was: {file}")
    print(f"{show_size(length)} arrived in {file['seconds']:.2f} s, SHA-256 {digest} verified\n")
    copy.unlink()
    gbps = file["bytes"] * 8 / file["seconds"] / 1e9
    return Row("file over QUIC, SHA-256 verified", gbps, None, None, cpu / (file["bytes"] / 1e9))


def measure(certs: Path, seconds: float) -> list[Row]:
    """`tquic perf` both ways."""
    pair = ("--cert", certs / "cert.pem", "--key", certs / "key.pem")
    rows = []
    with server("perf", "server", *pair) as (process, address):
        trust = ("--cacert", certs / "ca.pem", "--duration", f"{seconds:g}s")
        for way, option in (("download", ()), ("upload", ("--upload", "1000G"))):
            report, cpu = client(process, "perf", "client", address, *option, *trust)
            if not report["verified"]:
                raise SystemExit(f"demo: the {way} was not as it should be: {report}")
            sent, received = report["packets_per_send_call"], report["packets_per_receive_call"]
            rows.append(
                Row(
                    f"tquic perf {way}, every byte verified",
                    report["gbps"],
                    # Of data: this client sends next to nothing but acknowledgements in a download.
                    sent if way == "upload" else None,
                    received if way == "download" else None,
                    cpu / (report["bytes"] / 1e9),
                )
            )
    print()
    return rows


def raw(seconds: float) -> Row:
    """Plain UDP, for comparison."""
    rate = raw_udp_rate(seconds)
    return Row(
        "plain UDP with GSO and GRO",
        rate["received_gbps"],
        rate["packets_per_send_call"],
        rate["packets_per_receive_call"],
    )


def table(rows: list[Row]) -> str:
    """The rows for people."""

    def cell(value: float | None, digits: int) -> str:
        return "" if value is None else f"{value:.{digits}f}"

    heads = ("", "Gbit/s", "packets/send", "packets/receive", "CPU s/GB")
    lines = [heads] + [
        (
            row.what,
            cell(row.gbps, 2),
            cell(row.packets_per_send_call, 1),
            cell(row.packets_per_receive_call, 1),
            cell(row.cpu_seconds_per_gb, 2),
        )
        for row in rows
    ]
    widths = [max(len(line[i]) for line in lines) for i in range(len(heads))]
    return "\n".join(
        "  ".join(text.ljust(w) if i == 0 else text.rjust(w) for i, (text, w) in enumerate(row))
        for row in (zip(line, widths, strict=True) for line in lines)
    )


def main() -> int:
    """Runs the demo."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", type=argument(size), default=1 << 30, metavar="SIZE")
    parser.add_argument("--time", type=argument(duration), default=3.0, metavar="TIME")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="tquic-demo-") as name:
        folder = Path(name)
        length = min(options.size, max((shutil.disk_usage(folder).free - SPARE) // 2, 1 << 20))
        certs = folder / "certs"
        subprocess.run(tquic("cert", "--out", certs), check=True, stdout=subprocess.DEVNULL)
        rows = [transfer(folder, certs, length), *measure(certs, options.time)]
    rows.append(raw(options.time))
    print(table(rows))
    REPORT.parent.mkdir(exist_ok=True)
    REPORT.write_text(json.dumps([asdict(row) for row in rows], indent=2) + "\n")
    print(
        f"demo: {show_size(length)} moved and verified at {rows[0].gbps:.2f} Gbit/s, perf "
        f"{rows[1].gbps:.2f}, plain UDP {rows[-1].gbps:.2f}; report in {REPORT}"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
