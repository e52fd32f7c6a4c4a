"""The driver over qh3."""

from aioquic_shape import run

run("qh3")
