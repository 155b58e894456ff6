package sys

import "github.com/pvrun/pvrun/guest/fs"

// Sockets makes a socket, and SocketPair two that are connected, for socket(2) and
// socketpair(2) without flags in typ. Package socket sets them, where it is linked.
var (
	Sockets    func(domain, typ, protocol int) (fs.Socket, fs.Errno)
	SocketPair func(typ, protocol int) (a, b fs.Socket, e fs.Errno)
)

// Resolving, if set, is called before the program looks at an /etc/resolv.conf, or another
// file that tells of names, that the image does not have: it may wait until they are known.
var Resolving func()

// SetResolver changes what that file says.
func SetResolver(text string) { files().SetResolver(text) }

// socketCall does the calls on sockets.
func socketCall(trap uintptr, a *args) (int, fs.Errno, bool) {
	switch trap {
	case sys_sendto:
		return gave(sendto(a))
	case sys_recvfrom:
		return gave(recvfrom(a))
	case sys_sendmsg:
		return gave(sendmsg(a))
	case sys_recvmsg:
		return gave(recvmsg(a))
	case sys_sendmmsg:
		return gave(sendmmsg(a))
	case sys_recvmmsg:
		return gave(recvmmsg(a))
	case sys_accept4:
		return gave(accept(a, a.int(3)))
	case sys_accept:
		return gave(accept(a, 0))
	case sys_socket:
		return gave(socket(a))
	case sys_socketpair:
		return done(socketpair(a))
	case sys_connect:
		return done(withAddress(a, files().Connect))
	case sys_bind:
		return done(withAddress(a, files().Bind))
	case sys_listen:
		return done(files().Listen(a.int(0), a.int(1)))
	case sys_shutdown:
		return done(files().Shutdown(a.int(0), a.int(1)))
	case sys_getsockname:
		return done(socketName(a, files().Sockname))
	case sys_getpeername:
		return done(socketName(a, files().Peername))
	case sys_getsockopt:
		return done(getsockopt(a))
	case sys_setsockopt:
		return done(setsockopt(a))
	}
	return 0, 0, false
}

// socketFlags are those that come with a socket's type.
const socketFlags = fs.SOCK_NONBLOCK | fs.SOCK_CLOEXEC

// typeAndFlags is argument 1 of socket and socketpair.
func typeAndFlags(a *args) (typ, flags int, e fs.Errno) {
	typ = a.int(1)
	flags = typ &^ 0xf
	if flags&^socketFlags != 0 {
		e = fs.EINVAL
	}
	return typ & 0xf, flags, e
}

func socket(a *args) (int, fs.Errno) {
	typ, flags, e := typeAndFlags(a)
	if e != 0 {
		return 0, e
	}
	if Sockets == nil {
		return 0, fs.EAFNOSUPPORT
	}
	s, e := Sockets(a.int(0), typ, a.int(2))
	if e != 0 {
		return 0, e
	}
	return files().Socket(s, flags)
}

func socketpair(a *args) fs.Errno {
	typ, flags, e := typeAndFlags(a)
	switch {
	case e != 0:
		return e
	case a.ptr(3, 8) == nil:
		return fs.EFAULT
	case SocketPair == nil:
		return fs.EAFNOSUPPORT
	case a.int(0) != fs.AF_UNIX:
		return unpaired(a.int(0), typ, a.int(2))
	}
	one, other, e := SocketPair(typ, a.int(2))
	if e != 0 {
		return e
	}
	fds, e := files().SocketPair(one, other, flags)
	if e != 0 {
		return e
	}
	return store(a, 3, [2]int32{int32(fds[0]), int32(fds[1])})
}

// unpaired is why there is no pair of a family: Linux makes the sockets first.
func unpaired(domain, typ, protocol int) fs.Errno {
	s, e := Sockets(domain, typ, protocol)
	if e != 0 {
		return e
	}
	s.Watch(func(uint32) {})
	s.Close()
	return fs.ENOTSUP
}

// address copies the struct sockaddr at argument i, its length argument i+1.
func (a *args) address(i int, room *[fs.MaxSockaddr]byte) ([]byte, fs.Errno) {
	n := a.int(i + 1)
	if n < 0 || n > fs.MaxSockaddr {
		return nil, fs.EINVAL
	}
	b, e := a.span(i, uintptr(n))
	return room[:copy(room[:], b)], e
}

// withAddress does a call with a descriptor and an address.
func withAddress(a *args, call func(fd int, addr []byte) fs.Errno) fs.Errno {
	if e := files().CheckSocket(a.int(0)); e != 0 {
		return e
	}
	addr, e := a.address(1, new([fs.MaxSockaddr]byte))
	if e != 0 {
		return e
	}
	return call(a.int(0), addr)
}

// storeAddress stores what there is room for of an address, n bytes long, at argument
// i. At i+1 is the room, and afterwards n.
func (a *args) storeAddress(i int, addr []byte, n int) fs.Errno {
	room, e := load[int32](a, i+1)
	switch {
	case e != 0:
		return e
	case room < 0:
		return fs.EINVAL
	}
	to, e := a.span(i, uintptr(min(int(room), n, len(addr))))
	if e != 0 {
		return e
	}
	copy(to, addr)
	return store(a, i+1, int32(n))
}

func socketName(a *args, call func(fd int) ([]byte, fs.Errno)) fs.Errno {
	addr, e := call(a.int(0))
	if e != 0 {
		return e
	}
	return a.storeAddress(1, addr, len(addr))
}

func accept(a *args, flags int) (int, fs.Errno) {
	if flags&^socketFlags != 0 {
		return 0, fs.EINVAL
	}
	fd, addr, e := files().Accept(a.int(0), flags)
	if e != 0 || a.v[1] == 0 {
		return fd, e
	}
	if e := a.storeAddress(1, addr, len(addr)); e != 0 {
		files().Close(fd)
		return 0, e
	}
	return fd, 0
}

func sendto(a *args) (int, fs.Errno) {
	b, e := a.bytes(1)
	if e != 0 {
		return 0, e
	}
	if a.v[4] == 0 {
		return files().Send(a.int(0), b, a.int(3), nil)
	}
	var room [fs.MaxSockaddr]byte
	addr, e := a.address(4, &room)
	if e != 0 {
		return 0, e
	}
	return files().Send(a.int(0), b, a.int(3), addr)
}

func recvfrom(a *args) (int, fs.Errno) {
	b, e := a.bytes(1)
	if e != 0 {
		return 0, e
	}
	if a.v[4] == 0 {
		n, _, e := files().Recv(a.int(0), b, a.int(3), nil)
		return n, e
	}
	var from [fs.MaxSockaddr]byte
	n, fromLen, e := files().Recv(a.int(0), b, a.int(3), from[:])
	if e == 0 {
		e = a.storeAddress(4, from[:], fromLen)
	}
	return n, e
}

// longestOption bounds the value of an option, in bytes.
const longestOption = 64 << 10

func setsockopt(a *args) fs.Errno {
	n := a.int(4)
	if n < 0 || n > longestOption {
		return fs.EINVAL
	}
	value, e := loadSlice[byte](a, 3, n)
	if e != 0 {
		return e
	}
	return files().SetSockopt(a.int(0), a.int(1), a.int(2), value)
}

func getsockopt(a *args) fs.Errno {
	value, e := files().Sockopt(a.int(0), a.int(1), a.int(2))
	if e != 0 {
		return e
	}
	room, e := load[int32](a, 4)
	switch {
	case e != 0:
		return e
	case room < 0:
		return fs.EINVAL
	}
	value = value[:min(int(room), len(value))]
	to, e := a.span(3, uintptr(len(value)))
	if e != 0 {
		return e
	}
	copy(to, value)
	return store(a, 4, int32(len(value)))
}
