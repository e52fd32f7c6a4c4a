//! QUIC packet protection, key schedule and the TLS 1.3 session.
#![deny(unsafe_code)]
