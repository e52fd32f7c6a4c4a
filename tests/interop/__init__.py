"""Interop tests: real QUIC peers, a harness that runs them, a judge that reads their packets."""
