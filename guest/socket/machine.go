package socket

import (
	"net/netip"
	"strings"

	"github.com/pvrun/pvrun/guest"
	"github.com/pvrun/pvrun/guest/sys"
	"github.com/pvrun/pvrun/hypercall"
	"gvisor.dev/gvisor/pkg/tcpip"
)

const maxAdapters = hypercall.MaxNICs

// machineAdapters are the machine's network interfaces.
func machineAdapters() (list []adapter) {
	nics := sys.NICs()
	for i := range nics {
		c := &nics[i]
		a := adapter{
			mac:       tcpip.LinkAddress(c.MAC[:]),
			mtu:       c.MTU,
			segments:  c.Flags&(hypercall.NICChecksum|hypercall.NICSegments) == hypercall.NICChecksum|hypercall.NICSegments,
			addresses: parsed(c.Address, netip.ParsePrefix),
			gateways:  parsed(c.Gateway, netip.ParseAddr),
			dhcp:      c.Flags&hypercall.NICDHCP != 0,
		}
		if c.Ring != 0 {
			a.dev = newRingDevice(sys.NetRings(c), sys.NetDoorbell)
		} else {
			a.dev = newNE2000(i, c.MAC)
		}
		list = append(list, a)
	}
	return list
}

// parsed are the words of a text, without those that mean nothing.
func parsed[T any](text hypercall.Extent, parse func(string) (T, error)) (list []T) {
	for _, word := range strings.Fields(string(guest.Bytes(text))) {
		if v, err := parse(word); err == nil {
			list = append(list, v)
		}
	}
	return list
}

// setResolver says which name servers there are, and renewNames those of another life,
// with the machine's name. A test has its own.
var (
	setResolver = sys.SetResolver
	renewNames  = sys.RenewNames
)

// resolving makes the stack if it has to ask for the name servers.
func resolving() {
	if n := made.Load(); n != nil {
		n.settle()
		return
	}
	for _, c := range sys.NICs() {
		if c.Flags&hypercall.NICDHCP != 0 {
			theNetwork()
			return
		}
	}
}
