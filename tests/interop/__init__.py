"""Interoperability tests: real QUIC peers, a harness that runs them and a judge that reads their packets."""
