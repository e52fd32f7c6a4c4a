// The comparison's drivers in Go: quic-go, and TLS over TCP by crypto/tls.
//
//	compare-go quic-go|tcp server --cert FILE --key FILE [--listen ADDRESS]
//	compare-go quic-go|tcp client --to ADDRESS --ca FILE --work NAME ...
package main

import (
	"crypto/tls"
	"crypto/x509"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"
)

// options are those of every driver of the comparison (benches/compare/README.md).
type options struct {
	listen, cert, key                                       string
	to, ca, work, kind                                      string
	congestion                                              string
	download, upload, streams, requests, inflight, response uint64
	connections, count, size, seconds                       uint64
}

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(arguments []string) error {
	if len(arguments) < 2 {
		return fmt.Errorf("say `quic-go` or `tcp`, then `server` or `client`")
	}
	var o options
	flags := flag.NewFlagSet("compare-go", flag.ContinueOnError)
	flags.StringVar(&o.listen, "listen", "127.0.0.1:0", "")
	flags.StringVar(&o.cert, "cert", "", "")
	flags.StringVar(&o.key, "key", "", "")
	flags.StringVar(&o.congestion, "congestion", "", "")
	flags.StringVar(&o.to, "to", "", "")
	flags.StringVar(&o.ca, "ca", "", "")
	flags.StringVar(&o.work, "work", "", "")
	flags.StringVar(&o.kind, "kind", "full", "")
	flags.Uint64Var(&o.download, "download", 0, "")
	flags.Uint64Var(&o.upload, "upload", 0, "")
	flags.Uint64Var(&o.streams, "streams", 1, "")
	flags.Uint64Var(&o.requests, "requests", 1, "")
	flags.Uint64Var(&o.inflight, "inflight", 1, "")
	flags.Uint64Var(&o.response, "response", 32, "")
	flags.Uint64Var(&o.connections, "connections", 1, "")
	flags.Uint64Var(&o.count, "count", 1, "")
	flags.Uint64Var(&o.size, "size", 1200, "")
	flags.Uint64Var(&o.seconds, "seconds", 1, "")
	if err := flags.Parse(arguments[2:]); err != nil {
		return err
	}
	switch arguments[0] + " " + arguments[1] {
	case "quic-go server":
		return serve(&o, serveQUIC)
	case "quic-go client":
		return clientQUIC(&o)
	case "tcp server":
		return serve(&o, serveTCP)
	case "tcp client":
		return clientTCP(&o)
	}
	return fmt.Errorf("%s %s: not known", arguments[0], arguments[1])
}

// serve answers until a signal comes, then prints what it has seen.
func serve(o *options, listen func(*options, *tls.Config, *totals) error) error {
	certificate, err := tls.LoadX509KeyPair(o.cert, o.key)
	if err != nil {
		return err
	}
	config := &tls.Config{
		Certificates:     []tls.Certificate{certificate},
		MinVersion:       tls.VersionTLS13,
		CurvePreferences: []tls.CurveID{tls.X25519},
	}
	var seen totals
	failed := make(chan error, 1)
	go func() { failed <- listen(o, config, &seen) }()
	told := make(chan os.Signal, 1)
	signal.Notify(told, syscall.SIGTERM, syscall.SIGINT)
	select {
	case err := <-failed:
		return err
	case <-told:
		seen.print()
		return nil
	}
}

// clientTLS verifies the server; sessions are kept for those that resume.
func clientTLS(o *options, alpn string) (*tls.Config, error) {
	pem, err := os.ReadFile(o.ca)
	if err != nil {
		return nil, err
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("%s: no certificate", o.ca)
	}
	return &tls.Config{
		RootCAs:          roots,
		ServerName:       "localhost",
		NextProtos:       []string{alpn},
		MinVersion:       tls.VersionTLS13,
		CurvePreferences: []tls.CurveID{tls.X25519},
	}, nil
}

// resumes says whether the kind of handshake needs a session of before.
func (o *options) resumes() bool {
	return o.kind == "resumed" || o.kind == "0rtt"
}

// share is the part of total that falls to number index of parts.
func share(total, parts, index uint64) uint64 {
	if index < total%parts {
		return total/parts + 1
	}
	return total / parts
}
