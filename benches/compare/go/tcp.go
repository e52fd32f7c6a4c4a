package main

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"syscall"
	"time"
)

// TCP has no streams: ALPN `perf` makes a connection one stream, `perf-requests` a row of requests
// of eight bytes, each answered in its turn.
const alpnRequests = "perf-requests"

func serveTCP(o *options, config *tls.Config, seen *totals) error {
	config.NextProtos = []string{alpn, alpnRequests}
	listener, err := listenTCP(o)
	if err != nil {
		return err
	}
	listener = tls.NewListener(listener, config)
	fmt.Println("listening on", listener.Addr())
	for {
		conn, err := listener.Accept()
		if err != nil {
			return err
		}
		go func() {
			// Without its answer the client notices.
			_ = attendTCP(conn.(*tls.Conn), seen)
		}()
	}
}

// listenTCP listens with the kernel's congestion controller of that name, or with its default. What is
// accepted has the controller of the listener.
func listenTCP(o *options) (net.Listener, error) {
	var listen net.ListenConfig
	// Multipath TCP has controllers of its own.
	listen.SetMultipathTCP(false)
	listen.Control = func(_, _ string, conn syscall.RawConn) error {
		if o.congestion == "" {
			return nil
		}
		var failed error
		err := conn.Control(func(descriptor uintptr) {
			failed = syscall.SetsockoptString(
				int(descriptor), syscall.IPPROTO_TCP, syscall.TCP_CONGESTION, o.congestion)
		})
		return errors.Join(err, failed)
	}
	return listen.Listen(context.Background(), "tcp", o.listen)
}

func attendTCP(conn *tls.Conn, seen *totals) error {
	defer conn.Close()
	if err := conn.Handshake(); err != nil {
		return err
	}
	seen.connections.Add(1)
	if conn.ConnectionState().NegotiatedProtocol == alpn {
		return answer(conn, seen)
	}
	reader := bufio.NewReader(conn)
	writer := bufio.NewWriterSize(conn, readSize)
	for {
		var header [headerSize]byte
		if _, err := io.ReadFull(reader, header[:]); err != nil {
			return err
		}
		seen.streams.Add(1)
		if err := sendPattern(writer, binary.BigEndian.Uint64(header[:])); err != nil {
			return err
		}
		// What came together is answered together.
		if reader.Buffered() < headerSize {
			if err := writer.Flush(); err != nil {
				return err
			}
		}
	}
}

func clientTCP(o *options) error {
	switch o.work {
	case "bulk":
		return bulkTCP(o)
	case "requests":
		return requestsTCP(o)
	case "handshakes":
		return handshakesTCP(o)
	}
	return fmt.Errorf("TCP has no %s", o.work)
}

func dialTCP(o *options, config *tls.Config) (*tls.Conn, error) {
	return tls.Dial("tcp", o.to, config)
}

func bulkTCP(o *options) error {
	if o.streams != 1 {
		return errors.New("TCP has no streams")
	}
	config, err := clientTLS(o, alpn)
	if err != nil {
		return err
	}
	conn, err := dialTCP(o, config)
	if err != nil {
		return err
	}
	w := startWatch()
	var header [headerSize]byte
	binary.BigEndian.PutUint64(header[:], o.download)
	if _, err := conn.Write(header[:]); err != nil {
		return err
	}
	if err := sendPattern(conn, o.upload); err != nil {
		return err
	}
	if err := conn.CloseWrite(); err != nil {
		return err
	}
	c, err := receive(conn)
	if err != nil {
		return err
	}
	if c.offset != o.download {
		return fmt.Errorf("%d bytes came where %d were asked for", c.offset, o.download)
	}
	w.print(&done{bytes: o.upload + o.download, count: 1, mismatches: c.mismatches})
	return nil
}

func requestsTCP(o *options) error {
	if o.connections != 1 {
		return errors.New("requests over one connection only")
	}
	config, err := clientTLS(o, alpnRequests)
	if err != nil {
		return err
	}
	conn, err := dialTCP(o, config)
	if err != nil {
		return err
	}
	w := startWatch()
	var header [headerSize]byte
	binary.BigEndian.PutUint64(header[:], o.response)
	reader := bufio.NewReaderSize(conn, readSize)
	answer := make([]byte, o.response)
	var begun []time.Time
	sum := &done{}
	sent := uint64(0)
	for sum.count < o.requests {
		// As many as may be in flight leave together.
		var batch []byte
		for sent < o.requests && uint64(len(begun)) < o.inflight {
			batch = append(batch, header[:]...)
			begun = append(begun, time.Now())
			sent++
		}
		if len(batch) > 0 {
			if _, err := conn.Write(batch); err != nil {
				return err
			}
		}
		for {
			if _, err := io.ReadFull(reader, answer); err != nil {
				return err
			}
			var c checker
			c.check(answer)
			sum.latencies = append(sum.latencies, time.Since(begun[0]))
			begun = begun[1:]
			sum.count++
			sum.bytes += c.offset
			sum.mismatches += c.mismatches
			if uint64(reader.Buffered()) < o.response || len(begun) == 0 {
				break
			}
		}
	}
	w.print(sum)
	return nil
}

func handshakesTCP(o *options) error {
	if o.kind == "0rtt" {
		return errors.New("crypto/tls sends no early data over TCP")
	}
	config, err := clientTLS(o, alpnRequests)
	if err != nil {
		return err
	}
	if o.resumes() {
		config.ClientSessionCache = tls.NewLRUClientSessionCache(1)
		if err := askOne(o, config, nil, false); err != nil {
			return err
		}
	}
	sum := &done{}
	w := startWatch()
	for range o.count {
		// Tickets come with the first data.
		if err := askOne(o, config, sum, o.kind != "full"); err != nil {
			return err
		}
	}
	w.print(sum)
	return nil
}

// askOne makes a connection, and asks for one byte if that counts or brings a ticket.
func askOne(o *options, config *tls.Config, sum *done, ask bool) error {
	begun := time.Now()
	conn, err := dialTCP(o, config)
	if err != nil {
		return err
	}
	defer func(conn net.Conn) { _ = conn.Close() }(conn)
	if sum != nil && conn.ConnectionState().DidResume != o.resumes() {
		return errors.New("not the kind of handshake that was wanted")
	}
	connected := time.Since(begun)
	if ask || sum == nil {
		var header [headerSize]byte
		binary.BigEndian.PutUint64(header[:], 1)
		if _, err := conn.Write(header[:]); err != nil {
			return err
		}
		var answer [1]byte
		if _, err := io.ReadFull(conn, answer[:]); err != nil {
			return err
		}
	}
	if sum != nil {
		elapsed := connected
		if o.kind == "first-byte" {
			elapsed = time.Since(begun)
		}
		sum.latencies = append(sum.latencies, elapsed)
		sum.count++
	}
	return nil
}
