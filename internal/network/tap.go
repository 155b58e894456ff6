package network

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"strings"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

const tunDevice = "/dev/net/tun"

// tapFlags make a descriptor carry one frame for each read and write, behind a struct
// virtio_net_hdr (Linux, Documentation/networking/tuntap.rst).
const tapFlags = unix.IFF_TAP | unix.IFF_NO_PI | unix.IFF_VNET_HDR

// vnetHeader is the size of that structure.
const vnetHeader = 10

// tap is a TAP that a machine has.
type tap struct {
	fd   int
	name string
	link netlink.Link
	made bool // for this machine: it goes when the descriptor is closed
}

// openTAP opens a TAP, or makes one. The host's side of one that is made gets the
// gateway's address, if that is one of the machine's own network.
func openTAP(c Config) (*Link, error) {
	t, err := newTAP(c.Name, c.Plain)
	if err != nil {
		return nil, err
	}
	if t.made && c.Gateway.IsValid() && c.Address.Contains(c.Gateway) {
		err = t.address(netip.PrefixFrom(c.Gateway, c.Address.Bits()))
	}
	return t.finish(c, err)
}

// openBridge makes a TAP at a bridge.
func openBridge(c Config) (*Link, error) {
	bridge, err := netlink.LinkByName(c.Name)
	if err != nil {
		return nil, fmt.Errorf("bridge %s: %w; sudo ip link add %[1]s type bridge makes one", c.Name, err)
	}
	if bridge.Type() != "bridge" {
		return nil, fmt.Errorf("bridge %s: it is a %s, and no bridge", c.Name, bridge.Type())
	}
	t, err := newTAP("pvrun%d", c.Plain)
	if err != nil {
		return nil, err
	}
	if c.MTU == 0 {
		c.MTU = bridge.Attrs().MTU
	}
	if err = netlink.LinkSetMaster(t.link, bridge); err != nil {
		err = fmt.Errorf("bridge %s: connect %s: %w", c.Name, t.name, err)
	}
	return t.finish(c, err)
}

// newTAP opens a TAP; %d in a name is for the first number that is free.
func newTAP(name string, plain bool) (*tap, error) {
	_, err := netlink.LinkByName(name)
	t := &tap{name: name, made: err != nil}
	t.fd, err = unix.Open(tunDevice, unix.O_RDWR|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("TAP %s: open %s: %w%s", name, tunDevice, err, tunHint(err))
	}
	if err = t.attach(); err == nil {
		err = t.configure(plain)
	}
	if err != nil {
		unix.Close(t.fd)
		return nil, err
	}
	return t, nil
}

func tunHint(err error) string {
	switch {
	case errors.Is(err, unix.ENOENT), errors.Is(err, unix.ENODEV):
		return "; sudo modprobe tun may bring it"
	case errors.Is(err, unix.EACCES), errors.Is(err, unix.EPERM):
		return "; sudo chmod 666 " + tunDevice + " lets everybody open it"
	}
	return ""
}

// attach connects the descriptor to its interface. One of several queues has to be
// asked for as such.
func (t *tap) attach() error {
	var err error
	for _, flags := range []uint16{tapFlags, tapFlags | unix.IFF_MULTI_QUEUE} {
		request, bad := unix.NewIfreq(t.name)
		if bad != nil {
			return fmt.Errorf("TAP %s: %w", t.name, bad)
		}
		request.SetUint16(flags)
		if err = unix.IoctlIfreq(t.fd, unix.TUNSETIFF, request); err == nil {
			t.name = request.Name()
			return nil
		}
		if !errors.Is(err, unix.EINVAL) {
			break
		}
	}
	switch {
	case errors.Is(err, unix.EBUSY):
		return fmt.Errorf("TAP %s: another program, or another pvrun, has it", t.name)
	case errors.Is(err, unix.EPERM):
		name := strings.Replace(t.name, "%d", "0", 1)
		return fmt.Errorf("TAP %s: no permission; sudo ip tuntap add %s mode tap user $USER makes one for you, or run pvrun as root", t.name, name)
	case errors.Is(err, unix.EINVAL) && !t.made:
		return fmt.Errorf("TAP %s: the interface of that name is no TAP", t.name)
	}
	return fmt.Errorf("TAP %s: %w", t.name, err)
}

// configure has the kernel leave checksums, and the cutting of long segments, to
// whoever needs it, but for plain frames.
func (t *tap) configure(plain bool) error {
	offload := unix.TUN_F_CSUM | unix.TUN_F_TSO4 | unix.TUN_F_TSO6
	if plain {
		offload = 0
	}
	err := unix.IoctlSetPointerInt(t.fd, unix.TUNSETVNETHDRSZ, vnetHeader)
	if err == nil {
		err = unix.IoctlSetInt(t.fd, unix.TUNSETOFFLOAD, offload)
	}
	if err == nil {
		t.link, err = netlink.LinkByName(t.name)
	}
	if err != nil {
		return fmt.Errorf("TAP %s: %w", t.name, err)
	}
	return nil
}

func (t *tap) address(p netip.Prefix) error {
	a, err := netlink.ParseAddr(p.String())
	if err == nil {
		err = netlink.AddrAdd(t.link, a)
	}
	if err != nil {
		return fmt.Errorf("TAP %s: give it %v: %w", t.name, p, err)
	}
	return nil
}

// finish brings a TAP that was made up. One that was there is its owner's, who may
// have it up already.
func (t *tap) finish(c Config, err error) (*Link, error) {
	if err == nil && c.MTU != 0 && c.MTU != t.link.Attrs().MTU {
		err = netlink.LinkSetMTU(t.link, c.MTU)
	}
	if err == nil {
		err = netlink.LinkSetUp(t.link)
		if !t.made && t.link.Attrs().RawFlags&unix.IFF_UP != 0 {
			err = nil
		}
	}
	var l *Link
	if err == nil {
		l, err = t.describe(c)
	}
	if err != nil {
		unix.Close(t.fd)
		return nil, fmt.Errorf("TAP %s: %w", t.name, err)
	}
	return l, nil
}

// describe is what the machine gets to know.
func (t *tap) describe(c Config) (*Link, error) {
	l := &Link{FD: t.fd, Offload: !c.Plain, MAC: c.MAC, MTU: c.MTU, DHCP: !c.Address.IsValid(), close: func() { unix.Close(t.fd) }}
	if l.MTU == 0 {
		l.MTU = t.link.Attrs().MTU
	}
	if l.DHCP {
		return l, nil
	}
	l.Address = c.Address.String()
	if c.Gateway.IsValid() {
		l.Gateway = c.Gateway.String()
	}
	servers := c.DNS
	if len(servers) == 0 {
		servers = hostServers("/etc/resolv.conf")
	}
	var words []string
	for _, a := range servers {
		words = append(words, a.String())
	}
	l.DNS = strings.Join(words, " ")
	return l, nil
}

// hostServers are the name servers that the host asks, but for those that only the
// host itself reaches.
func hostServers(file string) (list []netip.Addr) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil
	}
	for line := range strings.Lines(string(text)) {
		words := strings.Fields(line)
		if len(words) < 2 || words[0] != "nameserver" {
			continue
		}
		if a, err := netip.ParseAddr(words[1]); err == nil && !a.IsLoopback() && a.Zone() == "" {
			list = append(list, a)
		}
	}
	return list
}
