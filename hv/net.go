package hv

import (
	"crypto/rand"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"unicode"

	"github.com/pvrun/pvrun/hv/nic"
	"github.com/pvrun/pvrun/hypercall"
	"golang.org/x/sys/unix"
)

// NIC is a network interface of the machine. Its place in Config.NICs is its number.
type NIC struct {
	Link nic.Link // what carries its frames; the machine does not close it
	MTU  int      // DefaultMTU when 0
	MAC  [6]byte  // one is made when it is zero

	// As the guest is told them, each a list separated by spaces: addresses with their
	// prefixes, the next hops of the default routes, name servers, and the domains that
	// names are looked up in.
	Address, Gateway, DNS, Search string
	DHCP                          bool // the guest shall ask for its IPv4 address

	Rate    int64        // most bytes a second, each way; 0: any number
	Capture *nic.Capture // gets all frames; nil: none. The machine does not close it

	down bool // there is no link
}

// DefaultMTU is a NIC's MTU when Config does not say.
const DefaultMTU = 1500

// checkNICs finds what is wrong with the NICs, and fills in what was left out.
func (cfg *Config) checkNICs() error {
	if len(cfg.NICs) > hypercall.MaxNICs {
		return &HostError{"NICs of the machine", fmt.Errorf("%d; there can be %d", len(cfg.NICs), hypercall.MaxNICs)}
	}
	cfg.NICs = append([]NIC(nil), cfg.NICs...)
	for i := range cfg.NICs {
		if err := cfg.NICs[i].complete(); err != nil {
			return &HostError{fmt.Sprintf("NIC %d", i), err}
		}
		if cfg.Mode == hypercall.ModeTrap {
			cfg.NICs[i].fitNE2000()
		}
	}
	return nil
}

func (n *NIC) complete() error {
	if n.MTU == 0 {
		n.MTU = DefaultMTU
	}
	if n.MAC == [6]byte{} {
		n.MAC = randomMAC()
	}
	switch {
	case n.MTU < hypercall.MinMTU || n.MTU > hypercall.MaxMTU:
		return fmt.Errorf("an MTU of %d; from %d to %d are possible", n.MTU, hypercall.MinMTU, hypercall.MaxMTU)
	case n.MAC[0]&multicastMAC != 0:
		return fmt.Errorf("%x is a group's MAC address", n.MAC)
	case n.Rate < 0:
		return fmt.Errorf("a rate of %d bytes a second", n.Rate)
	}
	if n.down {
		return nil
	}
	return errors.Join(checkLink(n.Link), n.checkAddresses())
}

// Bits of a MAC address's first byte (IEEE 802, "Universal addresses").
const (
	multicastMAC = 1
	localMAC     = 2
)

// randomMAC is an address that nobody was given.
func randomMAC() (mac [6]byte) {
	rand.Read(mac[:])
	mac[0] = mac[0]&^multicastMAC | localMAC
	return mac
}

func checkLink(l nic.Link) error {
	flags, err := unix.FcntlInt(uintptr(l.FD), unix.F_GETFL, 0)
	switch {
	case err != nil:
		return fmt.Errorf("descriptor %d of its link: %w", l.FD, err)
	case flags&unix.O_NONBLOCK == 0:
		return fmt.Errorf("descriptor %d of its link would block", l.FD)
	case flags&unix.O_ACCMODE != unix.O_RDWR:
		return fmt.Errorf("descriptor %d of its link cannot be read and written", l.FD)
	}
	return nil
}

func (n *NIC) checkAddresses() error {
	for _, s := range strings.Fields(n.Address) {
		if _, err := netip.ParsePrefix(s); err != nil {
			return fmt.Errorf("its address %q: not an address with a prefix, such as 10.0.0.2/24", s)
		}
	}
	for _, s := range strings.Fields(n.Gateway + " " + n.DNS) {
		if _, err := netip.ParseAddr(s); err != nil {
			return fmt.Errorf("its gateway or name server %q: not an address", s)
		}
	}
	if strings.ContainsFunc(n.Search, unicode.IsControl) {
		return fmt.Errorf("its search domains %q", n.Search)
	}
	if size := len(n.Address+n.Gateway+n.DNS+n.Search) + len("\x00\x00\x00\x00"); size > maxNICText {
		return fmt.Errorf("its addresses, name servers and search domains have %d bytes; %d are the most", size, maxNICText)
	}
	return nil
}

// describeNICs tells of the NICs in the order of the configuration. In a machine that is
// to be snapshotted there is room for what clones tell of theirs.
func (vm *VM) describeNICs() {
	ring := netRingGVA
	if vm.cfg.Mode == hypercall.ModeTrap {
		ring = func(int) hypercall.GVA { return 0 }
	}
	at := vm.start.addRecords(nil).Addr
	b := nicInfo(vm.cfg.NICs, at, ring)
	if vm.cfg.Ready != 0 {
		b = append(b, make([]byte, len(vm.cfg.NICs)*nicRoom-len(b))...)
	}
	vm.start.blob = append(vm.start.blob, b...)
	vm.start.info.NICs = hypercall.Extent{Addr: at, Len: uint64(len(vm.cfg.NICs) * nicRecord)}
	vm.start.info.NICCount = uint32(len(vm.cfg.NICs))
}

func (n *NIC) flags() (flags uint32) {
	if n.Link.Offload {
		flags |= hypercall.NICChecksum | hypercall.NICSegments
	}
	if n.DHCP {
		flags |= hypercall.NICDHCP
	}
	return flags
}

// port is what the NIC's frames go through.
func (n *NIC) port() *nic.Port { return nic.NewPort(n.Link, n.MTU, n.Rate, n.Capture) }

// netRingGVA is where the guest finds a NIC's rings.
func netRingGVA(i int) hypercall.GVA {
	return hypercall.NetRingGVA + hypercall.GVA(i)*hypercall.NetRingStride
}

// netRingCount is how many NICs have rings. A bare machine's have none.
func (vm *VM) netRingCount() int {
	if vm.cfg.Mode == hypercall.ModeTrap {
		return 0
	}
	return len(vm.cfg.NICs)
}
