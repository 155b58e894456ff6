package main

import (
	"context"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"
	"gvisor.dev/gvisor/pkg/tcpip/adapters/gonet"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv4"
)

// resolver asks the gateway, as a machine does.
func (g *guest) resolver() *net.Resolver {
	return &net.Resolver{PreferGo: true, Dial: func(_ context.Context, network, _ string) (net.Conn, error) {
		at := endpointOf(gateway, dnsPort)
		if network == "tcp" {
			return gonet.DialTCP(g.stack, at, ipv4.ProtocolNumber)
		}
		return gonet.DialUDP(g.stack, nil, &at, ipv4.ProtocolNumber)
	}}
}

func TestDNS(t *testing.T) {
	n := testNetwork(t)
	a := join(t, n, joinRequest{Name: "Web", MAC: mac(1)})
	b := join(t, n, joinRequest{MAC: mac(2)})
	r := b.resolver()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	for name, want := range map[string]netip.Addr{
		"web.": a.address, "web.pvrun.internal.": a.address, "WEB.Pvrun.Internal.": a.address,
		"host.pvrun.internal.": host, "gateway.pvrun.internal.": gateway,
	} {
		got, err := r.LookupNetIP(ctx, "ip4", name)
		if err != nil || len(got) != 1 || got[0] != want {
			t.Errorf("%s: got %v, %v, want %v", name, got, err, want)
		}
	}
	for _, name := range []string{"none.pvrun.internal.", "pvrun.internal."} {
		_, err := r.LookupNetIP(ctx, "ip4", name)
		if e, ok := err.(*net.DNSError); !ok || !e.IsNotFound {
			t.Errorf("%s: got %v", name, err)
		}
	}
	a.leave()
	if got, err := r.LookupNetIP(ctx, "ip4", "web.pvrun.internal."); err == nil {
		t.Errorf("after it has left: got %v", got)
	}
}

// More lookups than may wait fail, and wait for nobody.
func TestManyLookups(t *testing.T) {
	r := newResolver(testNetwork(t))
	for range maxLookups {
		r.slots <- struct{}{}
	}
	if _, err := r.LookupIPAddr(t.Context(), "example.org."); err == nil {
		t.Error("no error")
	}
}

// dhcp sends a message and returns the reply.
func (g *guest) dhcp(t *testing.T, n *network, q *dhcpv4.DHCPv4) *dhcpv4.DHCPv4 {
	t.Helper()
	g.send(udpFrame(g.mac, [6]byte{255, 255, 255, 255, 255, 255}, netip.MustParseAddrPort("0.0.0.0:68"),
		netip.MustParseAddrPort("255.255.255.255:67"), q.ToBytes()))
	b := make([]byte, 2000)
	for {
		g.frames.SetReadDeadline(time.Now().Add(300 * time.Millisecond))
		size, err := g.frames.Read(b)
		if err != nil {
			return nil
		}
		f := b[frameHeader:size]
		if len(f) < 42 || f[12] != 8 || f[13] != 0 || f[23] != 17 {
			continue
		}
		a, err := dhcpv4.FromBytes(header.UDP(header.IPv4(f[ethernetHeader:]).Payload()).Payload())
		if err != nil {
			t.Fatal(err)
		}
		return a
	}
}

func TestDHCP(t *testing.T) {
	n := testNetwork(t)
	g, text := tryJoin(t, n, joinRequest{MAC: mac(1), MTU: 1500})
	if text != "" {
		t.Fatal(text)
	}
	q, err := dhcpv4.NewDiscovery(g.mac)
	if err != nil {
		t.Fatal(err)
	}
	offer := g.dhcp(t, n, q)
	if offer == nil || offer.MessageType() != dhcpv4.MessageTypeOffer || !offer.YourIPAddr.Equal(g.address.AsSlice()) {
		t.Fatalf("got %v", offer)
	}
	if q, err = dhcpv4.NewRequestFromOffer(offer); err != nil {
		t.Fatal(err)
	}
	a := g.dhcp(t, n, q)
	if a == nil || a.MessageType() != dhcpv4.MessageTypeAck || !a.YourIPAddr.Equal(g.address.AsSlice()) ||
		!a.Router()[0].Equal(gateway.AsSlice()) || !a.DNS()[0].Equal(gateway.AsSlice()) || a.SubnetMask().String() != "ffffff00" {
		t.Errorf("got %v", a)
	}
	q.UpdateOption(dhcpv4.OptRequestedIPAddress(net.IPv4(192, 168, 127, 77)))
	if a := g.dhcp(t, n, q); a == nil || a.MessageType() != dhcpv4.MessageTypeNak {
		t.Errorf("another's address: got %v", a)
	}
	// Whoever is not on the network gets none, so that the pool cannot be emptied.
	q, _ = dhcpv4.NewDiscovery(net.HardwareAddr{2, 9, 9, 9, 9, 9})
	if a := g.dhcp(t, n, q); a != nil {
		t.Errorf("a stranger: got %v", a)
	}
}
