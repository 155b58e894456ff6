package main

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"
	"gvisor.dev/gvisor/pkg/tcpip/transport/udp"
	"gvisor.dev/gvisor/pkg/waiter"
)

func isRefused(err error) bool { return errors.Is(err, unix.ECONNREFUSED) }

// expose lets the host's network reach a port of the machine's by a socket that is
// bound already. The file stays the caller's.
func (m *machine) expose(network string, port uint16, file *os.File) error {
	switch network {
	case "tcp":
		l, err := net.FileListener(file)
		if err != nil {
			return fmt.Errorf("expose: %w", err)
		}
		listener, ok := l.(*net.TCPListener)
		if !ok || !m.keep(l) {
			l.Close()
			return errors.New("expose: not a TCP listener")
		}
		m.running.Go(func() { m.listen(listener, port) })
		return nil
	case "udp":
		c, err := net.FilePacketConn(file)
		if err != nil {
			return fmt.Errorf("expose: %w", err)
		}
		conn, ok := c.(*net.UDPConn)
		if !ok || !m.keep(c) {
			c.Close()
			return errors.New("expose: not a UDP socket")
		}
		m.running.Go(func() { m.listenUDP(conn, port) })
		return nil
	}
	return fmt.Errorf("expose: there is no protocol %q", network)
}

// listen accepts connections. Where descriptors are used up it tries again.
func (m *machine) listen(l *net.TCPListener, port uint16) {
	for {
		conn, err := l.AcceptTCP()
		switch {
		case err == nil:
			m.accept(conn, port)
		case errors.Is(err, net.ErrClosed):
			return
		default:
			time.Sleep(10 * time.Millisecond)
		}
	}
}

// listenUDP has a flow for each peer.
func (m *machine) listenUDP(conn *net.UDPConn, port uint16) {
	var mu sync.Mutex
	peers := map[netip.AddrPort]*flow{}
	buf := make([]byte, maxDatagram)
	for {
		n, from, err := conn.ReadFromUDPAddrPort(buf)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			time.Sleep(time.Millisecond)
			continue
		}
		mu.Lock()
		f := peers[from]
		mu.Unlock()
		if f == nil {
			f = m.newPeer(port, func(b []byte) { conn.WriteToUDPAddrPort(b, from) })
			if f == nil {
				continue
			}
			mu.Lock()
			peers[from] = f
			mu.Unlock()
			m.flows.start(f, func() {
				mu.Lock()
				delete(peers, from)
				mu.Unlock()
			})
		}
		f.toMachine(buf[:n])
	}
}

// newPeer is an end of the gateway's that talks to a UDP port of the machine's.
func (m *machine) newPeer(port uint16, toHost func([]byte)) *flow {
	queue := new(waiter.Queue)
	ep, failed := m.network.stack.NewEndpoint(udp.ProtocolNumber, networkProtocol, queue)
	if failed != nil {
		return nil
	}
	if failed = ep.Connect(endpointOf(m.address, port)); failed != nil {
		ep.Close()
		return nil
	}
	return &flow{ep: ep, queue: queue, toHost: toHost, gone: make(chan struct{})}
}
