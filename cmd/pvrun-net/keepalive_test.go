package main

import (
	"io"
	"net"
	"net/netip"
	"testing"
	"time"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/adapters/gonet"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv4"
	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"
)

// A connection that the machine has closed goes although the server never closes it. One
// that it has only shut down stays.
func TestServerNeverCloses(t *testing.T) {
	n := testNetwork(t)
	n.asks = keepalive{200 * time.Millisecond, 50 * time.Millisecond}
	g := join(t, n, joinRequest{MAC: mac(1)})
	forget := tcpip.TCPLingerTimeoutOption(300 * time.Millisecond)
	if err := g.stack.SetTransportProtocolOption(tcp.ProtocolNumber, &forget); err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	shut, atShut := g.dialHost(t, l)
	closed, atClosed := g.dialHost(t, l)
	defer shut.Close()
	defer atShut.Close()
	defer atClosed.Close()
	shut.CloseWrite()
	closed.Close()
	for _, c := range []net.Conn{atShut, atClosed} {
		if b, err := io.ReadAll(c); err != nil || len(b) != 0 {
			t.Fatal(b, err)
		}
	}
	conns := &n.machine(g.address).conns
	for deadline := time.Now().Add(30 * time.Second); conns.count() != 1; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("there are %d connections, want the one that is shut down", conns.count())
		}
	}
	atShut.Write([]byte("late"))
	atShut.Close()
	shut.SetDeadline(time.Now().Add(30 * time.Second))
	if b, err := io.ReadAll(shut); err != nil || string(b) != "late" {
		t.Errorf("%q, %v", b, err)
	}
}

func (s *connSet) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.all)
}

// dialHost connects the machine to a server on the host.
func (g *guest) dialHost(t *testing.T, l net.Listener) (*gonet.TCPConn, net.Conn) {
	t.Helper()
	port := netip.MustParseAddrPort(l.Addr().String()).Port()
	c, err := gonet.DialTCP(g.stack, endpointOf(host, port), ipv4.ProtocolNumber)
	if err != nil {
		t.Fatal(err)
	}
	server, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	return c, server
}
