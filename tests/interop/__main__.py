"""`python -m tests.interop`: plays cases between QUIC implementations and writes the table."""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
from pathlib import Path

from . import namespace, report, setup
from .cases import CASES
from .roster import PEERS, ROLES
from .runner import FAIL, PASS, Result, refuses_unknown_case, run_case

MODULE = __package__ or "tests.interop"


def main(arguments: list[str]) -> int:
    """The exit status: 0 when no cell failed, 1 when some did, 2 when nothing could be run."""
    options = _options(arguments)
    told = namespace.inside()
    if told is None:
        return _outside(options, arguments)
    namespace.bring_up()
    kit = setup.Kit.from_json(told)
    work = options.keep or Path(tempfile.mkdtemp(prefix="tquic-interop-"))
    refusals = {}
    for name, program in kit.programs.items():
        if not program.missing:
            for role in PEERS[name].roles:
                folder = work / f"unknown-{name}-{role}"
                refusals[f"{name} {role}"] = refuses_unknown_case(program, role, folder)
    results = _play(options, kit, work)
    if options.keep is None:
        shutil.rmtree(work)
    if options.onto is not None:
        results, refusals = report.onto(options.onto, results, options.profile, refusals)
    for path in options.write:
        report.write(path, results, options.profile, refusals)
    if options.json:
        print(json.dumps(report.to_json(results, options.profile, refusals), default=str))
    total = report.counts(results)
    # Once more where a log that was cut still has them.
    for failed in (result for result in results if result.verdict == FAIL):
        _say(_line(failed))
    _say(", ".join(f"{count} {verdict}" for verdict, count in total.items()))
    if not total[PASS] and not total[FAIL]:
        return 2
    return 1 if total[FAIL] or not all(refusals.values()) else 0


def _outside(options: argparse.Namespace, arguments: list[str]) -> int:
    """Builds, because the namespace has no network to download with, and goes on in there."""
    kit = setup.build(_names(options))
    for missing in (*(p.missing for p in kit.programs.values()), kit.relay_missing):
        if missing:
            _say(missing)
    try:
        return namespace.reexec(MODULE, arguments, kit.to_json())
    except namespace.NoNamespaceError as error:
        _say(str(error))
        return 2


def _play(options: argparse.Namespace, kit: setup.Kit, work: Path) -> list[Result]:
    results = []
    for client, server in _pairs(options):
        for name in options.cases:
            folder = work / f"{client}-{server}-{name}"
            shutil.rmtree(folder, ignore_errors=True)
            result = run_case(CASES[name], (client, server), kit, options.profile, folder)
            results.append(result)
            _say(_line(result))
            if options.keep is None:
                shutil.rmtree(folder, ignore_errors=True)
    return results


def _line(cell: Result) -> str:
    told = f" ({cell.reason})" if cell.reason else ""
    return (
        f"{cell.client:>8} to {cell.server:<8} {cell.case:<20} {cell.verdict:<5} "
        f"{cell.seconds:6.1f} s{told}"
    )


def _options(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog=f"python -m {MODULE}", description=__doc__)
    listed = lambda text: [part for part in text.split(",") if part]  # noqa: E731
    parser.add_argument(
        "--peers", type=listed, default=list(PEERS), help="comma-separated; default: all"
    )
    parser.add_argument(
        "--cases", type=listed, default=list(CASES), help="comma-separated; default: all"
    )
    parser.add_argument("--subject", help="only pairs with this peer on one side, such as tquic")
    parser.add_argument(
        "--pair", action="append", default=[], help="only these pairs, CLIENT:SERVER"
    )
    parser.add_argument("--profile", choices=("quick", "full"), default="quick")
    parser.add_argument(
        "--write", type=Path, action="append", default=[], metavar="FILE.md|FILE.json"
    )
    parser.add_argument(
        "--onto",
        type=Path,
        metavar="FILE.json",
        help="write the cells of an earlier run of this profile as well, but for those played now",
    )
    parser.add_argument(
        "--keep", type=Path, help="keep captures, key logs, qlog and output in this folder"
    )
    parser.add_argument("--json", action="store_true", help="print the table as JSON")
    options = parser.parse_args(arguments)
    for kind, given, known in (("case", options.cases, CASES), ("peer", options.peers, PEERS)):
        for name in given:
            if name not in known:
                parser.error(f"unknown {kind} {name}; known: {', '.join(known)}")
    for name in _names(options):
        if name not in PEERS:
            parser.error(f"unknown peer {name}; known: {', '.join(PEERS)}")
    return options


def _pairs(options: argparse.Namespace) -> list[tuple[str, str]]:
    if options.pair:
        return [
            (client, server) for client, _, server in (pair.partition(":") for pair in options.pair)
        ]
    clients, servers = (
        [name for name in options.peers if role in PEERS[name].roles] for role in ROLES
    )
    pairs = [(client, server) for client in clients for server in servers]
    if options.subject:
        pairs = [pair for pair in pairs if options.subject in pair]
    return pairs


def _names(options: argparse.Namespace) -> list[str]:
    return list(dict.fromkeys(name for pair in _pairs(options) for name in pair))


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
