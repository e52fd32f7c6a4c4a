"""HTTP/0.9 over QUIC."""
