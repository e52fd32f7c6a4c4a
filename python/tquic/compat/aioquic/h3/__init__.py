"""HTTP/3 (RFC 9114), without push and WebTransport."""
