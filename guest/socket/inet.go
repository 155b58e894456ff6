package socket

import "github.com/pvrun/pvrun/guest/fs"

func newInet(domain, typ, protocol int) (fs.Socket, fs.Errno) { return nil, fs.EAFNOSUPPORT }
