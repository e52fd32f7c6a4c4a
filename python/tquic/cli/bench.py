"""``tquic bench``: benchmarks of this machine, as the kernel module has them in ``/proc``."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tquic.bench import BENCHMARKS, BenchmarkError, Store, compare, html, parse
from tquic.bench import run as run_line
from tquic.bench._watch import Watch
from tquic.cli.failure import CommandError, UsageError
from tquic.cli.output import note, print_json
from tquic.errors import QuicError

# What is no benchmark.
ACTIONS = {
    "-": "run the lines of standard input",
    "results": "show the last result, or of NAME or NUMBER",
    "history": "list all results",
    "compare": "show what changed between two results",
    "report": "write a page about all results into FILE",
    "reset": "forget all results",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the options."""
    known = [
        (" ".join([name, *(f"[{a.name}]" for a in benchmark.arguments)]), benchmark.summary)
        for name, benchmark in BENCHMARKS.items()
    ]
    known += ACTIONS.items()
    parser.epilog = (
        "what to do:\n"
        + "\n".join(f"  {usage:32} {summary}" for usage, summary in known)
        + "\n\nexamples:\n"
        "  tquic bench throughput 10\n"
        '  echo "multipath 4 10" | tquic bench -\n'
        "  tquic bench compare 1 2\n"
        "  tquic bench --watch /tmp/proc"
    )
    parser.add_argument("words", nargs="*", metavar="WHAT", help="see below")
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    parser.add_argument("--html", type=Path, metavar="FILE", help="write a page about the result")
    parser.add_argument(
        "--watch",
        type=Path,
        metavar="DIR",
        help="run what is written into DIR/tquic_bench, put results into DIR/tquic_bench_results",
    )
    parser.add_argument(
        "--results-dir",
        type=Path,
        metavar="DIR",
        help="where results are kept (default: TQUIC_BENCH_DIR, else ~/.local/state/tquic/bench)",
    )


def run(options: argparse.Namespace) -> int:
    """Does it."""
    store = Store(options.results_dir)
    try:
        if options.watch is not None:
            return _watch(options, store)
        match options.words:
            case []:
                raise UsageError("say which benchmark: `tquic bench --help` has a list")
            case ["-"]:
                return _run(options, store, sys.stdin.read().splitlines())
            case ["results", *which] if len(which) < 2:
                return _show(options, _found(store, which[0] if which else None))
            case ["history"]:
                return _history(options, store)
            case ["compare", one, other]:
                return _compare(options, _load(store, one), _load(store, other))
            case ["report", file]:
                return _write(Path(file), store.all())
            case ["reset"]:
                forgotten = store.reset()
                return _print(options, {"forgotten": forgotten}, f"{forgotten} results forgotten")
            case [name, *_] if name in ACTIONS:
                raise UsageError(f"{name}: that is not how it is used: {ACTIONS[name]}")
            case words:
                return _run(options, store, [" ".join(words)])
    except OSError as error:
        raise CommandError(str(error)) from None


def _run(options: argparse.Namespace, store: Store, lines: Sequence[str]) -> int:
    wanted = []
    for text in filter(str.strip, lines):
        try:
            wanted.append("reset" if text.strip() == "reset" else parse(text))
        except BenchmarkError as error:
            raise UsageError(str(error)) from None
    results: list[dict[str, Any]] = []
    for line in wanted:
        if isinstance(line, str):
            store.reset()
            continue
        note(f"{line} ...")
        try:
            results.append(store.add(run_line(line)))
        except QuicError as error:
            raise CommandError(f"{line}: {error}") from None
        if not options.json:
            print("\n".join(_lines(results[-1])))
    if options.html is not None:
        _write(options.html, results)
    if options.json:
        print_json(results[0] if len(results) == 1 else {"results": results})
    return 0


def _lines(result: dict[str, Any]) -> list[str]:
    """A result for people."""
    stats = ", ".join(f"{name} {value:,.6g}" for name, value in result["stats"].items())
    lines = [
        f"{result['command']}: {result['samples']:,} samples of {result['unit']}",
        f"  {stats}",
    ]
    facts: dict[str, Any] = result[result["benchmark"]]
    lines += [
        f"  {step['connections']:>9,} connections {step['requests_per_second']:>12,.0f}/s  "
        f"p99 {step['latency_us']['p99']:,.0f} us"
        for step in facts.get("steps", [])
    ]
    for name, value in facts.items():
        if name != "steps":
            shown = f"{value:,.6g}" if isinstance(value, float) else value
            lines.append(f"  {name.replace('_', ' ')}: {shown}")
    for name, suite in result.get("suites", {}).items():
        lines.append(
            f"  {name}: seals {suite['encrypt_gbps']:.1f}, opens {suite['decrypt_gbps']:.1f} Gbit/s"
        )
    return lines


def _found(store: Store, which: str | None) -> dict[str, Any]:
    if which is None or which in BENCHMARKS:
        result = store.last(which)
        if result is None:
            raise CommandError(f"there are no results{f' of {which}' if which else ''} yet")
        return result
    return _load(store, which)


def _load(store: Store, which: str) -> dict[str, Any]:
    """A result by its number or in a file."""
    if which.isdigit():
        result = store.get(int(which))
        if result is None:
            raise CommandError(f"there is no result {which}: `tquic bench history` lists them")
        return result
    try:
        found = json.loads(Path(which).read_text(encoding="utf-8"))
    except ValueError:
        found = None
    except OSError as error:
        raise CommandError(f"cannot read {which}: {error.strerror}") from None
    if not isinstance(found, dict) or "benchmark" not in found:
        raise CommandError(f"{which} is no result of a benchmark")
    return found


def _print(options: argparse.Namespace, document: dict[str, Any], text: str) -> int:
    if options.json:
        print_json(document)
    else:
        print(text)
    return 0


def _show(options: argparse.Namespace, result: dict[str, Any]) -> int:
    # JSON in any case, as in /proc/tquic_bench_results.
    del options
    print_json(result)
    return 0


def _history(options: argparse.Namespace, store: Store) -> int:
    results = store.all()
    lines = [
        f"{one['number']:>6}  {one['time']}  {one['command']:24} "
        f"p50 {one['stats']['p50']:,.6g} {one['unit']}"
        for one in results
    ]
    return _print(options, {"results": results}, "\n".join(lines) or "no results yet")


def _compare(options: argparse.Namespace, one: dict[str, Any], other: dict[str, Any]) -> int:
    try:
        found = compare(one, other)
    except ValueError as error:
        raise CommandError(str(error)) from None
    lines = [f"{found['benchmark']}: {found['commands'][0]} -> {found['commands'][1]}"]
    if found["environments_differ"]:
        lines.append(f"  not the same: {', '.join(found['environments_differ'])}")
    for name, change in found["changes"].items():
        ratio = "" if change["ratio"] is None else f"{change['ratio']:>9.3f}x"
        lines.append(f"  {name:48}{change['a']:>16,.6g}{change['b']:>16,.6g}{ratio}")
    return _print(options, found, "\n".join(lines))


def _write(path: Path, results: Sequence[dict[str, Any]]) -> int:
    path.write_text(html(results), encoding="utf-8")
    note(f"the page is {path}")
    return 0


def _watch(options: argparse.Namespace, store: Store) -> int:
    if options.words:
        raise UsageError("--watch takes its benchmarks from the file")
    watch = Watch(options.watch, store)
    # A line that programs can wait for.
    print(f"watching {options.watch / 'tquic_bench'}", flush=True)
    watch.serve(note)
    return 0
