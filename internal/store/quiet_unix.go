//go:build unix

package store

import (
	"errors"
	"fmt"
	"net"
	"syscall"
)

var errSpoken = errors.New("the server has ended an idle connection, or spoken without being asked")

// quiet returns nil if nothing has come from a connection's peer, neither its end nor a byte, and ErrUnsupported where that
// cannot be told. It waits for nothing and leaves what has come.
func quiet(conn net.Conn) error {
	socket, ok := conn.(syscall.Conn)
	if !ok {
		return fmt.Errorf("%T: %w", conn, errors.ErrUnsupported)
	}
	raw, err := socket.SyscallConn()
	if err != nil {
		return err
	}
	var b [1]byte
	var peekErr error
	err = raw.Control(func(fd uintptr) {
		_, _, peekErr = syscall.Recvfrom(int(fd), b[:], syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
	})
	switch {
	case err != nil:
		return err
	case peekErr == nil:
		return errSpoken
	case errors.Is(peekErr, syscall.EAGAIN):
		return nil
	}
	return peekErr
}
