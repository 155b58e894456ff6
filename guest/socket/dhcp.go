package socket

import "gvisor.dev/gvisor/pkg/tcpip"

// configure asks for an interface's address by DHCP (RFC 2131).
func (n *network) configure(id tcpip.NICID, c *nic) {}
