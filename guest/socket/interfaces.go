package socket

import "gvisor.dev/gvisor/pkg/tcpip"

// interfaceInfo is a network interface as netlink(7) tells of it.
type interfaceInfo struct {
	index int    // from 1 on, lo being the first
	name  string // lo, eth0, eth1, ...
	flags uint32 // IFF_ bits (netdevice(7))
	mtu   int
	mac   []byte // 6 bytes, or none
	addrs []interfaceAddr
}

// interfaceAddr is an address of an interface.
type interfaceAddr struct {
	ip     []byte // 4 or 16 bytes
	prefix int    // bits
}

// IFF_ bits.
const (
	flagUp        = 0x1
	flagBroadcast = 0x2
	flagLoopback  = 0x8
	flagRunning   = 0x40
	flagMulticast = 0x1000
	flagLowerUp   = 0x10000
)

// interfaces are those there are now, in the order of their indexes. The stack is
// made for them if there is none yet.
func interfaces() []interfaceInfo { return theNetwork().interfaces() }

func (n *network) interfaces() (list []interfaceInfo) {
	n.settle()
	infos := n.stack.NICInfo()
	for id := loopbackNIC; id <= loopbackNIC+tcpip.NICID(maxAdapters); id++ {
		info, ok := infos[id]
		if !ok {
			continue
		}
		i := interfaceInfo{index: int(id), name: info.Name, mtu: int(info.MTU), flags: flagUp}
		if id == loopbackNIC {
			i.flags |= flagLoopback | flagRunning | flagLowerUp
		} else {
			i.flags |= flagBroadcast | flagMulticast
			i.mac = []byte(info.LinkAddress)
			if n.linkUp(id) {
				i.flags |= flagRunning | flagLowerUp
			}
		}
		for _, a := range info.ProtocolAddresses {
			ip := a.AddressWithPrefix.Address
			i.addrs = append(i.addrs, interfaceAddr{append([]byte(nil), ip.AsSlice()...), a.AddressWithPrefix.PrefixLen})
		}
		list = append(list, i)
	}
	return list
}

// linkUp is whether an interface's adapter is connected.
func (n *network) linkUp(id tcpip.NICID) bool {
	for _, c := range n.nics {
		if c.id == id {
			return c.dev.linkUp()
		}
	}
	return false
}
