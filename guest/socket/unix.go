package socket

import "github.com/pvrun/pvrun/guest/fs"

func newUnix(typ, protocol int) (fs.Socket, fs.Errno) { return nil, fs.EAFNOSUPPORT }

func newUnixPair(typ, protocol int) (a, b fs.Socket, e fs.Errno) { return nil, nil, fs.EAFNOSUPPORT }
