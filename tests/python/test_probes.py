"""The USDT probes of the compiled module: they are there, scripts are translated, and what bpftrace
counts is what the connection counted."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from tquic import _engine, probes

BINARY = _engine.__file__
PATIENCE = 120

# The script of the TQUIC kernel module's API guide, as it is printed there.
GUIDE = """\
#!/usr/bin/env bpftrace

tracepoint:tquic:packet_sent
{
    @bytes[args->path_id] = sum(args->size);
    @pkts[args->path_id] = count();
}

tracepoint:tquic:cc_metrics_updated
{
    printf("conn=%llu cwnd=%llu rtt=%lluus\\n",
           args->conn_id, args->cwnd, args->smoothed_rtt);
}

END
{
    print(@bytes);
    print(@pkts);
}
"""


def test_the_guides_script_is_translated() -> None:
    script = probes.translate(GUIDE, "/lib/e.so")
    assert "usdt:/lib/e.so:tquic:packet_sent\n" in script
    assert "@bytes[arg4] = sum(arg3);" in script
    assert "arg0, arg1, arg3);" in script
    assert "args" not in script
    assert "tracepoint" not in script


@pytest.mark.parametrize(
    ("script", "translated"),
    [
        (
            "tracepoint:tquic:packet_lost /args->path_id == 1/ { @ = count(); }",
            "usdt:E:tquic:packet_lost /arg4 == 1/ { @ = count(); }",
        ),
        (
            'tracepoint:tquic:packet_sent { if (args.size > 9) { printf("args->size"); } '
            "@ = args->size } // args->size",
            'usdt:E:tquic:packet_sent { if (arg3 > 9) { printf("args->size"); } '
            "@ = arg3 } // args->size",
        ),
        (
            "tracepoint:tquic:packet_sent, tracepoint:tquic:packet_received { @ = args->size }",
            "usdt:E:tquic:packet_sent, usdt:E:tquic:packet_received { @ = arg3 }",
        ),
        # Other tracepoints keep their arguments.
        (
            "tracepoint:net:netif_rx { @ = args->len } tracepoint:tquic:migration { @ = 1 }",
            "tracepoint:net:netif_rx { @ = args->len } usdt:E:tquic:migration { @ = 1 }",
        ),
    ],
)
def test_translation(script: str, translated: str) -> None:
    assert probes.translate(script, "E") == translated


@pytest.mark.parametrize(
    ("script", "message"),
    [
        ("tracepoint:tquic:packet_eaten { }", "no probe packet_eaten"),
        ("tracepoint:tquic:packet_sent { args->colour }", "packet_sent has no field colour"),
        (
            "tracepoint:tquic:packet_sent, tracepoint:tquic:packet_lost { args->size }",
            "size is another argument of each",
        ),
    ],
)
def test_what_cannot_be_translated_is_said(script: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        probes.translate(script, "E")


def test_our_scripts_name_probes_and_fields_that_exist() -> None:
    found = probes.scripts()
    assert {"throughput", "losses", "rtt", "handshakes"} <= set(found)
    for path in found.values():
        assert f"usdt:{BINARY}:tquic:" in probes.translate(path.read_text(), BINARY)


def notes() -> dict[str, dict[str, Any]]:
    """The probes of the compiled module, as readelf sees them."""
    program = shutil.which("readelf")
    if program is None:
        pytest.skip("there is no readelf (binutils) here")
    done = subprocess.run([program, "-nW", BINARY], capture_output=True, text=True, check=True)
    found = re.findall(
        r"Provider: tquic\s+Name: (\w+)\s+Location: (0x[0-9a-f]+), Base: \S+, "
        r"Semaphore: (0x[0-9a-f]+)\s+Arguments: ([^\n]*)",
        done.stdout,
    )
    return {
        name: {"at": int(at, 16), "semaphore": int(semaphore, 16), "arguments": arguments.split()}
        for name, at, semaphore, arguments in found
    }


@pytest.mark.skipif(
    sys.platform != "linux" or os.uname().machine not in ("x86_64", "aarch64"),
    reason="there are probes on Linux, x86-64 and aarch64",
)
def test_the_compiled_module_has_every_probe() -> None:
    found = notes()
    assert set(found) == set(probes.names()), "linker or strip took probes away"
    assert len(found) == 17
    for name, note in found.items():
        assert len(note["arguments"]) == len(probes.names()[name]), name
        assert all(argument.startswith("8@") for argument in note["arguments"]), name
        assert min(note["at"], note["semaphore"]) > 0, name
    assert len({note["semaphore"] for note in found.values()}) == 17
    assert len({note["at"] for note in found.values()}) == 17


# A client in a process of its own: it waits to be told to begin, sends and receives, and tells its
# counters when nothing is under way any more.
CLIENT = """
import asyncio, dataclasses, json, sys
import tquic

async def main(host, port, ca):
    async with tquic.connect(host, int(port), config=tquic.Config(ca=ca)) as connection:
        stream = connection.open_stream()
        await stream.write(b"x" * 3_000_000)
        stream.finish()
        assert len(await stream.read()) == 3_000_000
        before = None
        while before != (before := dataclasses.asdict(await connection.stats())):
            await asyncio.sleep(1)
        print(json.dumps(before), flush=True)
        await asyncio.to_thread(sys.stdin.readline)

tquic.Engine.default()
print("waiting", flush=True)
sys.stdin.readline()
asyncio.run(main(*sys.argv[1:]))
"""
SERVER = """
import asyncio, sys
import tquic

async def echo(connection):
    async for stream in connection:
        async for chunk in stream:
            await stream.write(chunk)
        stream.finish()

async def main(cert, key):
    config = tquic.Config(cert=cert, key=key)
    async with tquic.serve("127.0.0.1", 0, echo, config=config) as server:
        print(*server.address, flush=True)
        await asyncio.to_thread(sys.stdin.readline)

asyncio.run(main(*sys.argv[1:]))
"""
COUNT = """
tracepoint:tquic:packet_sent { @sent = count(); @sent_bytes = sum(args->size); }
tracepoint:tquic:packet_received { @received = count(); @received_bytes = sum(args->size); }
tracepoint:tquic:packet_lost { @lost = count(); }
tracepoint:tquic:stream_data /args->is_send/ { @stream = max(args->offset + args->length); }
tracepoint:tquic:connection_established { @established = count(); }
interval:s:1 { printf("tick\\n"); }
"""


def why_not() -> str:
    """Why bpftrace cannot be used here; empty if it can."""
    program = shutil.which("bpftrace")
    if program is None:
        return "there is no bpftrace here (a Debian package)"
    if os.geteuid() != 0:
        return "bpftrace needs root"
    done = subprocess.run(
        [program, "-e", "BEGIN { exit(); }"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return f"bpftrace does not work here: {done.stderr.strip()}" if done.returncode else ""


def start(code: str, *arguments: object) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", code, *map(str, arguments)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline()


def tell(process: subprocess.Popen[str]) -> None:
    assert process.stdin is not None
    process.stdin.write("\n")
    process.stdin.flush()


def wait_for(process: subprocess.Popen[str], word: str) -> list[str]:
    lines = []
    while word not in (text := line(process)):
        assert text, f"bpftrace ended: {lines}"
        lines.append(text)
    return lines


def run_traced(script: Path, identity: Any) -> tuple[dict[str, Any], str]:
    """An exchange under `tquic trace`: the client's counters, and what bpftrace printed."""
    folder = script.parent
    for name in ("ca", "cert", "key"):
        (folder / name).write_bytes(getattr(identity, name))
    server = start(SERVER, folder / "cert", folder / "key")
    client = start(CLIENT, *line(server).split(), folder / "ca")
    tracer = None
    try:
        assert line(client) == "waiting\n"
        tracer = subprocess.Popen(
            [sys.executable, "-m", "tquic", "trace", str(script), str(client.pid)],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        wait_for(tracer, "tick")
        wait_for(tracer, "tick")
        tell(client)
        counted = json.loads(line(client))
        # What was printed last lies in bpftrace's buffer for a moment.
        time.sleep(1)
        os.killpg(tracer.pid, signal.SIGINT)
        printed, _ = tracer.communicate(timeout=PATIENCE)
        return counted, printed
    finally:
        for process in (client, server):
            tell(process)
            process.communicate(timeout=PATIENCE)
        if tracer is not None and tracer.poll() is None:
            tracer.kill()


def test_bpftrace_counts_what_the_connection_counts(identity: Any, tmp_path: Path) -> None:
    if reason := why_not():
        pytest.skip(reason)
    script = tmp_path / "count.bt"
    script.write_text(COUNT)
    counted, printed = run_traced(script, identity)
    maps = {name: int(value) for name, value in re.findall(r"^@(\w+): (\d+)$", printed, re.M)}
    assert maps["sent"] == counted["packets_sent"], printed
    assert maps["received"] + counted["duplicates"] == counted["packets_received"]
    # Packets fill datagrams to the last byte.
    assert maps["sent_bytes"] == counted["bytes_sent"]
    assert maps["received_bytes"] == counted["bytes_received"]
    assert maps.get("lost", 0) == sum(path["lost_packets"] for path in counted["paths"])
    assert maps["stream"] == 3_000_000
    assert maps["established"] == 1


def test_the_guides_script_runs_unchanged(identity: Any, tmp_path: Path) -> None:
    if reason := why_not():
        pytest.skip(reason)
    script = tmp_path / "guide.bt"
    script.write_text(GUIDE + 'interval:s:1 { printf("tick\\n"); }\n')
    counted, printed = run_traced(script, identity)
    assert f"@bytes[0]: {counted['bytes_sent']}\n" in printed
    assert f"@pkts[0]: {counted['packets_sent']}\n" in printed
    assert re.search(r"^conn=\d+ cwnd=\d+ rtt=\d+us$", printed, re.M)
