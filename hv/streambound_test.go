package hv

import (
	"testing"

	"github.com/pvrun/pvrun/hypercall"
)

// TestStreamsNotTaken: streams that come and go while the guest takes no messages leave
// nothing behind.
func TestStreamsNotTaken(t *testing.T) {
	g := newStreamGuest(t)
	for range 10 * hypercall.MaxStreams {
		id := g.do(servicePort, hypercall.StreamConnect, 0)
		if id <= 0 {
			t.Fatal(id)
		}
		c, err := g.Accept(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		c.Write([]byte("x"))
		g.messages.bring()
		g.do(uint64(id), hypercall.StreamReset, 0)
		c.Close()
		g.checkStreams()
	}
}
