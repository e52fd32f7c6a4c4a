"""Idle connections of tquic: what `tquic perf` does not have. Runs in the package's environment."""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

from driver import IDLE_TIMEOUT, peak_memory

from tquic import Config, Engine

# Seconds in which all connections must be there.
PATIENCE = 120.0


def main() -> None:
    """Opens them, says so, and keeps them for a while."""
    parser = argparse.ArgumentParser()
    parser.add_argument("role", choices=("client",))
    parser.add_argument("--to", required=True)
    parser.add_argument("--ca", required=True, type=Path)
    parser.add_argument("--work", required=True, choices=("idle",))
    parser.add_argument("--connections", required=True, type=int)
    parser.add_argument("--seconds", required=True, type=int)
    options = parser.parse_args()
    host, port = options.to.rsplit(":", 1)
    config = Config.load(ca=options.ca, alpn=("perf",), idle_timeout=IDLE_TIMEOUT)
    engine = Engine()
    cpu, start = time.process_time(), time.perf_counter()
    with engine.connect_many(host, int(port), options.connections, config=config, on=()) as many:
        counts = many.wait_connected(timeout=PATIENCE)
        report = {
            "seconds": time.perf_counter() - start,
            "cpu_seconds": time.process_time() - cpu,
            "bytes": 0,
            "count": counts.open,
            "mismatches": 0,
            "peak_memory": peak_memory(),
        }
        print(json.dumps(report), flush=True)
        time.sleep(options.seconds)
    engine.shutdown()


main()
