// Command net talks to a peer over one TCP connection: requests, or a stream in or out.
package main

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"

	"github.com/pvrun/pvrun/images/internal/ops"
)

// Bytes of one operation; a peer counts on the same.
const (
	message = 64
	chunk   = 64 << 10
)

func main() { ops.Main(work) }

// work tells the peer what it wants, in a byte, and how often, in eight.
func work(n int) error {
	if len(os.Args) != 4 {
		return errors.New("usage: net OPERATIONS request|in|out ADDRESS")
	}
	kind := os.Args[2]
	c, err := net.Dial("tcp", os.Args[3])
	if err != nil {
		return err
	}
	defer c.Close()
	if _, err := c.Write(binary.LittleEndian.AppendUint64([]byte{kind[0]}, uint64(n))); err != nil {
		return err
	}
	buf := make([]byte, chunk)
	switch kind {
	case "request":
		for range n {
			if _, err := c.Write(buf[:message]); err != nil {
				return err
			}
			if _, err := io.ReadFull(c, buf[:message]); err != nil {
				return err
			}
		}
		return nil
	case "in":
		for range n {
			if _, err := io.ReadFull(c, buf); err != nil {
				return err
			}
		}
		return nil
	case "out":
		for range n {
			if _, err := c.Write(buf); err != nil {
				return err
			}
		}
		_, err := io.ReadFull(c, buf[:1]) // the peer has it all
		return err
	}
	return fmt.Errorf("%s: must be request, in or out", kind)
}
