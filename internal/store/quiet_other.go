//go:build !unix

package store

import (
	"errors"
	"net"
)

// quiet cannot be told here.
func quiet(net.Conn) error { return errors.ErrUnsupported }
