package network

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Port is a port of the host's that leads to one of the machine's.
type Port struct {
	Host  netip.AddrPort // port 0: the host chooses
	Guest uint16
	UDP   bool
}

var errPort = errors.New("must be [ADDR:]HOST:GUEST[/udp], such as 8080:80")

// ParsePort reads the value of -p. Without an address, only the host itself reaches it.
func ParsePort(s string) (p Port, err error) {
	text, protocol, ok := strings.Cut(s, "/")
	if ok && protocol != "tcp" && protocol != "udp" {
		return p, errPort
	}
	p.UDP = protocol == "udp"
	host, guest, ok := cutLast(text)
	if !ok {
		return p, errPort
	}
	address := netip.AddrFrom4([4]byte{127, 0, 0, 1})
	if a, port, ok := cutLast(host); ok {
		host = port
		a = strings.TrimSuffix(strings.TrimPrefix(a, "["), "]")
		if address, err = netip.ParseAddr(a); err != nil {
			return p, fmt.Errorf("%q is no IP address: %w", a, errPort)
		}
	}
	n, err := strconv.ParseUint(host, 10, 16)
	if err != nil {
		return p, errPort
	}
	g, err := strconv.ParseUint(guest, 10, 16)
	if err != nil || g == 0 {
		return p, errPort
	}
	p.Host, p.Guest = netip.AddrPortFrom(address, uint16(n)), uint16(g)
	return p, nil
}

func cutLast(s string) (before, after string, ok bool) {
	i := strings.LastIndexByte(s, ':')
	if i < 0 {
		return s, "", false
	}
	return s[:i], s[i+1:], true
}

func (p Port) String() string {
	s := fmt.Sprintf("%v:%d", p.Host, p.Guest)
	if p.UDP {
		s += "/udp"
	}
	return s
}

func (p Port) network() string {
	if p.UDP {
		return "udp"
	}
	return "tcp"
}

// bind takes the port. p becomes what the host chose.
func (p *Port) bind() (*os.File, error) {
	file, at, err := p.listen()
	if err != nil {
		return nil, p.explain(err)
	}
	p.Host = netip.AddrPortFrom(p.Host.Addr(), at.Port())
	return file, nil
}

func (p *Port) listen() (file *os.File, at netip.AddrPort, err error) {
	if p.UDP {
		conn, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(p.Host))
		if err != nil {
			return nil, at, err
		}
		defer conn.Close()
		file, err = conn.File()
		return file, conn.LocalAddr().(*net.UDPAddr).AddrPort(), err
	}
	l, err := net.ListenTCP("tcp", net.TCPAddrFromAddrPort(p.Host))
	if err != nil {
		return nil, at, err
	}
	defer l.Close()
	file, err = l.File()
	return file, l.Addr().(*net.TCPAddr).AddrPort(), err
}

// explain says which port it was, and what to do.
func (p *Port) explain(err error) error {
	switch {
	case errors.Is(err, unix.EADDRINUSE):
		return fmt.Errorf("-p %v: port %d of %v is already in use", *p, p.Host.Port(), p.Host.Addr())
	case errors.Is(err, unix.EADDRNOTAVAIL):
		return fmt.Errorf("-p %v: the host has no address %v", *p, p.Host.Addr())
	case errors.Is(err, unix.EACCES):
		return fmt.Errorf("-p %v: no permission for port %d; sudo sysctl net.ipv4.ip_unprivileged_port_start=%[2]d allows it", *p, p.Host.Port())
	}
	return fmt.Errorf("-p %v: %w", *p, err)
}

// bindAll takes all ports, or none.
func bindAll(ports []Port) (files []*os.File, err error) {
	for i := range ports {
		file, err := ports[i].bind()
		if err != nil {
			closeAll(files)
			return nil, err
		}
		files = append(files, file)
	}
	return files, nil
}

func closeAll(files []*os.File) {
	for _, f := range files {
		f.Close()
	}
}
