package main

import (
	"context"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/quic-go/quic-go"
)

const (
	alpn             = "perf"
	headerSize       = 8
	streamWindow     = 16 << 20
	connectionWindow = 32 << 20
	maxStreams       = 1024
	readSize         = 64 << 10
)

func quicConfig() *quic.Config {
	return &quic.Config{
		InitialStreamReceiveWindow:     streamWindow,
		MaxStreamReceiveWindow:         streamWindow,
		InitialConnectionReceiveWindow: connectionWindow,
		MaxConnectionReceiveWindow:     connectionWindow,
		MaxIncomingStreams:             maxStreams,
		MaxIdleTimeout:                 120 * time.Second,
		// The largest it takes.
		InitialPacketSize:       1452,
		DisablePathMTUDiscovery: true,
		EnableDatagrams:         true,
		Allow0RTT:               true,
	}
}

var buffers = sync.Pool{New: func() any { return make([]byte, readSize) }}

func serveQUIC(o *options, config *tls.Config, seen *totals) error {
	address, err := net.ResolveUDPAddr("udp", o.listen)
	if err != nil {
		return err
	}
	socket, err := net.ListenUDP("udp", address)
	if err != nil {
		return err
	}
	config.NextProtos = []string{alpn}
	listener, err := (&quic.Transport{Conn: socket}).ListenEarly(config, quicConfig())
	if err != nil {
		return err
	}
	fmt.Println("listening on", listener.Addr())
	for {
		conn, err := listener.Accept(context.Background())
		if err != nil {
			return err
		}
		go attend(conn, seen)
	}
}

func attend(conn *quic.Conn, seen *totals) {
	go func() {
		select {
		case <-conn.HandshakeComplete():
			seen.connections.Add(1)
		case <-conn.Context().Done():
			// Of two that are ready, select takes any.
			select {
			case <-conn.HandshakeComplete():
				seen.connections.Add(1)
			default:
			}
			return
		}
		for {
			if _, err := conn.ReceiveDatagram(conn.Context()); err != nil {
				return
			}
			seen.datagrams.Add(1)
		}
	}()
	for {
		stream, err := conn.AcceptStream(conn.Context())
		if err != nil {
			return
		}
		go func() {
			// Without its answer the client notices.
			_ = answer(stream, seen)
		}()
	}
}

// answer reads a request to its end and gives what it wants.
func answer(stream io.ReadWriteCloser, seen *totals) error {
	var header [headerSize]byte
	if _, err := io.ReadFull(stream, header[:]); err != nil {
		return err
	}
	body, err := receive(stream)
	if err != nil {
		return err
	}
	seen.streams.Add(1)
	seen.received.Add(body.offset)
	seen.mismatches.Add(body.mismatches)
	if err := sendPattern(stream, binary.BigEndian.Uint64(header[:])); err != nil {
		return err
	}
	return stream.Close()
}

// receive reads to the end.
func receive(stream io.Reader) (checker, error) {
	var c checker
	buffer := buffers.Get().([]byte)
	defer buffers.Put(buffer)
	for {
		n, err := stream.Read(buffer)
		c.check(buffer[:n])
		if errors.Is(err, io.EOF) {
			return c, nil
		}
		if err != nil {
			return c, err
		}
	}
}

func sendPattern(stream io.Writer, total uint64) error {
	for sent := uint64(0); sent < total; {
		n, err := stream.Write(piece(sent, total-sent))
		if err != nil {
			return err
		}
		sent += uint64(n)
	}
	return nil
}

// dialer makes connections to the one server.
type dialer struct {
	transport *quic.Transport
	to        *net.UDPAddr
	tls       *tls.Config
	config    *quic.Config
	sessions  *sessions
}

// sessions keeps the last ticket and tells when one comes.
type sessions struct {
	tls.ClientSessionCache
	came chan struct{}
}

// Put implements tls.ClientSessionCache.
func (s *sessions) Put(name string, state *tls.ClientSessionState) {
	s.ClientSessionCache.Put(name, state)
	if state == nil {
		return
	}
	select {
	case s.came <- struct{}{}:
	default:
	}
}

func newDialer(o *options) (*dialer, error) {
	config, err := clientTLS(o, alpn)
	if err != nil {
		return nil, err
	}
	d := &dialer{tls: config, config: quicConfig()}
	if o.resumes() {
		d.sessions = &sessions{tls.NewLRUClientSessionCache(1), make(chan struct{}, 1)}
		config.ClientSessionCache = d.sessions
	}
	if d.to, err = net.ResolveUDPAddr("udp", o.to); err != nil {
		return nil, err
	}
	socket, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		return nil, err
	}
	d.transport = &quic.Transport{Conn: socket}
	return d, nil
}

func (d *dialer) connect() (*quic.Conn, error) {
	return d.transport.Dial(context.Background(), d.to, d.tls, d.config)
}

func (d *dialer) connectEarly() (*quic.Conn, error) {
	return d.transport.DialEarly(context.Background(), d.to, d.tls, d.config)
}

func clientQUIC(o *options) error {
	d, err := newDialer(o)
	if err != nil {
		return err
	}
	switch o.work {
	case "bulk":
		return bulkQUIC(d, o)
	case "requests":
		return requestsQUIC(d, o)
	case "handshakes":
		return handshakesQUIC(d, o)
	case "datagrams":
		return datagramsQUIC(d, o)
	case "idle":
		return idleQUIC(d, o)
	}
	return fmt.Errorf("--work %s: not known", o.work)
}

// transfer opens a stream, sends and receives so much.
func transfer(conn *quic.Conn, upload, download uint64) (checker, error) {
	stream, err := conn.OpenStreamSync(context.Background())
	if err != nil {
		return checker{}, err
	}
	var header [headerSize]byte
	binary.BigEndian.PutUint64(header[:], download)
	if _, err := stream.Write(header[:]); err != nil {
		return checker{}, err
	}
	if err := sendPattern(stream, upload); err != nil {
		return checker{}, err
	}
	if err := stream.Close(); err != nil {
		return checker{}, err
	}
	c, err := receive(stream)
	if err == nil && c.offset != download {
		err = fmt.Errorf("%d bytes came where %d were asked for", c.offset, download)
	}
	return c, err
}

// together runs parts at the same time and adds up what they have done.
func together(parts uint64, part func(index uint64) (*done, error)) (*done, error) {
	results, failures := make(chan *done, parts), make(chan error, parts)
	for index := range parts {
		go func() {
			if d, err := part(index); err != nil {
				failures <- err
			} else {
				results <- d
			}
		}()
	}
	var sum done
	for range parts {
		select {
		case d := <-results:
			sum.add(d)
		case err := <-failures:
			return nil, err
		}
	}
	return &sum, nil
}

func bulkQUIC(d *dialer, o *options) error {
	conn, err := d.connect()
	if err != nil {
		return err
	}
	w := startWatch()
	sum, err := together(o.streams, func(index uint64) (*done, error) {
		up, down := share(o.upload, o.streams, index), share(o.download, o.streams, index)
		c, err := transfer(conn, up, down)
		return &done{bytes: up + down, count: 1, mismatches: c.mismatches}, err
	})
	if err != nil {
		return err
	}
	w.print(sum)
	return conn.CloseWithError(0, "")
}

func requestsQUIC(d *dialer, o *options) error {
	var conns []*quic.Conn
	for range o.connections {
		conn, err := d.connect()
		if err != nil {
			return err
		}
		conns = append(conns, conn)
	}
	var left atomic.Int64
	left.Store(int64(o.requests))
	w := startWatch()
	sum, err := together(o.connections*o.inflight, func(index uint64) (*done, error) {
		conn, mine := conns[index%o.connections], &done{}
		for left.Add(-1) >= 0 {
			begun := time.Now()
			c, err := transfer(conn, 0, o.response)
			if err != nil {
				return nil, err
			}
			mine.latencies = append(mine.latencies, time.Since(begun))
			mine.bytes += c.offset
			mine.count++
			mine.mismatches += c.mismatches
		}
		return mine, nil
	})
	if err != nil {
		return err
	}
	w.print(sum)
	return nil
}

func handshakesQUIC(d *dialer, o *options) error {
	if o.resumes() {
		conn, err := d.connect()
		if err != nil {
			return err
		}
		<-d.sessions.came
		if err := conn.CloseWithError(0, ""); err != nil {
			return err
		}
	}
	var sum done
	w := startWatch()
	for range o.count {
		begun := time.Now()
		conn, err := handshake(d, o, &sum)
		if err != nil {
			return err
		}
		sum.latencies = append(sum.latencies, time.Since(begun))
		sum.count++
		state := conn.ConnectionState()
		if state.TLS.DidResume != o.resumes() || (o.kind == "0rtt") != state.Used0RTT {
			return errors.New("not the kind of handshake that was wanted")
		}
		if o.resumes() {
			<-d.sessions.came
		}
		if err := conn.CloseWithError(0, ""); err != nil {
			return err
		}
	}
	w.print(&sum)
	return nil
}

func handshake(d *dialer, o *options, sum *done) (*quic.Conn, error) {
	if o.kind != "0rtt" {
		conn, err := d.connect()
		if err != nil || o.kind != "first-byte" {
			return conn, err
		}
		c, err := transfer(conn, 0, 1)
		sum.mismatches += c.mismatches
		return conn, err
	}
	conn, err := d.connectEarly()
	if err != nil {
		return nil, err
	}
	c, err := transfer(conn, 0, 1)
	sum.mismatches += c.mismatches
	<-conn.HandshakeComplete()
	return conn, err
}

func datagramsQUIC(d *dialer, o *options) error {
	conn, err := d.connect()
	if err != nil {
		return err
	}
	w := startWatch()
	data := piece(0, o.size)
	for range o.count {
		if err := conn.SendDatagram(data); err != nil {
			return err
		}
	}
	// Answered when all that was sent before has left.
	if _, err := transfer(conn, 0, 1); err != nil {
		return err
	}
	w.print(&done{bytes: o.count * o.size, count: o.count})
	return nil
}

func idleQUIC(d *dialer, o *options) error {
	w := startWatch()
	var conns []*quic.Conn
	for range o.connections {
		conn, err := d.connect()
		if err != nil {
			return err
		}
		conns = append(conns, conn)
	}
	w.print(&done{count: uint64(len(conns))})
	time.Sleep(time.Duration(o.seconds) * time.Second)
	return nil
}
