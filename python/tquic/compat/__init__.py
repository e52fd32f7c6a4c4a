"""Interfaces of other packages over this engine, for programs that were written for them."""
