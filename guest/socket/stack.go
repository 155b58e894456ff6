package socket

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

// interfaces are those there are now, in the order of their indexes. The stack is
// made for them if there is none yet.
func interfaces() []interfaceInfo { return nil }
