// Package socket is the guest's sockets: TCP, UDP and ICMP over gVisor's netstack,
// the sockets of unix(7), and the part of netlink(7) that lists interfaces. The
// derived tree's package net imports it, so programs without net do not have it.
package socket

import (
	"github.com/pvrun/pvrun/guest/fs"
	"github.com/pvrun/pvrun/guest/sys"
)

func init() {
	sys.Sockets = open
	sys.SocketPair = openPair
	sys.Resolving = resolving
	sys.Renew = renewMade
	sys.OpenStream = func(s *sys.Stream, port uint16) { go theNetwork().forward(s, port) }
}

// Address families (Linux, include/linux/socket.h).
const (
	afUnix    = 1
	afInet    = 2
	afInet6   = 10
	afNetlink = 16
)

func open(domain, typ, protocol int) (fs.Socket, fs.Errno) {
	switch domain {
	case afUnix:
		return newUnix(typ, protocol)
	case afInet, afInet6:
		return newInet(domain, typ, protocol)
	case afNetlink:
		return newNetlink(typ, protocol)
	}
	return nil, fs.EAFNOSUPPORT
}

func openPair(typ, protocol int) (a, b fs.Socket, e fs.Errno) { return newUnixPair(typ, protocol) }
