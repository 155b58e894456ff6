package main

import (
	"fmt"
	"net"
	"net/netip"
	"strings"
	"sync"
)

// machine is a member of a network.
type machine struct {
	network *network
	name    string // in lower case; "" for one that is not to be found
	mac     [6]byte
	address netip.Addr
	mtu     int
	port    *port
	conns   connSet // TCP, in and out
	flows   flowSet // UDP, in and out
	running sync.WaitGroup

	mu        sync.Mutex
	closed    bool
	listeners []interface{ Close() error } // of ports of the host's
}

func (n *network) newMachine(r joinRequest) (*machine, error) {
	m := &machine{network: n, name: strings.ToLower(r.Name), mtu: r.MTU}
	hardware, err := net.ParseMAC(r.MAC)
	switch {
	case err != nil || len(hardware) != len(m.mac) || hardware[0]&1 != 0:
		return nil, fmt.Errorf("MAC address %q: not one of a machine", r.MAC)
	case m.mtu == 0 || m.mtu > maxMTU:
		m.mtu = maxMTU
	case m.mtu < minMTU:
		return nil, fmt.Errorf("MTU %d: at least %d", m.mtu, minMTU)
	}
	copy(m.mac[:], hardware)
	m.conns.init()
	m.flows.init()
	return m, checkName(m.name)
}

func (m *machine) hardware() net.HardwareAddr { return m.mac[:] }

func (m *machine) joined() *joined {
	return &joined{
		Address: netip.PrefixFrom(m.address, subnet.Bits()).String(),
		Gateway: gateway.String(), DNS: gateway.String(), Search: domain, MTU: m.mtu,
	}
}

// keep has l closed when the machine leaves.
func (m *machine) keep(l interface{ Close() error }) (ok bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		return false
	}
	m.listeners = append(m.listeners, l)
	return true
}

func (m *machine) close() {
	m.mu.Lock()
	m.closed = true
	list := m.listeners
	m.mu.Unlock()
	for _, l := range list {
		l.Close()
	}
	m.conns.close()
	m.flows.close()
	m.port.close()
	m.running.Wait()
}
