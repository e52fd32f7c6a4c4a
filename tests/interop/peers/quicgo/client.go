package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/quic-go/quic-go"
)

type client struct {
	tls       *tls.Config
	downloads string
	tickets   chan struct{}
}

func runClient(testcase string) error {
	c, err := newClient()
	if err != nil {
		return err
	}
	urls, err := requests()
	if err != nil {
		return err
	}
	switch testcase {
	case "handshake", "transfer", "retry", "ecn":
	case "keyupdate":
		// quic-go updates keys by itself after 100 packets; the test case moves far more.
	case "chacha20":
		onlyChaCha20()
	case "multiconnect":
		for _, u := range urls {
			if err := c.fetch([]*url.URL{u}, false); err != nil {
				return err
			}
		}
		return nil
	case "resumption":
		return c.fetchTwice(urls, false)
	case "zerortt":
		return c.fetchTwice(urls, true)
	case "clientmigration":
		return c.fetchMoving(urls)
	case "http3":
		return c.fetchHTTP3(urls)
	default:
		return fmt.Errorf("%w for a quic-go client: %q", errUnsupported, testcase)
	}
	return c.fetch(urls, false)
}

func newClient() (*client, error) {
	log, err := keyLog()
	if err != nil {
		return nil, err
	}
	pem, err := os.ReadFile(filepath.Join(setting("CERTS", "/certs"), "ca.pem"))
	if err != nil {
		return nil, err
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(pem) {
		return nil, errors.New("ca.pem holds no certificate")
	}
	c := &client{
		downloads: setting("DOWNLOADS", "/downloads"),
		tickets:   make(chan struct{}, 16),
	}
	c.tls = &tls.Config{RootCAs: roots, NextProtos: []string{alpn}, KeyLogWriter: log}
	return c, nil
}

// announcingCache tells when a session ticket has come.
type announcingCache struct {
	tls.ClientSessionCache
	arrived chan<- struct{}
}

func (c *announcingCache) Put(key string, state *tls.ClientSessionState) {
	c.ClientSessionCache.Put(key, state)
	if state == nil {
		return
	}
	select {
	case c.arrived <- struct{}{}:
	default:
	}
}

func requests() ([]*url.URL, error) {
	var urls []*url.URL
	for _, text := range strings.Fields(os.Getenv("REQUESTS")) {
		u, err := url.Parse(text)
		if err != nil {
			return nil, err
		}
		urls = append(urls, u)
	}
	if len(urls) == 0 {
		return nil, errors.New("REQUESTS is empty")
	}
	return urls, nil
}

func (c *client) dial(u *url.URL) (*quic.Conn, error) {
	address := u.Host
	if u.Port() == "" {
		address = net.JoinHostPort(u.Hostname(), "443")
	}
	return quic.DialAddrEarly(context.Background(), address, c.tls, transportConfig())
}

// fetch downloads all urls in parallel over one connection. Early requests go out before the handshake is done.
func (c *client) fetch(urls []*url.URL, early bool) error {
	conn, err := c.dial(urls[0])
	if err != nil {
		return err
	}
	if err := c.settle(conn, early); err != nil {
		return err
	}
	if err := c.downloadAll(conn, urls); err != nil {
		return err
	}
	return conn.CloseWithError(0, "")
}

func (c *client) settle(conn *quic.Conn, early bool) error {
	if early {
		return nil
	}
	select {
	case <-conn.HandshakeComplete():
		return nil
	case <-conn.Context().Done():
		return context.Cause(conn.Context())
	}
}

// fetchTwice gets the first url over one connection and the others over a second that resumes its session.
func (c *client) fetchTwice(urls []*url.URL, early bool) error {
	if len(urls) < 2 {
		return errors.New("resumption needs two requests")
	}
	c.tls.ClientSessionCache = &announcingCache{tls.NewLRUClientSessionCache(8), c.tickets}
	if err := c.fetch(urls[:1], false); err != nil {
		return err
	}
	select {
	case <-c.tickets:
	case <-time.After(5 * time.Second):
		return errors.New("the server gave no session ticket")
	}
	return c.fetch(urls[1:], early)
}

func (c *client) downloadAll(conn *quic.Conn, urls []*url.URL) error {
	var wait sync.WaitGroup
	failures := make([]error, len(urls))
	for i, u := range urls {
		wait.Go(func() { failures[i] = c.download(conn, u) })
	}
	wait.Wait()
	return errors.Join(failures...)
}

func (c *client) download(conn *quic.Conn, u *url.URL) error {
	stream, err := conn.OpenStreamSync(context.Background())
	if err != nil {
		return err
	}
	if _, err := fmt.Fprintf(stream, "GET %s\r\n", u.Path); err != nil {
		return err
	}
	if err := stream.Close(); err != nil {
		return err
	}
	file, err := os.Create(filepath.Join(c.downloads, filepath.Base(u.Path)))
	if err != nil {
		return err
	}
	if _, err := io.Copy(file, stream); err != nil {
		return errors.Join(err, file.Close())
	}
	return file.Close()
}

// fetchMoving starts a download, then moves the connection to a new local port (RFC 9000 section 9.2).
func (c *client) fetchMoving(urls []*url.URL) error {
	remote, err := net.ResolveUDPAddr("udp", urls[0].Host)
	if err != nil {
		return err
	}
	socket, err := anyPort(remote)
	if err != nil {
		return err
	}
	// Connections that quic.DialAddr makes have connection IDs of length zero, which cannot move.
	transport := &quic.Transport{Conn: socket}
	conn, err := transport.Dial(context.Background(), remote, c.tls, transportConfig())
	if err != nil {
		return err
	}
	moved := make(chan error, 1)
	go func() { moved <- move(conn, remote) }()
	if err := c.downloadAll(conn, urls); err != nil {
		return err
	}
	if err := <-moved; err != nil {
		return fmt.Errorf("migration: %w", err)
	}
	return conn.CloseWithError(0, "")
}

// anyPort opens a socket that can reach remote.
func anyPort(remote *net.UDPAddr) (*net.UDPConn, error) {
	network := "udp6"
	if remote.IP.To4() != nil {
		network = "udp4"
	}
	return net.ListenUDP(network, nil)
}

func move(conn *quic.Conn, remote *net.UDPAddr) error {
	socket, err := anyPort(remote)
	if err != nil {
		return err
	}
	path, err := conn.AddPath(&quic.Transport{Conn: socket})
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if err := path.Probe(ctx); err != nil {
		return err
	}
	return path.Switch()
}
