package socket

import (
	"bytes"

	"github.com/pvrun/pvrun/guest/fs"
)

// unixAddress is the room of struct sockaddr_un: the family and 108 bytes.
const unixAddress = 110

// unixUnnamed is the address of a socket that has none.
var unixUnnamed = []byte{fs.AF_UNIX, 0}

// checkUnix is Linux's unix_validate_addr.
func checkUnix(addr []byte) fs.Errno {
	if len(addr) <= 2 || len(addr) > unixAddress || addr[0] != fs.AF_UNIX || addr[1] != 0 {
		return fs.EINVAL
	}
	return 0
}

// unixID is an abstract name: each type of socket has its own.
type unixID struct {
	typ int
	key string
}

// abstract is the name in an address that is no file, or "".
func abstract(addr []byte) string {
	if len(addr) > 2 && addr[2] == 0 {
		return string(addr[2:])
	}
	return ""
}

// Bind gives the socket its name. That a path is a file is the caller's business.
func (s *unixSocket) Bind(addr []byte) fs.Errno {
	unixes.mu.Lock()
	defer unixes.mu.Unlock()
	if bytes.Equal(addr, unixUnnamed) {
		return s.nameItself()
	}
	if e := checkUnix(addr); e != 0 {
		return e
	}
	key := abstract(addr)
	switch {
	case s.name != nil:
		return fs.EINVAL
	case key == "":
		if end := bytes.IndexByte(addr[2:], 0); end >= 0 {
			addr = addr[:2+end]
		}
		s.name = append(bytes.Clone(addr), 0)
		return 0
	}
	return s.enter(key)
}

// enter gives the socket an abstract name.
func (s *unixSocket) enter(key string) fs.Errno {
	id := unixID{s.typ, key}
	if unixes.names[id] != nil {
		return fs.EADDRINUSE
	}
	if unixes.names == nil {
		unixes.names = make(map[unixID]*unixSocket)
	}
	unixes.names[id] = s
	s.name = append(bytes.Clone(unixUnnamed), key...)
	return 0
}

// nameItself gives the socket an abstract name of five digits, if it has none.
func (s *unixSocket) nameItself() fs.Errno {
	const digits, most = "0123456789abcdef", 1 << 20
	for range most {
		if s.name != nil {
			return 0
		}
		unixes.last = (unixes.last + 1) % most
		key := make([]byte, 6)
		for i := range 5 {
			key[5-i] = digits[unixes.last>>(4*i)&15]
		}
		_ = s.enter(string(key))
	}
	return fs.ENOSPC
}

func (s *unixSocket) Local() ([]byte, fs.Errno) {
	unixes.mu.Lock()
	defer unixes.mu.Unlock()
	return s.address(), 0
}

func (s *unixSocket) Peer() ([]byte, fs.Errno) {
	unixes.mu.Lock()
	defer unixes.mu.Unlock()
	if s.peer == nil {
		return nil, fs.ENOTCONN
	}
	return s.peer.address(), 0
}

// address is the name, or that of a socket without.
func (s *unixSocket) address() []byte {
	if s.name == nil {
		return unixUnnamed
	}
	return s.name
}

// find is the socket that has an abstract name.
func (s *unixSocket) find(addr []byte) (*unixSocket, fs.Errno) {
	if e := checkUnix(addr); e != 0 {
		return nil, e
	}
	return s.fits(unixes.names[unixID{s.typ, abstract(addr)}])
}

// fits checks what was found under a name.
func (s *unixSocket) fits(o *unixSocket) (*unixSocket, fs.Errno) {
	switch {
	case o == nil || o.closed:
		return nil, fs.ECONNREFUSED
	case o.typ != s.typ:
		return nil, fs.EPROTOTYPE
	}
	return o, 0
}

// fitting is fits for what a file stands for.
func (s *unixSocket) fitting(o fs.Socket) (*unixSocket, fs.Errno) {
	u, _ := o.(*unixSocket)
	return s.fits(u)
}
