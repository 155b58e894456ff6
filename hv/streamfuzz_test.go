package hv

import (
	"io"
	"testing"
	"time"

	"github.com/pvrun/pvrun/hypercall"
)

// FuzzStream has host and guest do anything to streams, and looks whether what bounds
// them holds.
func FuzzStream(f *testing.F) {
	f.Add([]byte("\x00\x01\x02\x03\x04\x05\x06\x07\x08\x09"))
	f.Add([]byte("\x00\x10\x20\x30\x40\x50\x60\x70\x80\x90\xa0\xb0\xc0\xd0\xe0\xf0"))
	f.Fuzz(fuzzStream)
}

func fuzzStream(t *testing.T, program []byte) {
	g := newStreamGuest(t)
	var conns []*conn
	for i := 0; i+3 < len(program) && i < 4000; i += 4 {
		op, x, n := program[i], program[i+1], uint64(program[i+2])<<uint(program[i+3]%16)
		var c *conn
		if len(conns) > 0 {
			c = conns[int(x)%len(conns)]
		}
		switch {
		case op%16 < 2 || c == nil:
			if d, err := g.Dial(int(x)); err == nil {
				conns = append(conns, d.(*conn))
			}
		case op%16 < 8:
			g.streams.call(callArgs{c.id + uint64(op>>7), uint64(op % 8), scratch + n%64, n})
		case op%16 == 8:
			c.SetWriteDeadline(time.Now())
			c.Write(make([]byte, n))
			c.SetWriteDeadline(time.Time{})
			if c.out.len() == 0 {
				c.Write(make([]byte, n%streamBuffer))
			}
		case op%16 == 9:
			if c.in.len() > 0 || c.err != nil || c.inEnded {
				c.Read(make([]byte, n))
			}
		case op%16 == 10:
			c.CloseWrite()
		case op%16 == 11:
			c.Close()
		case op%16 == 12:
			g.next()
		case op%16 == 13:
			g.shared.MessagesTaken = uint32(n) + g.messages.prod - 32
			g.messages.bring()
		case op%16 == 14:
			if r := g.do(servicePort, hypercall.StreamConnect, 0); r > 0 {
				if d, err := g.Accept(t.Context()); err == nil {
					conns = append(conns, d.(*conn))
				}
			}
		case x == 0:
			g.streams.reset(g.streams.last)
		}
		g.checkStreams()
	}
	g.streams.end()
	for _, c := range conns {
		if _, err := io.Copy(io.Discard, c); err == nil && !c.inEnded {
			t.Error("a stream of a machine that is over has ended well")
		}
		c.Close()
	}
}

// checkStreams looks at what bounds streams.
func (g *streamGuest) checkStreams() {
	g.t.Helper()
	s := g.streams
	if len(s.all) > hypercall.MaxStreams || len(s.backlog) > hypercall.MaxStreams || len(s.due) > hypercall.MaxStreams {
		g.t.Fatalf("%d streams, %d wait, %d are due", len(s.all), len(s.backlog), len(s.due))
	}
	if n := g.messages.prod - g.messages.taken; n > hypercall.MessageSlots {
		g.t.Fatalf("%d messages are not taken", n)
	}
	for id, c := range s.all {
		if c.id != id || c.way < 0 || c.way > hypercall.StreamWindow || c.in.len() > c.most || c.out.len() > streamBuffer ||
			cap(c.in.b) > 4*streamBuffer || c.ended && c.inEnded {
			g.t.Fatalf("stream %d: %+v", id, c)
		}
		if c.wants() && !c.listed {
			g.t.Fatalf("stream %d has something to tell, and is not in the list", id)
		}
	}
}
