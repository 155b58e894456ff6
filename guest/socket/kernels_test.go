package socket

import (
	"syscall"
	"testing"
	"time"
	"unsafe"

	"github.com/pvrun/pvrun/guest/fs"
	"golang.org/x/sys/unix"
)

// kernel is what has sockets: Linux, or the guest.
type kernel interface {
	socket(domain, typ, protocol int) (int, fs.Errno)
	pair(typ int) ([2]int, fs.Errno)
	bind(fd int, addr []byte) fs.Errno
	connect(fd int, addr []byte) fs.Errno
	listen(fd, backlog int) fs.Errno
	accept(fd int) (int, []byte, fs.Errno)
	name(fd int, peer bool) ([]byte, fs.Errno)
	shutdown(fd, how int) fs.Errno
	option(fd, level, name int) ([]byte, fs.Errno)
	setOption(fd, level, name int, v []byte) fs.Errno
	send(fd int, m *fs.Message, flags int) (int, fs.Errno)
	receive(fd int, m *fs.Message, flags int) (int, fs.Errno)
	ready(fd int) uint32
	buffered(fd int) (int, fs.Errno)
	unlink(path string) fs.Errno
	close(fd int) fs.Errno
}

// guestKernel is package fs over this package.
type guestKernel struct{ *fs.FS }

func newGuest(t testing.TB) guestKernel {
	t.Helper()
	credentials = func() (uint32, uint32) { return 0, 0 }
	start := time.Now()
	g := guestKernel{fs.New(fs.Host{
		Now:            func() int64 { return time.Now().UnixNano() },
		Mono:           func() int64 { return int64(time.Since(start)) },
		Sleep:          func(ns int64) { time.Sleep(time.Duration(ns)) },
		Entropy:        func([]byte) {},
		ConsoleReady:   func(int) uint32 { return 0 },
		PollRegister:   func(int32) {},
		PollUnregister: func(int32) {},
		PollNotify:     func(int32, uint32) {},
		Hostname:       func() string { return "box" },
		Generation:     func() uint64 { return 0 },
		Facts:          fs.Facts{PID: 1, CPUs: 1, MemBytes: 1 << 30},
	})}
	return g
}

func (g guestKernel) socket(domain, typ, protocol int) (int, fs.Errno) {
	s, e := open(domain, typ, protocol)
	if e != 0 {
		return 0, e
	}
	return g.Socket(s, fs.SOCK_NONBLOCK)
}

func (g guestKernel) pair(typ int) ([2]int, fs.Errno) {
	a, b, e := openPair(typ, 0)
	if e != 0 {
		return [2]int{}, e
	}
	return g.SocketPair(a, b, fs.SOCK_NONBLOCK)
}

func (g guestKernel) bind(fd int, addr []byte) fs.Errno     { return g.Bind(fd, addr) }
func (g guestKernel) connect(fd int, addr []byte) fs.Errno  { return g.Connect(fd, addr) }
func (g guestKernel) listen(fd, backlog int) fs.Errno       { return g.Listen(fd, backlog) }
func (g guestKernel) accept(fd int) (int, []byte, fs.Errno) { return g.Accept(fd, fs.SOCK_NONBLOCK) }
func (g guestKernel) shutdown(fd, how int) fs.Errno         { return g.Shutdown(fd, how) }
func (g guestKernel) buffered(fd int) (int, fs.Errno)       { return g.Buffered(fd) }
func (g guestKernel) unlink(path string) fs.Errno           { return g.Unlink(fs.AT_FDCWD, path, 0) }
func (g guestKernel) close(fd int) fs.Errno                 { return g.Close(fd) }

func (g guestKernel) name(fd int, peer bool) ([]byte, fs.Errno) {
	if peer {
		return g.Peername(fd)
	}
	return g.Sockname(fd)
}

func (g guestKernel) option(fd, level, name int) ([]byte, fs.Errno) {
	return g.Sockopt(fd, level, name)
}

func (g guestKernel) setOption(fd, level, name int, v []byte) fs.Errno {
	return g.SetSockopt(fd, level, name, v)
}

func (g guestKernel) send(fd int, m *fs.Message, flags int) (int, fs.Errno) {
	return g.Sendmsg(fd, m, flags)
}

func (g guestKernel) receive(fd int, m *fs.Message, flags int) (int, fs.Errno) {
	return g.Recvmsg(fd, m, flags)
}

func (g guestKernel) ready(fd int) uint32 {
	list := []fs.PollFD{{FD: int32(fd), Events: fs.EPOLLIN | fs.EPOLLOUT | fs.EPOLLRDHUP}}
	g.Poll(list, 0)
	return uint32(uint16(list[0].Revents))
}

// linuxKernel is the one that the tests run on.
type linuxKernel struct{}

func errno(err error) fs.Errno {
	if err == nil {
		return 0
	}
	return fs.Errno(err.(syscall.Errno))
}

func call(nr uintptr, a ...uintptr) (int, fs.Errno) {
	var v [6]uintptr
	copy(v[:], a)
	n, _, e := unix.Syscall6(nr, v[0], v[1], v[2], v[3], v[4], v[5])
	return int(n), fs.Errno(e)
}

func at(b []byte) uintptr { return uintptr(unsafe.Pointer(unsafe.SliceData(b))) }

func (linuxKernel) socket(domain, typ, protocol int) (int, fs.Errno) {
	fd, err := unix.Socket(domain, typ|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, protocol)
	return fd, errno(err)
}

func (linuxKernel) pair(typ int) ([2]int, fs.Errno) {
	fds, err := unix.Socketpair(unix.AF_UNIX, typ|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	return fds, errno(err)
}

func (linuxKernel) bind(fd int, addr []byte) fs.Errno {
	_, e := call(unix.SYS_BIND, uintptr(fd), at(addr), uintptr(len(addr)))
	return e
}

func (linuxKernel) connect(fd int, addr []byte) fs.Errno {
	_, e := call(unix.SYS_CONNECT, uintptr(fd), at(addr), uintptr(len(addr)))
	return e
}

func (linuxKernel) listen(fd, backlog int) fs.Errno { return errno(unix.Listen(fd, backlog)) }

func named(nr uintptr, fd int, flags uintptr) (int, []byte, fs.Errno) {
	b, n := make([]byte, 128), new(uint32)
	*n = 128
	v, e := call(nr, uintptr(fd), at(b), uintptr(unsafe.Pointer(n)), flags)
	return v, b[:*n], e
}

func (linuxKernel) accept(fd int) (int, []byte, fs.Errno) {
	return named(unix.SYS_ACCEPT4, fd, unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC)
}

func (linuxKernel) name(fd int, peer bool) ([]byte, fs.Errno) {
	nr := uintptr(unix.SYS_GETSOCKNAME)
	if peer {
		nr = unix.SYS_GETPEERNAME
	}
	_, b, e := named(nr, fd, 0)
	return b, e
}

func (linuxKernel) shutdown(fd, how int) fs.Errno { return errno(unix.Shutdown(fd, how)) }

func (linuxKernel) option(fd, level, name int) ([]byte, fs.Errno) {
	b, n := make([]byte, 128), new(uint32)
	*n = 128
	_, e := call(unix.SYS_GETSOCKOPT, uintptr(fd), uintptr(level), uintptr(name), at(b), uintptr(unsafe.Pointer(n)))
	return b[:*n], e
}

func (linuxKernel) setOption(fd, level, name int, v []byte) fs.Errno {
	_, e := call(unix.SYS_SETSOCKOPT, uintptr(fd), uintptr(level), uintptr(name), at(v), uintptr(len(v)))
	return e
}

func messageHeader(m *fs.Message) (*unix.Msghdr, []unix.Iovec) {
	vec := make([]unix.Iovec, len(m.Data))
	for i, b := range m.Data {
		vec[i].Base, vec[i].Len = unsafe.SliceData(b), uint64(len(b))
	}
	h := &unix.Msghdr{Iov: unsafe.SliceData(vec), Iovlen: uint64(len(vec))}
	return h, vec
}

func (linuxKernel) send(fd int, m *fs.Message, flags int) (int, fs.Errno) {
	h, _ := messageHeader(m)
	if len(m.Addr) > 0 {
		h.Name, h.Namelen = &m.Addr[0], uint32(len(m.Addr))
	}
	if len(m.Control) > 0 {
		h.Control, h.Controllen = &m.Control[0], uint64(len(m.Control))
	}
	return call(unix.SYS_SENDMSG, uintptr(fd), uintptr(unsafe.Pointer(h)), uintptr(flags|unix.MSG_NOSIGNAL))
}

func (linuxKernel) receive(fd int, m *fs.Message, flags int) (int, fs.Errno) {
	h, _ := messageHeader(m)
	name, control := make([]byte, 128), make([]byte, m.Room+1)
	h.Name, h.Namelen = &name[0], 128
	h.Control, h.Controllen = &control[0], uint64(m.Room)
	n, e := call(unix.SYS_RECVMSG, uintptr(fd), uintptr(unsafe.Pointer(h)), uintptr(flags))
	if e == 0 {
		m.Addr, m.Control, m.Flags = name[:h.Namelen], control[:h.Controllen], int(h.Flags)
	}
	return n, e
}

func (linuxKernel) ready(fd int) uint32 {
	list := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN | unix.POLLOUT | unix.POLLRDHUP}}
	_, _ = unix.Poll(list, 0)
	return uint32(uint16(list[0].Revents))
}

func (linuxKernel) buffered(fd int) (int, fs.Errno) {
	n, err := unix.IoctlGetInt(fd, unix.TIOCINQ)
	return n, errno(err)
}

func (linuxKernel) unlink(path string) fs.Errno { return errno(unix.Unlink(path)) }
func (linuxKernel) close(fd int) fs.Errno       { return errno(unix.Close(fd)) }
