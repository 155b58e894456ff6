package sys

import (
	"sync"
	"unsafe"

	"github.com/pvrun/pvrun/guest/fs"
)

// msghdr is Linux's struct msghdr. It is never copied as a whole: its pointers are
// looked at as numbers first, since the runtime does not bear wild ones.
type msghdr struct {
	name       uintptr
	nameLen    int32
	_          int32
	iov        uintptr
	iovLen     uintptr
	control    uintptr
	controlLen uintptr
	flags      int32
	_          int32
}

// mmsghdr is Linux's struct mmsghdr.
type mmsghdr struct {
	msghdr
	len uint32
	_   uint32
}

// maxControl bounds what goes with a message, in bytes: Linux's optmem_max.
const maxControl = 128 << 10

// message is a message of package fs with room for what most have.
type message struct {
	fs.Message
	moved   bool // Data is a buffer in place of the vector, which is on a stack
	vec     [16][]byte
	addr    [fs.MaxSockaddr]byte
	control [256]byte
}

var messages = sync.Pool{New: func() any { return new(message) }}

func newMessage() *message { return messages.Get().(*message) }

// end gives the message back.
func (m *message) end() {
	m.Message, m.moved = fs.Message{}, false
	clear(m.vec[:])
	messages.Put(m)
}

// follow is the pointer in field, nil unless n bytes can be there. Fields are of
// structures that may lie on the goroutine's stack, and so may what they lead to: the
// result is a pointer before that can move.
//
//go:nosplit
func follow(field *uintptr, n uintptr) unsafe.Pointer {
	if v := *field; v < 1<<47 && valid(v, n) {
		return *(*unsafe.Pointer)(unsafe.Pointer(field))
	}
	return nil
}

// vector takes over count buffers that vec lists. Those on a stack are replaced by one
// that is not, with what they have when fill is set.
func (m *message) vector(vec unsafe.Pointer, count uintptr, fill bool) fs.Errno {
	total := 0
	m.Data = m.vec[:0]
	for k := range count {
		b, e := element(vec, k)
		switch {
		case e != 0:
			return e
		case total+len(b) < total:
			return fs.EINVAL
		}
		total += len(b)
		m.moved = m.moved || stacked(b)
		if !m.moved {
			m.Data = append(m.Data, b)
		}
	}
	if !m.moved {
		return 0
	}
	buf := make([]byte, min(total, maxGather))
	for rest, k := buf, uintptr(0); fill && k < count && len(rest) > 0; k++ {
		b, _ := element(vec, k)
		rest = rest[copy(rest, b):]
	}
	m.Data = append(m.vec[:0], buf)
	return 0
}

// scatter moves the first n bytes that were received to where the vector says.
func (m *message) scatter(rest []byte, vec unsafe.Pointer, count uintptr) {
	for k := uintptr(0); k < count && len(rest) > 0; k++ {
		b, _ := element(vec, k)
		rest = rest[copy(b, rest):]
	}
}

// element is buffer k of a vector.
func element(vec unsafe.Pointer, k uintptr) ([]byte, fs.Errno) {
	v := (*[2]uintptr)(unsafe.Add(vec, k*unsafe.Sizeof(iovec{})))
	n := v[1]
	if n == 0 {
		return nil, 0
	}
	if int(n) < 0 {
		return nil, fs.EINVAL
	}
	p := follow(&v[0], n)
	if p == nil {
		return nil, fs.EFAULT
	}
	return unsafe.Slice((*byte)(p), n), 0
}

// load takes over what h says, for sending when fill is set, else for receiving.
func (m *message) load(h *msghdr, fill bool) fs.Errno {
	switch {
	case h.iovLen > maxIovec:
		return fs.EMSGSIZE
	case h.name != 0 && h.nameLen < 0:
		return fs.EINVAL
	case fill && h.controlLen > maxControl:
		return fs.ENOBUFS
	}
	if h.iovLen > 0 {
		vec := follow(&h.iov, h.iovLen*unsafe.Sizeof(iovec{}))
		if vec == nil {
			return fs.EFAULT
		}
		if e := m.vector(vec, h.iovLen, fill); e != 0 {
			return e
		}
	}
	m.Addr, m.Control = m.addr[:0], m.control[:0]
	if !fill {
		m.Room = int(min(h.controlLen, maxControl))
		return 0
	}
	if h.name != 0 && h.nameLen > 0 {
		n := min(uintptr(h.nameLen), fs.MaxSockaddr)
		p := follow(&h.name, n)
		if p == nil {
			return fs.EFAULT
		}
		m.Addr = append(m.Addr, unsafe.Slice((*byte)(p), n)...)
	}
	if n := h.controlLen; n > 0 {
		p := follow(&h.control, n)
		if p == nil {
			return fs.EFAULT
		}
		m.Control = append(m.Control, unsafe.Slice((*byte)(p), n)...)
	}
	return 0
}

// store puts what was received where h says.
func (m *message) store(h *msghdr, buf []byte, n int) fs.Errno {
	if m.moved {
		if vec := follow(&h.iov, h.iovLen*unsafe.Sizeof(iovec{})); vec != nil {
			m.scatter(buf[:min(n, len(buf))], vec, h.iovLen)
		}
	}
	if h.name != 0 {
		k := min(uintptr(h.nameLen), uintptr(len(m.Addr)))
		p := follow(&h.name, k)
		if p == nil {
			return fs.EFAULT
		}
		copy(unsafe.Slice((*byte)(p), k), m.Addr)
		h.nameLen = int32(len(m.Addr))
	}
	k := min(uintptr(len(m.Control)), h.controlLen)
	if k > 0 {
		p := follow(&h.control, k)
		if p == nil {
			return fs.EFAULT
		}
		copy(unsafe.Slice((*byte)(p), k), m.Control)
	}
	h.controlLen = k
	h.flags = int32(m.Flags)
	return 0
}

func sendHeader(fd int, h *msghdr, flags int) (int, fs.Errno) {
	m := newMessage()
	defer m.end()
	if e := m.load(h, true); e != 0 {
		return 0, e
	}
	return files().Sendmsg(fd, &m.Message, flags)
}

func recvHeader(fd int, h *msghdr, flags int) (int, fs.Errno) {
	m := newMessage()
	defer m.end()
	if e := m.load(h, false); e != 0 {
		return 0, e
	}
	buf := m.whole()
	n, e := files().Recvmsg(fd, &m.Message, flags)
	if e != 0 {
		return 0, e
	}
	return n, m.store(h, buf, n)
}

// whole is the buffer in place of a vector on a stack.
func (m *message) whole() []byte {
	if m.moved {
		return m.Data[0]
	}
	return nil
}

// header is the struct msghdr at argument 1.
func (a *args) header() (*msghdr, fs.Errno) {
	p := (*msghdr)(a.ptr(1, unsafe.Sizeof(msghdr{})))
	if e := files().CheckSocket(a.int(0)); e != 0 {
		return nil, e
	}
	if p == nil {
		return nil, fs.EFAULT
	}
	return p, 0
}

func sendmsg(a *args) (int, fs.Errno) {
	h, e := a.header()
	if e != 0 {
		return 0, e
	}
	return sendHeader(a.int(0), h, a.int(2))
}

func recvmsg(a *args) (int, fs.Errno) {
	h, e := a.header()
	if e != 0 {
		return 0, e
	}
	return recvHeader(a.int(0), h, a.int(2))
}

// headers is the list of struct mmsghdr at argument 1, its length argument 2.
func (a *args) headers() ([]mmsghdr, fs.Errno) {
	n := min(a.u32(2), maxIovec)
	p := a.ptr(1, uintptr(n)*unsafe.Sizeof(mmsghdr{}))
	if e := files().CheckSocket(a.int(0)); e != 0 {
		return nil, e
	}
	if p == nil {
		return nil, fs.EFAULT
	}
	return unsafe.Slice((*mmsghdr)(p), n), 0
}

// sendmmsg ends with the first message that fails; what that has is told only when it
// is the first of all.
func sendmmsg(a *args) (int, fs.Errno) {
	list, e := a.headers()
	for i := range list {
		var n int
		if n, e = sendHeader(a.int(0), &list[i].msghdr, a.int(3)); e != 0 {
			if i > 0 {
				return i, 0
			}
			return 0, e
		}
		list[i].len = uint32(n)
	}
	return len(list), e
}

// recvmmsg looks at its time limit after each message only, as Linux does.
func recvmmsg(a *args) (int, fs.Errno) {
	list, e := a.headers()
	if e != 0 {
		return 0, e
	}
	limit, e := a.timeout(4)
	if e != 0 {
		return 0, e
	}
	flags, begun := a.int(3), clock(clockMonotonic)
	for i := range list {
		n, e := recvHeader(a.int(0), &list[i].msghdr, flags&^fs.MSG_WAITFORONE)
		if e != 0 {
			if i > 0 {
				return i, 0
			}
			return 0, e
		}
		list[i].len = uint32(n)
		if flags&fs.MSG_WAITFORONE != 0 {
			flags |= fs.MSG_DONTWAIT
		}
		if limit >= 0 && clock(clockMonotonic)-begun >= limit {
			return i + 1, 0
		}
	}
	return len(list), 0
}

// writeVector is writev to a socket, for which a vector is one message.
func writeVector(a *args) (int, fs.Errno) {
	m := newMessage()
	defer m.end()
	if vec := a.ptr(1, a.v[2]*unsafe.Sizeof(iovec{})); vec != nil {
		if e := m.vector(vec, a.v[2], true); e != 0 {
			return 0, e
		}
	}
	return files().Sendmsg(a.int(0), &m.Message, 0)
}

// readVector is readv from a socket.
func readVector(a *args) (int, fs.Errno) {
	m := newMessage()
	defer m.end()
	if vec := a.ptr(1, a.v[2]*unsafe.Sizeof(iovec{})); vec != nil {
		if e := m.vector(vec, a.v[2], false); e != 0 {
			return 0, e
		}
	}
	buf := m.whole()
	n, e := files().Recvmsg(a.int(0), &m.Message, 0)
	if vec := a.ptr(1, a.v[2]*unsafe.Sizeof(iovec{})); m.moved && vec != nil {
		m.scatter(buf[:min(n, len(buf))], vec, a.v[2])
	}
	return n, e
}
