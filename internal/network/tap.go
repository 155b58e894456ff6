package network

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strings"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// TUNDevice is what TAP devices are made of.
const TUNDevice = "/dev/net/tun"

// CheckTAP says why there can be no TAP devices. To make one more is needed, or one
// that was made for the user.
func CheckTAP() error {
	fd, err := unix.Open(TUNDevice, unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return explainDevice(err)
	}
	return unix.Close(fd)
}

// offloads are what a machine can take: partial checksums, and long TCP segments.
const offloads = unix.TUN_F_CSUM | unix.TUN_F_TSO4 | unix.TUN_F_TSO6 | unix.TUN_F_TSO_ECN

// headerSize is what stands in front of each frame: struct virtio_net_hdr.
const headerSize = 10

// tap is an open TAP device. One that was made goes away with its descriptor.
type tap struct {
	fd   int
	name string
	made bool
	link netlink.Link
}

// openTAP opens a TAP device, or makes it.
func openTAP(c Config) (*Link, error) {
	t, err := attach(c.Name)
	if err != nil {
		return nil, err
	}
	if err := t.setUp(c); err != nil {
		unix.Close(t.fd)
		return nil, err
	}
	return t.connect(c)
}

// setUp makes the host's side of a TAP ready.
func (t *tap) setUp(c Config) (err error) {
	if err := t.find(c.MTU); err != nil {
		return err
	}
	if prefix := c.Address; t.made && prefix.IsValid() && c.Gateway.IsValid() && prefix.Contains(c.Gateway) {
		side := &net.IPNet{IP: c.Gateway.AsSlice(), Mask: net.CIDRMask(prefix.Bits(), c.Gateway.BitLen())}
		if err := netlink.AddrAdd(t.link, &netlink.Addr{IPNet: side}); err != nil {
			return t.failed("give it the address "+c.Gateway.String(), err, fmt.Sprintf("sudo ip address add %v/%d dev %s", c.Gateway, prefix.Bits(), t.name))
		}
	}
	return t.up()
}

// find looks the device up, and gives it the MTU that was asked for.
func (t *tap) find(mtu int) (err error) {
	if t.link, err = netlink.LinkByName(t.name); err != nil {
		return fmt.Errorf("TAP %s: find it: %w", t.name, err)
	}
	if mtu == 0 || mtu == t.link.Attrs().MTU {
		return nil
	}
	if err := netlink.LinkSetMTU(t.link, mtu); err != nil {
		return t.failed(fmt.Sprintf("set its MTU to %d", mtu), err, fmt.Sprintf("sudo ip link set %s mtu %d", t.name, mtu))
	}
	t.link.Attrs().MTU = mtu
	return nil
}

func (t *tap) up() error {
	if t.link.Attrs().Flags&net.FlagUp != 0 {
		return nil
	}
	if err := netlink.LinkSetUp(t.link); err != nil {
		return t.failed("set it up", err, "sudo ip link set "+t.name+" up")
	}
	return nil
}

// failed is err, with what to run when it is about permission.
func (t *tap) failed(what string, err error, run string) error {
	if errors.Is(err, unix.EPERM) && run != "" {
		return fmt.Errorf("TAP %s: no permission to %s: %s", t.name, what, run)
	}
	return fmt.Errorf("TAP %s: %s: %w", t.name, what, err)
}

// connect is the machine's end.
func (t *tap) connect(c Config) (*Link, error) {
	l := &Link{FD: t.fd, Offload: !c.Plain, MAC: c.MAC, MTU: c.MTU, close: func() { unix.Close(t.fd) }}
	if l.MTU == 0 {
		l.MTU = t.link.Attrs().MTU
	}
	// Without them the kernel finishes packets itself.
	if !l.Offload || unix.IoctlSetInt(t.fd, unix.TUNSETOFFLOAD, offloads) != nil {
		l.Offload = false
		unix.IoctlSetInt(t.fd, unix.TUNSETOFFLOAD, 0) // a TAP that was there keeps its last user's
	}
	if l.DHCP = !c.Address.IsValid(); l.DHCP {
		return l, nil
	}
	l.Address = c.Address.String()
	if c.Gateway.IsValid() {
		l.Gateway = c.Gateway.String()
	}
	l.DNS, l.Search = nameServers(c.DNS)
	return l, nil
}

// attach opens the TAP device of that name; the kernel chooses for one with %d.
func attach(name string) (*tap, error) {
	_, err := net.InterfaceByName(name)
	t := &tap{made: err != nil}
	if t.fd, err = unix.Open(TUNDevice, unix.O_RDWR|unix.O_NONBLOCK|unix.O_CLOEXEC, 0); err != nil {
		return nil, explainDevice(err)
	}
	if t.name, err = t.attach(name, unix.IFF_TAP|unix.IFF_NO_PI|unix.IFF_VNET_HDR); err == nil {
		err = os.NewSyscallError("ioctl TUNSETVNETHDRSZ", unix.IoctlSetPointerInt(t.fd, unix.TUNSETVNETHDRSZ, headerSize))
	}
	if err != nil {
		unix.Close(t.fd)
		return nil, t.explain(name, err)
	}
	return t, nil
}

// attach is TUNSETIFF (Linux, Documentation/networking/tuntap.rst). One queue of a
// device with several is as good as one with one.
func (t *tap) attach(name string, flags uint16) (string, error) {
	for _, more := range []uint16{0, unix.IFF_MULTI_QUEUE} {
		r, err := unix.NewIfreq(name)
		if err != nil {
			return "", err
		}
		r.SetUint16(flags | more)
		err = unix.IoctlIfreq(t.fd, unix.TUNSETIFF, r)
		if err == nil {
			return r.Name(), nil
		}
		if err != unix.EINVAL || t.made {
			return "", err
		}
	}
	return "", unix.EINVAL
}

func explainDevice(err error) error {
	switch {
	case errors.Is(err, unix.ENOENT), errors.Is(err, unix.ENODEV), errors.Is(err, unix.ENXIO):
		return fmt.Errorf("%s is missing: sudo modprobe tun (in a container, start it with --device %[1]s)", TUNDevice)
	case errors.Is(err, unix.EACCES), errors.Is(err, unix.EPERM):
		return fmt.Errorf("no permission for %s: sudo chmod a+rw %[1]s", TUNDevice)
	}
	return fmt.Errorf("open %s: %w", TUNDevice, err)
}

func (t *tap) explain(name string, err error) error {
	switch {
	case errors.Is(err, unix.EPERM) && strings.Contains(name, "%"):
		return errors.New("no permission to make a TAP device: run pvrun with CAP_NET_ADMIN (sudo), or put a TAP of your own into the bridge and use --net tap:NAME")
	case errors.Is(err, unix.EPERM) && t.made:
		return fmt.Errorf("no permission to make TAP %s: sudo ip tuntap add %[1]s mode tap user $USER && sudo ip link set %[1]s up", name)
	case errors.Is(err, unix.EPERM):
		return fmt.Errorf("no permission for TAP %s, which is another user's: sudo ip tuntap del %[1]s mode tap && sudo ip tuntap add %[1]s mode tap user $USER && sudo ip link set %[1]s up", name)
	case errors.Is(err, unix.EBUSY):
		return fmt.Errorf("TAP %s is in use by another program", name)
	case errors.Is(err, unix.EINVAL) && !t.made:
		return fmt.Errorf("%s is not a TAP device: give the name of one, or of none to have it made", name)
	}
	return fmt.Errorf("TAP %s: %w", name, err)
}

// openBridge makes a TAP device and puts it into a bridge.
func openBridge(c Config) (*Link, error) {
	bridge, err := findBridge(c.Name)
	if err != nil {
		return nil, err
	}
	t, err := attach("pvrun%d")
	if err != nil {
		return nil, err
	}
	mtu := c.MTU
	if mtu == 0 {
		mtu = bridge.Attrs().MTU // a lesser one would become the bridge's
	}
	if err = t.find(mtu); err == nil {
		err = t.enslave(bridge)
	}
	if err != nil {
		unix.Close(t.fd)
		return nil, err
	}
	return t.connect(c)
}

func findBridge(name string) (netlink.Link, error) {
	bridge, err := netlink.LinkByName(name)
	var missing netlink.LinkNotFoundError
	switch {
	case errors.As(err, &missing):
		return nil, fmt.Errorf("there is no bridge %s: sudo ip link add %[1]s type bridge && sudo ip link set %[1]s up", name)
	case err != nil:
		return nil, fmt.Errorf("bridge %s: %w", name, err)
	case bridge.Type() != "bridge":
		return nil, fmt.Errorf("%s is not a bridge", name)
	case bridge.Attrs().Flags&net.FlagUp == 0:
		return nil, fmt.Errorf("bridge %s is down: sudo ip link set %[1]s up", name)
	}
	return bridge, nil
}

func (t *tap) enslave(bridge netlink.Link) error {
	if err := netlink.LinkSetMaster(t.link, bridge); err != nil {
		return t.failed("put it into bridge "+bridge.Attrs().Name, err, "")
	}
	return t.up()
}

// nameServers are those given, or else the host's, with the domains that the host
// looks names up in. What the host asks at its own loopback address is of no use.
func nameServers(given []netip.Addr) (servers, search string) {
	text, err := os.ReadFile("/etc/resolv.conf")
	if err != nil {
		text = nil
	}
	own, search := resolvConf(string(text))
	if len(own) == 0 {
		// systemd-resolved(8): the servers that it asks.
		text, _ = os.ReadFile("/run/systemd/resolve/resolv.conf")
		own, _ = resolvConf(string(text))
	}
	if len(given) > 0 {
		own = given
	}
	var list []string
	for _, a := range own {
		list = append(list, a.String())
	}
	return strings.Join(list, " "), search
}

// resolvConf reads resolv.conf(5).
func resolvConf(text string) (servers []netip.Addr, search string) {
	for line := range strings.Lines(text) {
		f := strings.Fields(line)
		switch {
		case len(f) < 2:
		case f[0] == "nameserver":
			if a, err := netip.ParseAddr(f[1]); err == nil && !a.IsLoopback() && a.Zone() == "" && len(servers) < 3 {
				servers = append(servers, a)
			}
		case f[0] == "search" || f[0] == "domain":
			search = strings.Join(f[1:], " ")
		}
	}
	return servers, search
}
