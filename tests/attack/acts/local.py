"""Attacks by files and bytes on what reads them, in a process that is thrown away; honest clients
and their server are on the same machine."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

from ..field import MIB, Field
from ..row import row


def attacked(field: Field, kind: str, rounds: int) -> dict[str, Any]:
    """What became of the victim; a process that dies is the worst that can happen."""
    command = [sys.executable, "-m", "tests.attack.victim", kind, str(rounds), str(field.seed)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    field.note("died", done.returncode != 0)
    if done.returncode:
        return {"good": 0, "refused": 0, "wrong": [], "slowest": 0.0, "memory": 0}
    found: dict[str, Any] = json.loads(done.stdout)
    field.note("wrong_errors", len(found["wrong"]))
    field.note("slowest", found["slowest"])
    field.note("victim_memory", found["memory"] / MIB)
    for text in found["wrong"][:5]:
        print(f"    raised: {text}")
    return found


@row("ebpf-objects", full=2000, fast=200)
def ebpf_objects(field: Field, size: int) -> str:
    """Objects of schedulers that were damaged, or are a megabyte of noise."""
    found = attacked(field, "objects", size)
    return f"{size} damaged eBPF objects, of which {found['refused']} were refused"


@row("configuration-files", full=1000, fast=100)
def configuration_files(field: Field, size: int) -> str:
    """TOML and environment variables with values that nobody means."""
    found = attacked(field, "configurations", size)
    return f"{2 * size} configurations, of which {found['refused']} were refused"


@row("parsers", full=10, fast=1)
def parsers(field: Field, size: int) -> str:
    """A megabyte of noise for everything that reads bytes."""
    found = attacked(field, "parsers", size)
    return f"{found['good'] + found['refused']} megabytes of noise for all that reads bytes"
