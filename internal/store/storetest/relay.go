package storetest

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/url"
	"sync"
	"testing"
	"time"
	"unicode/utf16"
)

// Fate is what becomes of a request on its way to SQL Server.
type Fate int

// The fates.
const (
	// Pass lets it through.
	Pass Fate = iota
	// Swallow resets the connection before the server sees the request.
	Swallow
	// LoseAnswer lets the server execute the request and resets the connection instead of passing the answer on.
	LoseAnswer
)

// Relay is the network between a program and SQL Server, which a test can break. It understands as much of TDS, the
// protocol, as it takes to break at a certain statement; connections through it are not encrypted.
type Relay struct {
	t        testing.TB
	url      url.URL
	target   string
	address  string
	listener net.Listener

	mu      sync.Mutex
	conns   map[net.Conn]bool
	closed  bool
	silent  chan struct{} // nil where everything passes; closed when it does again
	latency time.Duration
	decide  func(Request) Fate
}

// NewRelay makes a relay to the server of a database's URL, which works until the test breaks it.
func NewRelay(t testing.TB, database string) *Relay {
	t.Helper()
	u, err := url.Parse(database)
	if err != nil || u.Scheme != "sqlserver" { // the error may quote the password
		t.Fatalf("there is no SQL Server to relay to: set %s", ServerVariable)
	}
	r := &Relay{t: t, url: *u, target: u.Host, address: "127.0.0.1:0", conns: map[net.Conn]bool{}}
	if u.Port() == "" {
		r.target = net.JoinHostPort(u.Hostname(), "1433")
	}
	r.listen()
	t.Cleanup(func() {
		r.mu.Lock()
		r.closed = true
		r.mu.Unlock()
		r.Refuse()
		r.Talk()
	})
	return r
}

// URL is the database's by way of the relay.
func (r *Relay) URL() string {
	u := r.url
	u.Host = r.address
	query := u.Query()
	query.Set("encrypt", "disable")
	u.RawQuery = query.Encode()
	return u.String()
}

func (r *Relay) listen() {
	r.t.Helper()
	var config net.ListenConfig
	var err error
	for range 100 { // for a moment, another program may have the port that was left
		if r.listener, err = config.Listen(context.Background(), "tcp", r.address); err == nil {
			r.address = r.listener.Addr().String()
			go r.accept(r.listener)
			return
		}
		time.Sleep(50 * time.Millisecond)
	}
	r.t.Fatal(err)
}

// Refuse breaks all connections and refuses new ones, as a server does that is being restarted.
func (r *Relay) Refuse() {
	_ = r.listener.Close() // it may be closed already
	r.Cut()
}

// Accept ends Refuse.
func (r *Relay) Accept() { r.listen() }

// Cut resets all connections.
func (r *Relay) Cut() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for conn := range r.conns {
		reset(conn)
	}
}

// Hush has nothing pass any more, in either direction, and no connection end, as where a cable is cut.
func (r *Relay) Hush() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.silent = make(chan struct{})
}

// Talk ends Hush: what was sent meanwhile arrives now.
func (r *Relay) Talk() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.silent != nil {
		close(r.silent)
		r.silent = nil
	}
}

// Delay has every request, and each connection's beginning, arrive so much later.
func (r *Relay) Delay(d time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.latency = d
}

// Decide asks a function for the fate of each request from now on. It is called by one goroutine at a time.
func (r *Relay) Decide(f func(Request) Fate) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.decide = f
}

func (r *Relay) accept(listener net.Listener) {
	for {
		client, err := listener.Accept()
		if err != nil {
			return
		}
		go r.serve(client)
	}
}

// serve carries one connection.
func (r *Relay) serve(client net.Conn) {
	defer reset(client)
	if !r.track(client) {
		return
	}
	defer r.forget(client)
	r.pause()
	var dialer net.Dialer
	server, err := dialer.DialContext(context.Background(), "tcp", r.target)
	if err != nil {
		return
	}
	defer func() { _ = server.Close() }()
	lost := make(chan struct{})
	var once sync.Once
	go func() {
		defer reset(client)
		buffer := make([]byte, 32<<10)
		for {
			n, err := server.Read(buffer)
			if errors.Is(err, io.EOF) {
				_ = client.Close() // the server has ended it in good order
			}
			if err != nil {
				return
			}
			select {
			case <-lost:
				return
			default:
			}
			r.listenForTalk()
			if _, err := client.Write(buffer[:n]); err != nil {
				return
			}
		}
	}()
	for {
		request, err := readRequest(client)
		if err != nil {
			return
		}
		r.pause()
		switch r.fate(request) {
		case Swallow:
			return
		case LoseAnswer:
			once.Do(func() { close(lost) })
		case Pass:
		}
		if _, err := server.Write(request.packets); err != nil {
			return
		}
	}
}

func (r *Relay) track(conn net.Conn) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.conns[conn] = true
	return !r.closed
}

func (r *Relay) forget(conn net.Conn) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.conns, conn)
}

// pause waits as long as the network takes.
func (r *Relay) pause() {
	r.mu.Lock()
	latency := r.latency
	r.mu.Unlock()
	time.Sleep(latency)
	r.listenForTalk()
}

func (r *Relay) listenForTalk() {
	r.mu.Lock()
	silent := r.silent
	r.mu.Unlock()
	if silent != nil {
		<-silent
	}
}

func (r *Relay) fate(request Request) Fate {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.decide == nil {
		return Pass
	}
	return r.decide(request)
}

// reset ends a connection so that its peer gets an error, and not an end.
func reset(conn net.Conn) {
	if tcp, ok := conn.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0) // a closed connection is as good
	}
	_ = conn.Close()
}

// Request is a message from a client to SQL Server.
type Request struct{ packets []byte }

// The parts of TDS that matter here ([MS-TDS], sections 2.2.3.1 and 2.2.7.17).
const (
	packetHeader       = 8
	endOfMessage       = 0x01
	transactionManager = 0x0e
	login              = 0x10
)

// TransactionRequest is what is asked of a transaction.
type TransactionRequest uint16

// What the driver asks.
const (
	Begin    TransactionRequest = 5
	Commit   TransactionRequest = 7
	Rollback TransactionRequest = 8
)

// readRequest reads one message, which may have several packets.
func readRequest(from io.Reader) (Request, error) {
	var request Request
	for {
		var header [packetHeader]byte
		if _, err := io.ReadFull(from, header[:]); err != nil {
			return request, err
		}
		packet := make([]byte, max(packetHeader, int(binary.BigEndian.Uint16(header[2:]))))
		copy(packet, header[:])
		if _, err := io.ReadFull(from, packet[packetHeader:]); err != nil {
			return request, err
		}
		if request.packets = append(request.packets, packet...); header[1]&endOfMessage != 0 {
			return request, nil
		}
	}
}

// IsLogin tells whether it signs in, as the first one of each connection does.
func (q Request) IsLogin() bool { return q.packets[0] == login }

// Transaction says what it asks of the current transaction: Begin, Commit, Rollback, or 0 for nothing.
func (q Request) Transaction() TransactionRequest {
	if q.packets[0] != transactionManager || len(q.packets) < packetHeader+4 {
		return 0
	}
	body := q.packets[packetHeader:]
	headers := int(binary.LittleEndian.Uint32(body))
	if len(body) < headers+2 {
		return 0
	}
	return TransactionRequest(binary.LittleEndian.Uint16(body[headers:]))
}

// Holds tells whether a text, of a statement for one, is in it, not broken by the end of a packet.
func (q Request) Holds(text string) bool {
	var encoded []byte
	for _, unit := range utf16.Encode([]rune(text)) {
		encoded = binary.LittleEndian.AppendUint16(encoded, unit)
	}
	return bytes.Contains(q.packets, encoded)
}
