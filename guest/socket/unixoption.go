package socket

import (
	"encoding/binary"

	"github.com/pvrun/pvrun/guest/fs"
	"github.com/pvrun/pvrun/guest/sys"
)

// unixCred is Linux's struct ucred.
type unixCred struct{ pid, uid, gid uint32 }

// unixNobody is whom a socket without connection is connected to.
var unixNobody = unixCred{0, ^uint32(0), ^uint32(0)}

// unixPID is the one process there is.
const unixPID = 1

// credentials are the program's user and group; tests have others.
var credentials = sys.Credentials

func ownCred() unixCred {
	uid, gid := credentials()
	return unixCred{unixPID, uid, gid}
}

func (c unixCred) bytes() []byte {
	b := make([]byte, 0, 12)
	for _, v := range [...]uint32{c.pid, c.uid, c.gid} {
		b = binary.LittleEndian.AppendUint32(b, v)
	}
	return b
}

// put adds SCM_CREDENTIALS to a message.
func (c unixCred) put(m *fs.Message) {
	m.Control = m.Control[:0]
	m.PutControl(fs.SOL_SOCKET, fs.SCM_CREDENTIALS, c.bytes())
}

// sentCred is the credentials that a message brings along, or the process's own. Root
// may pretend to be anybody, but for a process that is not there.
func sentCred(control []byte) (unixCred, fs.Errno) {
	c := unixCred{pid: ^uint32(0)}
	for {
		level, typ, data, rest, ok, e := fs.NextControl(control)
		switch {
		case e != 0:
			return c, e
		case !ok && c.pid == ^uint32(0):
			return ownCred(), 0
		case !ok:
			return c, 0
		case level != fs.SOL_SOCKET:
		case typ != fs.SCM_CREDENTIALS || len(data) != 12:
			return c, fs.EINVAL
		default:
			c.pid = binary.LittleEndian.Uint32(data)
			c.uid = binary.LittleEndian.Uint32(data[4:])
			c.gid = binary.LittleEndian.Uint32(data[8:])
			if e := c.check(); e != 0 {
				return c, e
			}
		}
		control = rest
	}
}

func (c unixCred) check() fs.Errno {
	own := ownCred()
	switch {
	case own.uid != 0 && (c.uid != own.uid || c.gid != own.gid):
		return fs.EPERM
	case c.pid != unixPID:
		return fs.ESRCH
	case c.uid == ^uint32(0) || c.gid == ^uint32(0):
		return fs.EINVAL
	}
	return 0
}

// Limits of a buffer's size, in bytes.
const (
	unixLeastSend    = 4608
	unixLeastReceive = 2304
	unixMostForced   = 64 << 20
)

func (s *unixSocket) Option(level, name int) ([]byte, fs.Errno) {
	if level != fs.SOL_SOCKET {
		return nil, fs.ENOTSUP
	}
	unixes.mu.Lock()
	defer unixes.mu.Unlock()
	v := int32(0)
	switch name {
	case fs.SO_TYPE:
		v = int32(s.typ)
	case fs.SO_DOMAIN:
		v = fs.AF_UNIX
	case fs.SO_PROTOCOL:
	case fs.SO_ERROR:
		v = int32(s.failed())
	case fs.SO_SNDBUF:
		v = int32(s.sendBuffer)
	case fs.SO_RCVBUF:
		v = int32(s.receiveBuffer)
	case fs.SO_PASSCRED:
		v = truth(s.passes)
	case fs.SO_ACCEPTCONN:
		v = truth(s.state == unixListening)
	case fs.SO_PEERCRED:
		return s.theirs.bytes(), 0
	case fs.SO_RCVLOWAT, fs.SO_SNDLOWAT:
		v = 1
	case fs.SO_LINGER:
		return binary.LittleEndian.AppendUint64(nil, uint64(uint32(s.flags[name]))), 0
	default:
		if !keptOption(name) {
			return nil, fs.ENOPROTOOPT
		}
		v = s.flags[name]
	}
	return binary.LittleEndian.AppendUint32(nil, uint32(v)), 0
}

// keptOption is whether an option is kept and means nothing here.
func keptOption(name int) bool {
	switch name {
	case fs.SO_DEBUG, fs.SO_REUSEADDR, fs.SO_DONTROUTE, fs.SO_BROADCAST, fs.SO_KEEPALIVE, fs.SO_OOBINLINE,
		fs.SO_NO_CHECK, fs.SO_PRIORITY, fs.SO_TIMESTAMP, fs.SO_PASSSEC, fs.SO_MARK:
		return true
	}
	return false
}

func truth(b bool) int32 {
	if b {
		return 1
	}
	return 0
}

func (s *unixSocket) SetOption(level, name int, value []byte) fs.Errno {
	switch {
	case level != fs.SOL_SOCKET:
		return fs.ENOTSUP
	case len(value) < 4:
		return fs.EINVAL
	}
	v := int(int32(binary.LittleEndian.Uint32(value)))
	unixes.mu.Lock()
	defer unixes.mu.Unlock()
	switch name {
	case fs.SO_TYPE, fs.SO_DOMAIN, fs.SO_PROTOCOL, fs.SO_ERROR, fs.SO_ACCEPTCONN, fs.SO_PEERCRED, fs.SO_SNDLOWAT:
		return fs.ENOPROTOOPT
	case fs.SO_PASSCRED:
		s.passes = v != 0
	case fs.SO_SNDBUF:
		s.sendBuffer = max(2*bounded(v, unixBuffer), unixLeastSend)
	case fs.SO_RCVBUF:
		s.receiveBuffer = max(2*bounded(v, unixBuffer), unixLeastReceive)
	case fs.SO_SNDBUFFORCE:
		s.sendBuffer = max(2*bounded(max(v, 0), unixMostForced), unixLeastSend)
	case fs.SO_RCVBUFFORCE:
		s.receiveBuffer = max(2*bounded(max(v, 0), unixMostForced), unixLeastReceive)
	case fs.SO_RCVLOWAT:
	case fs.SO_REUSEPORT:
		return fs.ENOTSUP
	case fs.SO_LINGER:
		return s.linger(value)
	default:
		if !keptOption(name) {
			return fs.ENOPROTOOPT
		}
		s.keep(name, int32(v))
	}
	return 0
}

// bounded is a size as Linux takes it: one below zero is the greatest.
func bounded(v, most int) int { return int(min(uint(v), uint(most))) }

func (s *unixSocket) linger(value []byte) fs.Errno {
	if len(value) < 8 {
		return fs.EINVAL
	}
	s.keep(fs.SO_LINGER, truth(value[0] != 0))
	return 0
}

// keep keeps what an option says: a number where it is one, else yes or no.
func (s *unixSocket) keep(name int, v int32) {
	if name != fs.SO_PRIORITY && name != fs.SO_MARK && name != fs.SO_LINGER {
		v = truth(v != 0)
	}
	if s.flags == nil {
		s.flags = make(map[int]int32)
	}
	s.flags[name] = v
}
