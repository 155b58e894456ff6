package main

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	"gvisor.dev/gvisor/pkg/tcpip/adapters/gonet"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv4"
)

// exposed lets the host reach a port of the machine's, and returns where.
func exposed(t testing.TB, g *guest, port int) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	file, err := l.(*net.TCPListener).File()
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	if r := ask(t, g.control, fmt.Sprintf(`{"expose":{"network":"tcp","port":%d}}`, port), file); r.Error != "" {
		t.Fatal(r.Error)
	}
	return l.Addr().String()
}

func payload(size int) []byte {
	b := make([]byte, size)
	r := rand.NewChaCha8([32]byte{})
	r.Read(b)
	return b
}

// answer serves one side of a connection: it reads to the end, and then sends what it
// has read twice.
func answer(t testing.TB, c net.Conn) {
	defer c.Close()
	b, err := io.ReadAll(c)
	if err == nil {
		_, err = c.Write(append(b, b...))
	}
	if err != nil {
		t.Errorf("serve: %v", err)
	}
}

// question is the other side: it sends, says that this was all, and then reads.
func question(t testing.TB, c net.Conn, size int) {
	t.Helper()
	defer c.Close()
	c.SetDeadline(time.Now().Add(60 * time.Second))
	sent := payload(size)
	if _, err := c.Write(sent); err != nil {
		t.Errorf("send: %v", err)
		return
	}
	c.(interface{ CloseWrite() error }).CloseWrite()
	got, err := io.ReadAll(c)
	if err != nil || !bytes.Equal(got, append(sent, sent...)) {
		t.Errorf("got %d bytes, %v; sent %d", len(got), err, len(sent))
	}
}

func (g *guest) listen(t testing.TB, port uint16) net.Listener {
	t.Helper()
	l, err := gonet.ListenTCP(g.stack, endpointOf(g.address, port), ipv4.ProtocolNumber)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// talk has the host ask a server in the machine, at port 80, where in leads to.
func talk(t testing.TB, g *guest, in string, size int) {
	t.Helper()
	l := g.listen(t, 80)
	defer l.Close()
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go answer(t, c)
		}
	}()
	c, err := net.Dial("tcp", in)
	if err != nil {
		t.Fatal(err)
	}
	question(t, c, size)
}

// Bytes come through both ways, and so does the end of one direction alone.
func TestIn(t *testing.T) {
	n := testNetwork(t)
	for i, mtu := range []int{0, 1500, 9000} {
		g := join(t, n, joinRequest{MAC: mac(i), MTU: mtu})
		talk(t, g, exposed(t, g, 80), 3<<20)
	}
}

func TestOut(t *testing.T) {
	g := join(t, testNetwork(t), joinRequest{MAC: mac(1)})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go answer(t, c)
		}
	}()
	port := l.Addr().(*net.TCPAddr).AddrPort().Port()
	var all sync.WaitGroup
	for range 100 {
		all.Go(func() {
			c, err := gonet.DialTCP(g.stack, endpointOf(host, port), ipv4.ProtocolNumber)
			if err != nil {
				t.Error(err)
				return
			}
			question(t, c, 64<<10)
		})
	}
	all.Wait()
	// Nobody listens, and nobody may.
	for _, to := range []netip.AddrPort{netip.AddrPortFrom(host, 1), netip.AddrPortFrom(gateway, 1)} {
		if c, err := gonet.DialTCP(g.stack, endpointOf(to.Addr(), to.Port()), ipv4.ProtocolNumber); err == nil {
			c.Close()
			t.Errorf("connected to %v", to)
		}
	}
}

// A port where the machine does not listen refuses.
func TestRefusedIn(t *testing.T) {
	g := join(t, testNetwork(t), joinRequest{MAC: mac(1)})
	c, err := net.Dial("tcp", exposed(t, g, 80))
	if errors.Is(err, unix.ECONNRESET) { // so soon
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(5 * time.Second))
	if n, err := c.Read(make([]byte, 1)); n != 0 || err == nil || isTimeout(err) {
		t.Errorf("got %d, %v", n, err)
	}
}

func isTimeout(err error) bool {
	e, ok := err.(net.Error)
	return ok && e.Timeout()
}

func TestBetween(t *testing.T) {
	n := testNetwork(t)
	a, b := join(t, n, joinRequest{Name: "a", MAC: mac(1)}), join(t, n, joinRequest{Name: "b", MAC: mac(2)})
	l := a.listen(t, 80)
	defer l.Close()
	go func() {
		c, err := l.Accept()
		if err == nil {
			answer(t, c)
		}
	}()
	c, err := gonet.DialTCP(b.stack, endpointOf(a.address, 80), ipv4.ProtocolNumber)
	if err != nil {
		t.Fatal(err)
	}
	question(t, c, 1<<20)
}

func TestUDP(t *testing.T) {
	g := join(t, testNetwork(t), joinRequest{MAC: mac(1)})
	echo, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer echo.Close()
	go reflect(echo)
	port := echo.LocalAddr().(*net.UDPAddr).AddrPort().Port()
	to := endpointOf(host, port)
	out, err := gonet.DialUDP(g.stack, nil, &to, ipv4.ProtocolNumber)
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	echoes(t, "out", out)

	at := endpointOf(g.address, 53)
	server, err := gonet.DialUDP(g.stack, &at, nil, ipv4.ProtocolNumber)
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	go reflect(server)
	front, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer front.Close()
	file, err := front.File()
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	if r := ask(t, g.control, `{"expose":{"network":"udp","port":53}}`, file); r.Error != "" {
		t.Fatal(r.Error)
	}
	for range 3 {
		in, err := net.Dial("udp", front.LocalAddr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer in.Close()
		echoes(t, "in", in)
	}
}

func reflect(c net.PacketConn) {
	b := make([]byte, maxDatagram)
	for {
		n, from, err := c.ReadFrom(b)
		if err != nil {
			return
		}
		c.WriteTo(b[:n], from)
	}
}

func echoes(t *testing.T, what string, c net.Conn) {
	t.Helper()
	for _, size := range []int{1, 1400, 9000, 60000} {
		sent := payload(size)
		c.SetDeadline(time.Now().Add(5 * time.Second))
		if _, err := c.Write(sent); err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		b := make([]byte, maxDatagram)
		n, err := c.Read(b)
		if err != nil || sha256.Sum256(b[:n]) != sha256.Sum256(sent) {
			t.Errorf("%s: %d bytes: got %d, %v", what, size, n, err)
		}
	}
}

// Many connections at a time, and many one after another.
func TestMany(t *testing.T) {
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
				defer c.Close()
				io.Copy(c, c)
			}()
		}
	}()
	var open []net.Conn
	for range 500 {
		c, err := net.Dial("tcp", in)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		open = append(open, c)
	}
	for i, c := range open {
		c.SetDeadline(time.Now().Add(20 * time.Second))
		fmt.Fprintf(c, "%08d", i)
	}
	for i, c := range open {
		b := make([]byte, 8)
		if _, err := io.ReadFull(c, b); err != nil || string(b) != fmt.Sprintf("%08d", i) {
			t.Fatalf("connection %d: %q, %v", i, b, err)
		}
	}
}
