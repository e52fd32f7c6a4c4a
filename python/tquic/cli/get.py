"""``tquic get``: downloads."""

from __future__ import annotations

import argparse
from pathlib import Path

from tquic.cli import client, download
from tquic.cli.failure import UsageError
from tquic.cli.values import argument


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the options."""
    parser.epilog = (
        "examples:\n"
        "  tquic get https://localhost:4433/big.bin --cacert certs/ca.pem\n"
        "  tquic get https://a.example/1 https://b.example/2 -o downloads/\n"
        "  tquic get https://a.example/x.tar.gz -o - | tar xz\n"
        "  tquic get https://a.example/large.iso -C"
    )
    parser.add_argument("urls", nargs="+", metavar="URL", help="https://HOST[:PORT]/PATH")
    parser.add_argument(
        "-o",
        dest="output",
        metavar="FILE|DIR|-",
        help="file, folder, or - for standard output (default: here, named as in the URL); a file "
        "is called NAME.part until it is whole",
    )
    parser.add_argument(
        "-C",
        dest="resume",
        action="store_true",
        help="go on with NAME.part where an earlier run ended, if the file is still the same",
    )
    parser.add_argument(
        "-I", dest="head_only", action="store_true", help="ask for the header section only (HEAD)"
    )
    parser.add_argument(
        "-i",
        dest="include",
        action="store_true",
        help="print the header section to standard output, in front of what is printed there",
    )
    client.add_header_option(parser)
    parser.add_argument(
        "--sha256",
        action="append",
        type=argument(_sha256),
        metavar="HEX",
        help="what the content must be; once for each URL",
    )
    client.add_trust_options(parser)
    client.add_connect_to_option(parser)
    parser.add_argument(
        "--hq",
        action="store_true",
        help="speak HTTP/0.9 (hq-interop) instead of HTTP/3",
    )
    parser.add_argument(
        "--0rtt",
        dest="early",
        action="store_true",
        help="fetch the first file of each server over one connection, and ask for the others in "
        "the first packets of a second one that resumes its session",
    )
    parser.add_argument(
        "--tickets",
        type=Path,
        metavar="FILE",
        help="keep session tickets in this file for later runs, which resume the sessions; with "
        "--0rtt their first packets ask already",
    )
    client.add_congestion_option(parser)
    client.add_path_options(parser)
    client.add_qlog_option(parser)
    client.add_connect_timeout_option(parser)
    parser.add_argument("--json", action="store_true", help="print one JSON document")


def _sha256(text: str) -> bytes:
    try:
        digest = bytes.fromhex(text)
    except ValueError:
        digest = b""
    if len(digest) != 32:
        raise ValueError(f"{text!r} is no SHA-256: write 64 hexadecimal digits")
    return digest


def run(options: argparse.Namespace) -> int:
    """Fetches every URL."""
    if options.json and options.output == "-":
        raise UsageError("--json and -o - both want standard output")
    if options.hq:
        asked = {"-C": options.resume, "-I": options.head_only, "-i": options.include}
        for option, given in {**asked, "-H": options.headers}.items():
            if given:
                raise UsageError(
                    f"{option} is for HTTP/3: HTTP/0.9 (--hq) has no fields and no ranges"
                )
    plan = download.plan(options)
    client.choose_paths(options, options.connect_to or plan[0].server)
    if options.hq:
        from tquic.cli.fetch_hq import HqRun

        return HqRun(options, plan).run()
    from tquic.cli.fetch_h3 import H3Run

    client.show_log()
    return H3Run(options, plan).run()
