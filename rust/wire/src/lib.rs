//! QUIC bytes to values and back: stateless codecs of packets, frames and transport parameters.
#![forbid(unsafe_code)]
