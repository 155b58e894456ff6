package boot

import (
	"github.com/pvrun/pvrun/cmd/pvrun-serve/pool"
	"github.com/pvrun/pvrun/hv"
	"github.com/pvrun/pvrun/hv/nic"
	"github.com/pvrun/pvrun/internal/image"
	"github.com/pvrun/pvrun/internal/network"
)

// join makes a machine a member of a network that has a name, with an address of its own.
// All members of one name are on one network, which one pvrun-net is.
func join(name string) ([]hv.NIC, *network.Link, error) {
	l, err := network.Open(network.Config{Target: network.Target{Kind: network.User, Name: name}})
	if err != nil {
		return nil, nil, err
	}
	return []hv.NIC{{
		Link: nic.Link{FD: l.FD, Offload: l.Offload},
		MTU:  l.MTU, MAC: l.MAC, DHCP: l.DHCP,
		Address: l.Address, Gateway: l.Gateway, DNS: l.DNS, Search: l.Search,
	}}, l, nil
}

// connect has what is booted be on the program's network, if it has sockets. leave is for
// after it.
func (p Program) connect(c *hv.Config) (leave func(), err error) {
	if p.Network == "" || !image.HasSockets(c.Image) {
		return func() {}, nil
	}
	cards, l, err := join(p.Network)
	if err != nil {
		return nil, err
	}
	c.NICs = cards
	return l.Close, nil
}

// member is a machine that has a place in a network for as long as it is there.
type member struct {
	pool.Machine
	link *network.Link
}

func (m member) Close() error {
	defer m.link.Close()
	return m.Machine.Close()
}
