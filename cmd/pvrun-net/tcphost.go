package main

import (
	"bytes"
	"io"
	"syscall"

	"golang.org/x/sys/unix"
	"gvisor.dev/gvisor/pkg/tcpip"
)

// someToMachine waits for the host's side, and writes what it has to the machine.
func (c *conn) someToMachine(raw syscall.RawConn, writable <-chan struct{}) error {
	var result error
	err := raw.Read(func(fd uintptr) (done bool) {
		// A connection that waits here has no buffer.
		buf := copyBuffers.Get().(*[copyBuffer]byte)
		defer copyBuffers.Put(buf)
		n, err := unix.Read(int(fd), buf[:])
		switch {
		case err == unix.EAGAIN || err == unix.EINTR:
			return false
		case err != nil:
			result = err
		case n == 0:
			result = io.EOF
		default:
			result = c.writeAll(buf[:n], writable)
		}
		return true
	})
	if err != nil {
		return err
	}
	return result
}

func (c *conn) writeAll(b []byte, writable <-chan struct{}) error {
	var r bytes.Reader
	for len(b) > 0 {
		err := c.wait(writable, func() tcpip.Error {
			r.Reset(b)
			n, err := c.ep.Write(&r, tcpip.WriteOptions{})
			b = b[n:]
			return err
		})
		if err != nil {
			return err
		}
	}
	return nil
}
