package store_test

import (
	"encoding/binary"
	"errors"
	"io"
	"net"
	"slices"
	"sync"
	"testing"
	"time"
	"unicode/utf16"

	"latchkey/internal/store"
)

// The kinds of TDS messages, and the procedure, that are spoken here ([MS-TDS], 2.2.3.1.1 and 2.2.6.6).
const (
	tdsBatch      = 1
	tdsRPC        = 3
	tdsAttention  = 6
	tdsReply      = 4
	tdsLogin      = 16
	tdsPrelogin   = 18
	spExecuteSQL  = 10
	tdsHeaderSize = 8
)

// wireStatement is a statement as the driver sent it, with the types that it declared for its parameters.
type wireStatement struct{ text, declarations string }

// ping is the question whether a connection is still there.
const ping = "select 1;"

// wire is what the driver takes for a server: it lets everybody in, answers every statement with no row, and keeps what
// was declared. So what is tested is the driver's own bytes, and no server is needed for it.
type wire struct {
	// greeting is how long it takes to answer the first message of a connection.
	greeting time.Duration

	mu         sync.Mutex
	statements []wireStatement
	faults     []error
	conns      []net.Conn
}

// openWire opens a store whose statements all go to a wire.
func openWire(t *testing.T) (*store.Store, *wire) {
	t.Helper()
	w := &wire{}
	return w.open(t), w
}

func (w *wire) open(t *testing.T) *store.Store {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0") //nolint:noctx // it lasts until the test ends
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return // the test has ended
			}
			w.mu.Lock()
			w.conns = append(w.conns, conn)
			w.mu.Unlock()
			go w.serve(conn)
		}
	}()
	return open(t, "sqlserver://user:password@"+listener.Addr().String()+"?database=latchkey&encrypt=disable")
}

// take returns the statements since the last call.
func (w *wire) take(t *testing.T) []wireStatement {
	t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	if err := errors.Join(w.faults...); err != nil {
		t.Fatal(err)
	}
	taken := slices.DeleteFunc(w.statements, func(s wireStatement) bool { return s.text == ping }) // of a connection
	w.statements = nil
	return taken
}

func (w *wire) serve(conn net.Conn) {
	defer func() { _ = conn.Close() }()
	for {
		kind, message, err := readTDS(conn)
		if err != nil {
			return // the driver has hung up
		}
		if kind == tdsRPC || kind == tdsBatch {
			statement, err := parseStatement(kind, message)
			w.mu.Lock()
			w.statements, w.faults = append(w.statements, statement), append(w.faults, err)
			w.mu.Unlock()
		}
		if kind == tdsPrelogin {
			time.Sleep(w.greeting)
		}
		reply := answerTDS(kind)
		header := []byte{tdsReply, 1, 0, 0, 0, 0, 1, 0}
		binary.BigEndian.PutUint16(header[2:], uint16(tdsHeaderSize+len(reply)))
		if _, err := conn.Write(append(header, reply...)); err != nil {
			return
		}
	}
}

// readTDS reads a message, which is one packet or several.
func readTDS(r io.Reader) (kind byte, message []byte, err error) {
	for {
		header := make([]byte, tdsHeaderSize)
		if _, err := io.ReadFull(r, header); err != nil {
			return 0, nil, err
		}
		packet := make([]byte, int(binary.BigEndian.Uint16(header[2:]))-tdsHeaderSize)
		if _, err := io.ReadFull(r, packet); err != nil {
			return 0, nil, err
		}
		if message = append(message, packet...); header[1]&1 != 0 { // it ends here
			return header[0], message, nil
		}
	}
}

func answerTDS(kind byte) []byte {
	done := make([]byte, 13) // DONE, without a row
	done[0] = 0xfd
	switch kind {
	case tdsPrelogin: // a version, and that there is no encryption
		return []byte{0, 0, 11, 0, 6, 1, 0, 17, 0, 1, 0xff, 16, 0, 0, 0, 0, 0, 2}
	case tdsLogin: // LOGINACK for TDS 7.4
		return append([]byte{0xad, 10, 0, 1, 0x74, 0, 0, 4, 0, 16, 0, 0, 0}, done...)
	case tdsAttention:
		done[1] = 0x20
	}
	return done
}

var errNoStatement = errors.New("a message is no sp_executesql with a text and declarations")

// parseStatement reads the first two parameters of sp_executesql, or a batch, which is text without parameters.
func parseStatement(kind byte, b []byte) (s wireStatement, err error) {
	defer func() {
		if recover() != nil { // it is shorter than it says
			err = errNoStatement
		}
	}()
	b = b[binary.LittleEndian.Uint32(b):] // headers
	if kind == tdsBatch {
		return wireStatement{text: parseUTF16(b)}, nil
	}
	if binary.LittleEndian.Uint16(b) != 0xffff || binary.LittleEndian.Uint16(b[2:]) != spExecuteSQL {
		return s, errNoStatement
	}
	b = b[6:]
	s.text, b = parseNVarChar(b)
	s.declarations, _ = parseNVarChar(b)
	return s, nil
}

// parseNVarChar reads a parameter that is text: name, status, type, size, collation, value.
func parseNVarChar(b []byte) (text string, rest []byte) {
	b = b[1+2*int(b[0])+1:]
	if b[0] != 0xe7 {
		panic(errNoStatement)
	}
	long := binary.LittleEndian.Uint16(b[1:]) == 0xffff
	b = b[8:]
	var value []byte
	if !long {
		n := int(binary.LittleEndian.Uint16(b))
		value, rest = b[2:2+n], b[2+n:]
	} else { // in pieces, after the whole length
		for rest = b[8:]; ; {
			n := int(binary.LittleEndian.Uint32(rest))
			if rest = rest[4:]; n == 0 {
				break
			}
			value, rest = append(value, rest[:n]...), rest[n:]
		}
	}
	return parseUTF16(value), rest
}

func parseUTF16(b []byte) string {
	units := make([]uint16, len(b)/2)
	for i := range units {
		units[i] = binary.LittleEndian.Uint16(b[2*i:])
	}
	return string(utf16.Decode(units))
}
