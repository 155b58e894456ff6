package sys

import "github.com/pvrun/pvrun/guest/fs"

// Sockets makes a socket, and SocketPair two that are connected, for socket(2) and
// socketpair(2) without flags in typ. Package socket sets them, where it is linked.
var (
	Sockets    func(domain, typ, protocol int) (fs.Socket, fs.Errno)
	SocketPair func(typ, protocol int) (a, b fs.Socket, e fs.Errno)
)
