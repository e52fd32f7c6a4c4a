package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/signal"
	"path/filepath"
	"sync"
	"syscall"

	"github.com/quic-go/quic-go/http3"
)

// fetchHTTP3 downloads all urls in parallel over one HTTP/3 connection.
func (c *client) fetchHTTP3(urls []*url.URL) error {
	c.tls.NextProtos = []string{http3.NextProtoH3}
	transport := &http3.Transport{TLSClientConfig: c.tls, QUICConfig: transportConfig()}
	defer transport.Close()
	var wait sync.WaitGroup
	failures := make([]error, len(urls))
	for i, u := range urls {
		wait.Go(func() { failures[i] = c.downloadHTTP3(transport, u) })
	}
	wait.Wait()
	return errors.Join(failures...)
}

func (c *client) downloadHTTP3(transport *http3.Transport, u *url.URL) error {
	response, err := (&http.Client{Transport: transport}).Get(u.String())
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s", u, response.Status)
	}
	file, err := os.Create(filepath.Join(c.downloads, filepath.Base(u.Path)))
	if err != nil {
		return err
	}
	if _, err := io.Copy(file, response.Body); err != nil {
		return errors.Join(err, file.Close())
	}
	return file.Close()
}

// serveHTTP3 serves a folder until SIGTERM.
func serveHTTP3(socket net.PacketConn, config *tls.Config) error {
	config.NextProtos = []string{http3.NextProtoH3}
	server := &http3.Server{
		Handler:    http.FileServer(http.Dir(setting("WWW", "/www"))),
		TLSConfig:  config,
		QUICConfig: transportConfig(),
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer stop()
	go func() {
		<-ctx.Done()
		server.Close()
	}()
	if err := server.Serve(socket); err != nil && ctx.Err() == nil {
		return err
	}
	return nil
}
