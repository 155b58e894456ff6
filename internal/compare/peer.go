package compare

import (
	"encoding/binary"
	"io"
	"net"
	"strconv"
)

// What the program net (images/net) and its peer move at a time, in bytes.
const (
	peerMessage = 64
	peerChunk   = 64 << 10
)

// peer is whom the program net talks to, on the host's loopback.
type peer struct{ net.Listener }

func newPeer() (peer, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return peer{}, err
	}
	p := peer{l}
	go p.serve()
	return p, nil
}

// address is where a machine on the user's network finds it.
func (p peer) address() string {
	return "host.pvrun.internal:" + strconv.Itoa(p.Addr().(*net.TCPAddr).Port)
}

func (p peer) serve() {
	for {
		c, err := p.Accept()
		if err != nil {
			return
		}
		go func() {
			defer c.Close()
			_ = answer(c) // the program notices
		}()
	}
}

// answer does what one connection asks for.
func answer(c net.Conn) error {
	buf := make([]byte, peerChunk)
	if _, err := io.ReadFull(c, buf[:9]); err != nil {
		return err
	}
	kind, n := buf[0], binary.LittleEndian.Uint64(buf[1:])
	for ; n > 0; n-- {
		var err error
		switch kind {
		case 'r':
			if _, err = io.ReadFull(c, buf[:peerMessage]); err == nil {
				_, err = c.Write(buf[:peerMessage])
			}
		case 'i':
			_, err = c.Write(buf)
		case 'o':
			_, err = io.ReadFull(c, buf)
		}
		if err != nil {
			return err
		}
	}
	if kind == 'o' {
		_, err := c.Write(buf[:1])
		return err
	}
	return nil
}
