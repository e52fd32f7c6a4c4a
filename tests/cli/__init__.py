"""Tests of the command line; `support` runs it."""
