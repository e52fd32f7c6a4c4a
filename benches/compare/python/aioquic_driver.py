"""The driver over aioquic."""

from aioquic_shape import run

run("aioquic", congestion_control_algorithm="cubic")
