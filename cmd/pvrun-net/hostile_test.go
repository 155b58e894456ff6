package main

import (
	"encoding/binary"
	"net"
	"net/netip"
	"os"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// honestFrames are frames that a network takes from a machine, for tests to spoil.
func honestFrames(m *machine) [][]byte {
	to := netip.AddrPortFrom(netip.MustParseAddr("192.0.2.1"), 9)
	own := netip.AddrPortFrom(m.address, 1000)
	arp := make([]byte, ethernetHeader+arpLength)
	copy(arp, []byte{255, 255, 255, 255, 255, 255})
	copy(arp[6:], m.mac[:])
	copy(arp[12:], []byte{8, 6, 0, 1, 8, 0, 6, 4, 0, 1})
	copy(arp[22:], m.mac[:])
	copy(arp[28:], m.address.AsSlice())
	copy(arp[38:], gateway.AsSlice())
	icmp := udpFrame(m.hardware(), m.network.mac, own, to, make([]byte, 8))
	icmp[23] = protocolICMP
	tcp := udpFrame(m.hardware(), m.network.mac, own, to, make([]byte, 40))
	tcp[23] = 6
	broadcast := [6]byte{255, 255, 255, 255, 255, 255}
	return [][]byte{
		arp, icmp, tcp,
		udpFrame(m.hardware(), m.network.mac, own, to, []byte("x")),
		udpFrame(m.hardware(), m.network.mac, own, netip.AddrPortFrom(gateway, 53), make([]byte, 30)),
		udpFrame(m.hardware(), broadcast, netip.MustParseAddrPort("0.0.0.0:68"), netip.MustParseAddrPort("255.255.255.255:67"), make([]byte, 300)),
	}
}

// inert is a machine whose frames go nowhere but into the network.
func inert(t testing.TB, n *network, mac string) *machine {
	t.Helper()
	ours, theirs := sockets(t)
	defer theirs.Close()
	m, err := n.join(joinRequest{MAC: mac}, theirs)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		n.leave(m)
		ours.Close()
	})
	return m
}

// A machine speaks for itself alone.
func TestHonest(t *testing.T) {
	m := inert(t, testNetwork(t), mac(1))
	for i, f := range honestFrames(m) {
		if !honest(m, f) {
			t.Errorf("frame %d is refused", i)
		}
		for name, spoil := range map[string]func([]byte) []byte{
			"another's hardware address": func(f []byte) []byte { f[6+5]++; return f },
			"another type":               func(f []byte) []byte { binary.BigEndian.PutUint16(f[12:], 0x86dd); return f },
			"too short":                  func(f []byte) []byte { return f[:13] },
			"only a header":              func(f []byte) []byte { return f[:14] },
			"too long":                   func(f []byte) []byte { return append(f, make([]byte, maxMTU)...) },
			"another's address":          func(f []byte) []byte { f[29], f[31] = 1, 1; return f }, // ARP's ends there, too
		} {
			if spoiled := spoil(append([]byte{}, f...)); honest(m, spoiled) {
				t.Errorf("frame %d, %s: taken", i, name)
			}
		}
	}
}

// Nothing that a machine sends ends the network.
func FuzzReceive(f *testing.F) {
	n := testNetwork(f)
	m := inert(f, n, mac(1))
	for _, frame := range honestFrames(m) {
		f.Add(frame)
	}
	f.Fuzz(func(t *testing.T, frame []byte) {
		if len(frame) >= ethernetHeader { // or most would go no further than this
			copy(frame[6:], m.mac[:])
		}
		if len(frame) >= ethernetHeader+20 && binary.BigEndian.Uint16(frame[12:]) == typeIPv4 {
			copy(frame[ethernetHeader+12:], m.address.AsSlice())
			if a := netip.AddrFrom4([4]byte(frame[30:])); !subnet.Contains(a) {
				copy(frame[30:], []byte{192, 0, 2}) // for documentation: nobody is there
			}
		}
		n.receive(m, frame)
	})
}

// One that reads nothing loses its own frames, and keeps nobody waiting.
func TestDeafMachine(t *testing.T) {
	n := testNetwork(t)
	deaf, text := tryJoin(t, n, joinRequest{Name: "deaf", MAC: mac(1)})
	if text != "" {
		t.Fatal(text)
	}
	g := join(t, n, joinRequest{Name: "other", MAC: mac(2)})
	to := [6]byte(deaf.mac)
	begin := time.Now()
	for range 2000 {
		g.send(udpFrame(g.mac, to, netip.AddrPortFrom(g.address, 1), netip.AddrPortFrom(deaf.address, 1), make([]byte, 9000)))
	}
	talk(t, g, exposed(t, g, 80), 1<<20)
	if d := time.Since(begin); d > 10*time.Second {
		t.Errorf("took %v", d)
	}
	m := n.machine(deaf.address)
	m.port.mu.Lock()
	queued := m.port.queued
	m.port.mu.Unlock()
	if queued > maxQueue || m.port.dropped.Load() == 0 {
		t.Errorf("%d bytes are queued, %d frames were dropped", queued, m.port.dropped.Load())
	}
}

// A frame that makes the network panic costs its machine the link.
func TestPanic(t *testing.T) {
	ours, theirs := sockets(t)
	defer ours.Close()
	p, err := newPort(theirs, maxMTU)
	theirs.Close()
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		p.run(func([]byte) { panic("a frame") })
		close(ended)
	}()
	ours.Write(make([]byte, 100))
	ours.SetReadDeadline(time.Now().Add(5 * time.Second))
	if n, err := ours.Read(make([]byte, 1)); n != 0 || os.IsTimeout(err) {
		t.Errorf("got %d, %v", n, err)
	}
	<-ended
	p.close()
}

// A machine's flows are bounded: an old one gives way.
func TestManyFlows(t *testing.T) {
	g := join(t, testNetwork(t), joinRequest{MAC: mac(1)})
	sink, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer sink.Close()
	port := sink.LocalAddr().(*net.UDPAddr).AddrPort().Port()
	n := g.net
	m := n.machine(g.address)
	for i := range 3 * maxFlows {
		n.receive(m, udpFrame(g.mac, n.mac, netip.AddrPortFrom(g.address, uint16(1024+i)), netip.AddrPortFrom(host, port), []byte("x")))
	}
	m.flows.mu.Lock()
	defer m.flows.mu.Unlock()
	if len(m.flows.all) == 0 || len(m.flows.all) > maxFlows {
		t.Errorf("%d flows", len(m.flows.all))
	}
}

// A machine may take so many connections at a time and no more.
func TestManyDials(t *testing.T) {
	var s connSet
	s.init()
	for range maxMachineDials {
		if _, ok := s.dial(false); !ok {
			t.Fatal("refused")
		}
	}
	if _, ok := s.dial(false); ok {
		t.Error("one too many is allowed")
	}
}

// Echo requests for the host's network come back as from there.
func TestPing(t *testing.T) {
	conn, err := pingSocket()
	if err != nil {
		t.Skipf("NOT TESTED: the host gives no ping sockets: %v", err)
	}
	conn.Close()
	n := testNetwork(t)
	g, text := tryJoin(t, n, joinRequest{MAC: mac(1)})
	if text != "" {
		t.Fatal(text)
	}
	to := hostAddress(t)
	f := udpFrame(g.mac, n.mac, netip.AddrPortFrom(g.address, 0), netip.AddrPortFrom(to, 0), []byte("12345678"))
	f[23] = protocolICMP
	copy(f[24:], []byte{0, 0})
	binary.BigEndian.PutUint16(f[24:], ^sum(f[ethernetHeader:34]))
	copy(f[34:], []byte{8, 0, 0, 0, 0x12, 0x34, 0, 7})
	binary.BigEndian.PutUint16(f[36:], ^sum(f[34:]))
	g.send(f)
	b := make([]byte, 2000)
	g.frames.SetReadDeadline(time.Now().Add(5 * time.Second))
	size, err := g.frames.Read(b)
	if err != nil {
		t.Fatal(err)
	}
	got := b[frameHeader:size]
	if len(got) != len(f) || sum(got[ethernetHeader:34]) != 0xffff || sum(got[34:]) != 0xffff || got[34] != 0 ||
		string(got[38:]) != string(f[38:]) || netip.AddrFrom4([4]byte(got[26:])) != to {
		t.Errorf("got % x\nsent % x", got, f)
	}
}

// sum is the checksum of the Internet protocols before it is turned over (RFC 1071).
func sum(b []byte) uint16 {
	var s uint32
	for ; len(b) > 1; b = b[2:] {
		s += uint32(b[0])<<8 | uint32(b[1])
	}
	for s>>16 != 0 {
		s = s&0xffff + s>>16
	}
	return uint16(s)
}

// hostAddress is one of the host's that machines may reach.
func hostAddress(t *testing.T) netip.Addr {
	t.Helper()
	list, err := net.InterfaceAddrs()
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range list {
		p, err := netip.ParsePrefix(a.String())
		if _, ok := outside(p.Addr()); err == nil && p.Addr().Is4() && ok {
			return p.Addr()
		}
	}
	t.Skip("NOT TESTED: the host has no address but its loopback's")
	return netip.Addr{}
}

// Descriptors that nobody asked for are closed.
func TestDescriptors(t *testing.T) {
	before := descriptors(t)
	ours, theirs := controlPair(t)
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	rights := unix.UnixRights(int(r.Fd()), int(w.Fd()), int(r.Fd()))
	if _, _, err := ours.WriteMsgUnix([]byte("{}"), rights, nil); err != nil {
		t.Fatal(err)
	}
	_, file, err := control{theirs}.receive()
	if err != nil || file == nil {
		t.Fatal(err)
	}
	var cloexec atomic.Bool
	raw, _ := file.SyscallConn()
	raw.Control(func(fd uintptr) {
		flags, err := unix.FcntlInt(fd, unix.F_GETFD, 0)
		cloexec.Store(err == nil && flags&syscall.FD_CLOEXEC != 0)
	})
	if !cloexec.Load() {
		t.Error("a descriptor would be inherited")
	}
	for _, c := range []interface{ Close() error }{file, r, w, ours, theirs} {
		c.Close()
	}
	if after := descriptors(t); after > before {
		t.Errorf("%d descriptors, before %d", after, before)
	}
}
