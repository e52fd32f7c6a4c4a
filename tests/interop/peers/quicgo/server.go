package main

import (
	"bufio"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"github.com/quic-go/quic-go"
)

const maxRequestLine = 4096

func runServer(testcase string) error {
	switch testcase {
	case "handshake", "transfer", "retry", "ecn", "multiconnect", "resumption", "zerortt", "clientmigration":
	case "keyupdate", "http3":
	case "chacha20":
		onlyChaCha20()
	default:
		return fmt.Errorf("%w for a quic-go server: %q", errUnsupported, testcase)
	}
	config, err := serverTLS()
	if err != nil {
		return err
	}
	port, err := strconv.Atoi(setting("PORT", "443"))
	if err != nil {
		return err
	}
	socket, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.ParseIP(setting("HOST", "::")), Port: port})
	if err != nil {
		return err
	}
	if testcase == "http3" {
		return serveHTTP3(socket, config)
	}
	transport := &quic.Transport{
		Conn:                socket,
		VerifySourceAddress: func(net.Addr) bool { return testcase == "retry" },
	}
	settings := transportConfig()
	settings.Allow0RTT = testcase == "zerortt"
	listener, err := transport.ListenEarly(config, settings)
	if err != nil {
		return err
	}
	root, err := os.OpenRoot(setting("WWW", "/www"))
	if err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer stop()
	for {
		conn, err := listener.Accept(ctx)
		if ctx.Err() != nil {
			// Closing the transport closes the connections and with them their qlog files.
			return transport.Close()
		}
		if err != nil {
			return err
		}
		go serveConnection(conn, root)
	}
}

func serverTLS() (*tls.Config, error) {
	log, err := keyLog()
	if err != nil {
		return nil, err
	}
	certs := setting("CERTS", "/certs")
	pair, err := tls.LoadX509KeyPair(filepath.Join(certs, "cert.pem"), filepath.Join(certs, "priv.key"))
	if err != nil {
		return nil, err
	}
	return &tls.Config{
		Certificates: []tls.Certificate{pair},
		NextProtos:   []string{alpn},
		KeyLogWriter: log,
	}, nil
}

func serveConnection(conn *quic.Conn, root *os.Root) {
	for {
		stream, err := conn.AcceptStream(context.Background())
		if err != nil {
			return
		}
		go func() {
			if err := answer(stream, root); err != nil {
				fmt.Fprintln(os.Stderr, "quicgo:", err)
				stream.CancelWrite(1)
			}
		}()
	}
}

func answer(stream *quic.Stream, root *os.Root) error {
	line, err := bufio.NewReader(io.LimitReader(stream, maxRequestLine)).ReadString('\n')
	if err != nil && err != io.EOF {
		return err
	}
	name, ok := strings.CutPrefix(strings.TrimRight(line, "\r\n"), "GET /")
	if !ok {
		return fmt.Errorf("not an HTTP/0.9 request: %q", line)
	}
	file, err := root.Open(name)
	if err != nil {
		return err
	}
	defer file.Close()
	if _, err := io.Copy(stream, file); err != nil {
		return err
	}
	return stream.Close()
}
