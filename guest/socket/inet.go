package socket

import (
	"github.com/pvrun/pvrun/guest/fs"
	_ "gvisor.dev/gvisor/pkg/tcpip/transport/tcp" // the stack
)

func newInet(domain, typ, protocol int) (fs.Socket, fs.Errno) { return nil, fs.EAFNOSUPPORT }
