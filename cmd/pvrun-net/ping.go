package main

import (
	"encoding/binary"
	"net"
	"net/netip"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"
	"gvisor.dev/gvisor/pkg/tcpip/checksum"
	"gvisor.dev/gvisor/pkg/tcpip/header"
)

const (
	// maxPings is how many peers a network's machines may be pinging, pingPatience how
	// long an answer is waited for.
	maxPings     = 64
	pingPatience = 10 * time.Second
	maxPing      = maxMTU
)

// pinger passes echo requests on to the host's network, by sockets that the host gives
// to everybody (icmp(7), "ping_group_range"). Where it does not, they get no answer.
type pinger struct {
	mu     sync.Mutex
	all    map[pingKey]*ping
	closed bool
	busy   sync.WaitGroup
}

type pingKey struct {
	m  *machine
	to netip.Addr
	id uint16 // the machine's; the host's socket has another
}

// ping is one peer that a machine's program pings.
type ping struct {
	pingKey
	conn net.PacketConn
}

// forward takes an IPv4 packet of m's with ICMP in it. All but whole echo requests are
// dropped.
func (p *pinger) forward(m *machine, packet []byte) {
	ip := header.IPv4(packet)
	if !ip.IsValid(len(packet)) || ip.More() || ip.FragmentOffset() != 0 {
		return
	}
	echo := header.ICMPv4(ip.Payload())
	to, ok := outside(netip.AddrFrom4(ip.DestinationAddress().As4()))
	if len(echo) < header.ICMPv4MinimumSize || echo.Type() != header.ICMPv4Echo || !ok {
		return
	}
	if one := p.find(pingKey{m, to, echo.Ident()}); one != nil {
		one.conn.SetReadDeadline(time.Now().Add(pingPatience))
		one.conn.WriteTo(echo, &net.UDPAddr{IP: to.AsSlice()})
	}
}

func (p *pinger) find(key pingKey) *ping {
	p.mu.Lock()
	defer p.mu.Unlock()
	if one := p.all[key]; one != nil || p.closed || len(p.all) >= maxPings {
		return one
	}
	conn, err := pingSocket()
	if err != nil {
		return nil
	}
	one := &ping{key, conn}
	if p.all == nil {
		p.all = map[pingKey]*ping{}
	}
	p.all[key] = one
	p.busy.Go(func() {
		one.answer()
		p.remove(one)
	})
	return one
}

func pingSocket() (net.PacketConn, error) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, unix.IPPROTO_ICMP)
	if err != nil {
		return nil, os.NewSyscallError("socket", err)
	}
	file := os.NewFile(uintptr(fd), "ping")
	defer file.Close()
	return net.FilePacketConn(file)
}

// answer gives the machine what comes back, until nothing does any more.
func (p *ping) answer() {
	const headers = ethernetHeader + header.IPv4MinimumSize
	frame := make([]byte, headers+maxPing)
	for {
		n, from, err := p.conn.ReadFrom(frame[headers:])
		if err != nil {
			return
		}
		peer, ok := from.(*net.UDPAddr)
		echo := header.ICMPv4(frame[headers : headers+n])
		if !ok || n < header.ICMPv4MinimumSize || echo.Type() != header.ICMPv4EchoReply || !peer.IP.Equal(p.to.AsSlice()) {
			continue
		}
		p.m.port.send([][]byte{p.reply(frame[:headers+n], echo)}, headers+n)
	}
}

// reply makes a frame for the machine of an answer that stands at its end.
func (p *ping) reply(frame []byte, echo header.ICMPv4) []byte {
	echo.SetIdent(p.id)
	echo.SetChecksum(0)
	echo.SetChecksum(^checksum.Checksum(echo, 0))
	from := p.to
	if from.IsLoopback() {
		from = host
	}
	copy(frame, p.m.mac[:])
	copy(frame[6:], p.m.network.mac[:])
	binary.BigEndian.PutUint16(frame[12:], typeIPv4)
	ip := header.IPv4(frame[ethernetHeader:])
	ip.Encode(&header.IPv4Fields{
		TotalLength: uint16(len(ip)), TTL: 64, Protocol: protocolICMP,
		SrcAddr: toAddress(from), DstAddr: toAddress(p.m.address),
	})
	ip.SetChecksum(^ip.CalculateChecksum())
	return frame
}

func (p *pinger) remove(one *ping) {
	p.mu.Lock()
	defer p.mu.Unlock()
	one.conn.Close()
	delete(p.all, one.pingKey)
}

// forget ends the pings of a machine.
func (p *pinger) forget(m *machine) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for key, one := range p.all {
		if key.m == m {
			one.conn.Close()
		}
	}
}

func (p *pinger) close() {
	p.mu.Lock()
	p.closed = true
	for _, one := range p.all {
		one.conn.Close()
	}
	p.mu.Unlock()
	p.busy.Wait()
}
