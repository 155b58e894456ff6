package main

import (
	"io"
	"net"
	"testing"
	"time"
)

// A peer that reads nothing closes the window for what the machine sends. What goes
// the other way comes through all the same.
func TestClosedWindow(t *testing.T) {
	g := join(t, testNetwork(t), joinRequest{MAC: mac(1)})
	in := exposed(t, g, 80)
	l := g.listen(t, 80)
	defer l.Close()
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				b := payload(10007)
				for {
					if _, err := c.Write(b); err != nil {
						return
					}
				}
			}()
			go func() {
				b := make([]byte, 64<<10)
				for {
					if _, err := c.Read(b); err != nil {
						c.Close()
						return
					}
					time.Sleep(100 * time.Microsecond) // so that the window closes here too
				}
			}()
		}
	}()
	for range 5 {
		c, err := net.Dial("tcp", in)
		if err != nil {
			t.Fatal(err)
		}
		c.SetDeadline(time.Now().Add(10 * time.Second))
		if n, err := io.CopyN(c, zeros{}, 32<<20); err != nil {
			t.Errorf("after %d bytes: %v", n, err)
		}
		c.Close()
	}
}

type zeros struct{}

func (zeros) Read(b []byte) (int, error) { return len(b), nil }
