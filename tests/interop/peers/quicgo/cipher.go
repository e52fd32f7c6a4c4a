package main

import (
	"crypto/tls"
	_ "unsafe" // for go:linkname
)

// crypto/tls has no setting for TLS 1.3 cipher suites; Go keeps these two variables reachable for quic-go.

//go:linkname tls13Suites crypto/tls.defaultCipherSuitesTLS13
var tls13Suites []uint16

//go:linkname tls13SuitesNoAES crypto/tls.defaultCipherSuitesTLS13NoAES
var tls13SuitesNoAES []uint16

// onlyChaCha20 leaves TLS_CHACHA20_POLY1305_SHA256 as the one suite this process offers or accepts.
func onlyChaCha20() {
	suites := []uint16{tls.TLS_CHACHA20_POLY1305_SHA256}
	tls13Suites, tls13SuitesNoAES = suites, suites
}
