package main

import (
	"encoding/json"
	"net"
	"net/netip"
	"os"
	"testing"

	"golang.org/x/sys/unix"
	"gvisor.dev/gvisor/pkg/buffer"
	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/link/channel"
	"gvisor.dev/gvisor/pkg/tcpip/link/ethernet"
	"gvisor.dev/gvisor/pkg/tcpip/network/arp"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv4"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"
	"gvisor.dev/gvisor/pkg/tcpip/transport/udp"
)

// guest is what a machine is to a network.
type guest struct {
	control *net.UnixConn
	frames  *os.File
	joined
	address netip.Addr
	mac     net.HardwareAddr
	stack   *stack.Stack
	link    *channel.Endpoint
	net     *network
	served  chan struct{} // closed when the network has let go of it
}

func testNetwork(t testing.TB) *network {
	t.Helper()
	n, err := newNetwork()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(n.close)
	return n
}

func sockets(t testing.TB) (ours, theirs *os.File) {
	t.Helper()
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	return os.NewFile(uintptr(pair[0]), "ours"), os.NewFile(uintptr(pair[1]), "theirs")
}

func controlPair(t testing.TB) (ours, theirs *net.UnixConn) {
	t.Helper()
	a, b := sockets(t)
	defer a.Close()
	defer b.Close()
	x, err := net.FileConn(a)
	if err != nil {
		t.Fatal(err)
	}
	y, err := net.FileConn(b)
	if err != nil {
		t.Fatal(err)
	}
	return x.(*net.UnixConn), y.(*net.UnixConn)
}

// ask sends a request with a descriptor, and returns the reply.
func ask(t testing.TB, c *net.UnixConn, text string, file *os.File) reply {
	t.Helper()
	var rights []byte
	if file != nil {
		raw, _ := file.SyscallConn()
		raw.Control(func(fd uintptr) { rights = unix.UnixRights(int(fd)) })
	}
	if _, _, err := c.WriteMsgUnix([]byte(text), rights, nil); err != nil {
		t.Fatal(err)
	}
	var r reply
	b := make([]byte, maxMessage)
	n, err := c.Read(b)
	if err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	if err := json.Unmarshal(b[:n], &r); err != nil {
		t.Fatal(err)
	}
	return r
}

func joinText(r joinRequest) string {
	text, _ := json.Marshal(request{Version: protocolVersion, Join: &r})
	return string(text)
}

// tryJoin connects a machine without a stack.
func tryJoin(t testing.TB, n *network, r joinRequest) (*guest, string) {
	t.Helper()
	ours, theirs := controlPair(t)
	frames, far := sockets(t)
	defer far.Close()
	g := &guest{control: ours, frames: frames, net: n, served: make(chan struct{})}
	go func() {
		control{theirs}.serve(n)
		close(g.served)
	}()
	t.Cleanup(g.leave)
	answer := ask(t, ours, joinText(r), far)
	if answer.Joined == nil {
		return g, answer.Error
	}
	g.joined = *answer.Joined
	g.address = netip.MustParsePrefix(g.Address).Addr()
	g.mac, _ = net.ParseMAC(r.MAC)
	return g, ""
}

// join connects a machine with a stack of its own.
func join(t testing.TB, n *network, r joinRequest) *guest {
	t.Helper()
	g, text := tryJoin(t, n, r)
	if text != "" {
		t.Fatal(text)
	}
	g.run(t)
	return g
}

func (g *guest) leave() {
	g.control.Close()
	<-g.served
	g.frames.Close()
	if g.stack != nil {
		g.link.Close()
		g.stack.Destroy()
		g.stack = nil
	}
}

func (g *guest) run(t testing.TB) {
	g.stack = stack.New(stack.Options{
		NetworkProtocols:   []stack.NetworkProtocolFactory{ipv4.NewProtocol, arp.NewProtocol},
		TransportProtocols: []stack.TransportProtocolFactory{tcp.NewProtocol, udp.NewProtocol},
	})
	g.link = channel.New(1024, uint32(g.MTU), tcpip.LinkAddress(g.mac))
	g.link.LinkEPCapabilities = stack.CapabilityResolutionRequired | stack.CapabilityRXChecksumOffload
	if err := g.stack.CreateNIC(nicID, ethernet.New(g.link)); err != nil {
		t.Fatal(err)
	}
	at := tcpip.ProtocolAddress{Protocol: ipv4.ProtocolNumber, AddressWithPrefix: tcpip.AddressWithPrefix{Address: toAddress(g.address), PrefixLen: 24}}
	if err := g.stack.AddProtocolAddress(nicID, at, stack.AddressProperties{}); err != nil {
		t.Fatal(err)
	}
	local, _ := tcpip.NewSubnet(toAddress(subnet.Addr()), tcpip.MaskFromBytes([]byte{255, 255, 255, 0}))
	g.stack.SetRouteTable([]tcpip.Route{
		{Destination: local, NIC: nicID},
		{Destination: header.IPv4EmptySubnet, Gateway: toAddress(gateway), NIC: nicID},
	})
	g.link.AddNotify(g)
	go g.receive()
}

// WriteNotify sends what the stack has to send.
func (g *guest) WriteNotify() {
	for {
		pkt := g.link.Read()
		if pkt == nil {
			return
		}
		g.send(pkt.ToView().AsSlice())
		pkt.DecRef()
	}
}

func (g *guest) send(frame []byte) {
	g.frames.Write(append(make([]byte, frameHeader), frame...))
}

func (g *guest) receive() {
	b := make([]byte, frameHeader+ethernetHeader+maxMTU)
	for {
		n, err := g.frames.Read(b)
		if err != nil || n == 0 {
			return
		}
		if n < frameHeader {
			continue
		}
		pkt := stack.NewPacketBuffer(stack.PacketBufferOptions{Payload: buffer.MakeWithData(b[frameHeader:n])})
		g.link.InjectInbound(header.Ethernet(b[frameHeader:]).Type(), pkt)
		pkt.DecRef()
	}
}

// frame makes an Ethernet frame of an IPv4 packet with UDP in it.
func udpFrame(from net.HardwareAddr, to [6]byte, src, dst netip.AddrPort, data []byte) []byte {
	const headers = ethernetHeader + header.IPv4MinimumSize + header.UDPMinimumSize
	f := make([]byte, headers+len(data))
	copy(f[headers:], data)
	header.Ethernet(f).Encode(&header.EthernetFields{
		SrcAddr: tcpip.LinkAddress(from), DstAddr: tcpip.LinkAddress(to[:]), Type: ipv4.ProtocolNumber,
	})
	ip := header.IPv4(f[ethernetHeader:])
	ip.Encode(&header.IPv4Fields{
		TotalLength: uint16(len(ip)), TTL: 64, Protocol: uint8(udp.ProtocolNumber),
		SrcAddr: toAddress(src.Addr()), DstAddr: toAddress(dst.Addr()),
	})
	ip.SetChecksum(^ip.CalculateChecksum())
	header.UDP(ip.Payload()).Encode(&header.UDPFields{
		SrcPort: src.Port(), DstPort: dst.Port(), Length: uint16(header.UDPMinimumSize + len(data)),
	})
	return f
}
