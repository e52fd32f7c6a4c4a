// Command quicgo is the quic-go peer of the interop tests: one program for both roles, driven by the
// environment contract described in tests/interop/peers/README.md.
package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/qlog"
)

const (
	alpn            = "hq-interop"
	exitUnsupported = 127
)

// errUnsupported means quic-go cannot play this test case in this role.
var errUnsupported = errors.New("unsupported test case")

func main() {
	err := run(os.Getenv("ROLE"), os.Getenv("TESTCASE"))
	switch {
	case errors.Is(err, errUnsupported):
		fmt.Fprintln(os.Stderr, err)
		os.Exit(exitUnsupported)
	case err != nil:
		fmt.Fprintln(os.Stderr, "quicgo:", err)
		os.Exit(1)
	}
}

func run(role, testcase string) error {
	switch role {
	case "client":
		return runClient(testcase)
	case "server":
		return runServer(testcase)
	default:
		return fmt.Errorf("ROLE must be client or server, not %q", role)
	}
}

// setting reads an environment variable, or the place where quic-interop-runner mounts the thing.
func setting(name, fallback string) string {
	if value := os.Getenv(name); value != "" {
		return value
	}
	return fallback
}

// keyLog opens SSLKEYLOGFILE for appending; nil when it is not set.
func keyLog() (io.Writer, error) {
	name := os.Getenv("SSLKEYLOGFILE")
	if name == "" {
		return nil, nil
	}
	return os.OpenFile(name, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
}

// transportConfig is patient: half of the cases run over links that lose a third of the packets.
func transportConfig() *quic.Config {
	return &quic.Config{
		HandshakeIdleTimeout: 30 * time.Second,
		MaxIdleTimeout:       60 * time.Second,
		Tracer:               qlog.DefaultConnectionTracer,
	}
}
