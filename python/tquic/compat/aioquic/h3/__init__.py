"""aioquic's HTTP/3 modules: not there."""

raise ImportError(
    "tquic.compat.aioquic.h3 does not exist yet: it comes together with tquic's HTTP/3. For "
    "HTTP/0.9 there is tquic.compat.aioquic.h0.connection."
)
