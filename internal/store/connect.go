package store

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"net"
	"sync/atomic"
	"time"

	mssql "github.com/microsoft/go-mssqldb"
	"github.com/microsoft/go-mssqldb/msdsn"
)

// connector lets nobody wait for a connection longer than they have time: the driver looks up the host's name and begins
// to sign in without asking the context. A connection that is there when whoever asked for it has left goes to the next
// one. Otherwise a server that takes long to let somebody in, as one that has just taken over from another does, would be
// asked again and again, and nobody would ever get in.
type connector struct {
	config  msdsn.Config
	silence time.Duration
	dialing chan struct{}
	made    chan driver.Conn
	closed  chan struct{}
}

const (
	// maxDialing is how many connections of a pool are made at once: many at a time take a server longer than few in turn.
	maxDialing = 4
	// spareTime is how long a connection that nobody has used waits for somebody.
	spareTime = 10 * time.Second
)

func newConnector(config msdsn.Config, silence time.Duration) connector {
	return connector{config, silence, make(chan struct{}, maxDialing), make(chan driver.Conn), make(chan struct{})}
}

// Driver is the driver of the connections.
func (connector) Driver() driver.Driver { return &mssql.Driver{} }

// Connect makes a connection, or takes one that is left over.
func (c connector) Connect(ctx context.Context) (driver.Conn, error) {
	if conn := c.spare(ctx); conn != nil {
		return conn, nil
	}
	ended, dialing := make(chan error, 1), c.dialing
	for {
		select {
		case conn := <-c.made:
			return conn, nil
		case dialing <- struct{}{}:
			dialing = nil
			go c.dial(context.WithoutCancel(ctx), ended)
		case err := <-ended:
			if err != nil {
				return nil, err
			}
			dialing = c.dialing // somebody else has taken what was made
		case <-ctx.Done():
			return nil, fmt.Errorf("connect to SQL Server: %w", ctx.Err())
		}
	}
}

// spare returns a connection that is left over, or nil. Those that the server has closed in the meantime are thrown away.
func (c connector) spare(ctx context.Context) driver.Conn {
	for {
		select {
		case conn := <-c.made:
			if r, ok := conn.(driver.SessionResetter); ok && r.ResetSession(ctx) == nil {
				return conn
			}
			_ = conn.Close()
		default:
			return nil
		}
	}
}

// dial makes a connection for whoever comes first, and tells when somebody has taken it, or that there is none.
func (c connector) dial(ctx context.Context, ended chan<- error) {
	ctx, cancel := context.WithTimeout(ctx, statementTime)
	context.AfterFunc(ctx, func() { <-c.dialing }) // also where the driver does not come back
	conn, err := c.connect(ctx)
	cancel()
	if err != nil {
		ended <- err
		return
	}
	select {
	case c.made <- conn:
		ended <- nil
		return
	case <-time.After(spareTime):
	case <-c.closed:
	}
	_ = conn.Close() // nobody has used it
}

// connect makes a connection with a dialer of its own, which knows the line that became the connection's.
func (c connector) connect(ctx context.Context) (driver.Conn, error) {
	d := &dialer{Dialer: net.Dialer{KeepAlive: c.config.KeepAlive}, silence: c.silence}
	own := mssql.NewConnectorConfig(c.config)
	own.Dialer = d
	made, err := own.Connect(ctx)
	if err != nil {
		return nil, err
	}
	driven, ok := made.(*mssql.Conn)
	if !ok {
		return nil, errors.Join(fmt.Errorf("the driver's connection is a %T", made), made.Close())
	}
	// The first request resets the session. What stops a request may be lost while a server does that, and the connection with
	// it: let it be one that nobody stops.
	if err := driven.Ping(ctx); err != nil {
		return nil, errors.Join(err, driven.Close())
	}
	return &connection{Conn: driven, line: d.used.Load(), since: time.Now()}, nil
}

// Close is called when the pool is closed.
func (c connector) Close() error {
	close(c.closed)
	return nil
}

// maxUnasked is how long a connection may lie idle and be used again without a question.
const maxUnasked = time.Second

// connection is a driver's connection that finds out, before there is anything to lose, that the server has closed it:
// database/sql takes another one then. To ask would cost each statement a second round trip. So a connection that is in use
// looks for itself whether an end, or anything else, has come meanwhile. One that has lain idle for longer asks, for a server
// that was switched off, or a network that has forgotten the connection, says so only then.
//
// So does one that had a transaction, and has the server reset the session, whatever became of the transaction: a single
// statement leaves nothing behind. The isolation level is READ COMMITTED in a new connection and in each transaction.
type connection struct {
	*mssql.Conn
	line  *line // nil where there is none
	since time.Time
	began bool
}

// BeginTx begins a transaction.
func (c *connection) BeginTx(ctx context.Context, opts driver.TxOptions) (driver.Tx, error) {
	c.began = true
	return c.Conn.BeginTx(ctx, opts)
}

// IsValid is called when the connection goes back to the pool.
func (c *connection) IsValid() bool {
	c.since = time.Now()
	return c.Conn.IsValid()
}

// ResetSession is called when the connection is taken from the pool.
func (c *connection) ResetSession(ctx context.Context) error {
	err := errors.ErrUnsupported
	if c.line != nil {
		err = quiet(c.line.Conn)
	}
	switch {
	case !c.Conn.IsValid(), err != nil && !errors.Is(err, errors.ErrUnsupported):
		return driver.ErrBadConn
	case err == nil && !c.began && time.Since(c.since) < maxUnasked:
		return nil
	}
	if c.Conn.ResetSession(ctx) != nil || c.Ping(ctx) != nil {
		return driver.ErrBadConn
	}
	c.began = false
	return nil
}

// dialer makes the lines of one connection: several where the server has several addresses or sends on to another one.
type dialer struct {
	net.Dialer
	silence time.Duration
	// used is the line that was written to last. The driver may dial several at once, and speaks on one.
	used atomic.Pointer[line]
}

// DialContext connects to the server.
func (d *dialer) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	conn, err := d.Dialer.DialContext(ctx, network, address)
	if err != nil || d.silence == 0 {
		return conn, err
	}
	return &line{conn, d}, nil
}

// line breaks where the server is silent for too long. The driver's own "connection timeout" counts anew when it asks the
// server to stop a statement, which would double the wait.
type line struct {
	net.Conn
	dialer *dialer
}

// Read waits for the server.
func (l *line) Read(b []byte) (int, error) {
	if err := l.SetReadDeadline(time.Now().Add(l.dialer.silence)); err != nil {
		return 0, err
	}
	return l.Conn.Read(b)
}

// Write waits for room in the network.
func (l *line) Write(b []byte) (int, error) {
	l.dialer.used.Store(l)
	if err := l.SetWriteDeadline(time.Now().Add(l.dialer.silence)); err != nil {
		return 0, err
	}
	return l.Conn.Write(b)
}
