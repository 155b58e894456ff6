package fs

// Socket is the endpoint of a connection that a description has. No method waits:
// what cannot be done now is EAGAIN or, for Connect, EINPROGRESS, and who has to wait
// is told by the function that Watch was given. Addresses are Linux's struct sockaddr
// as bytes, options what setsockopt(2) carries. Methods are called from any goroutine.
type Socket interface {
	// Kind is what it was made with: AF_, SOCK_ without flags, and IPPROTO_.
	Kind() (domain, typ, protocol int)
	Bind(addr []byte) Errno
	Connect(addr []byte) Errno
	Listen(backlog int) Errno
	// Accept returns a new connection and its other end's address.
	Accept() (Socket, []byte, Errno)
	Local() ([]byte, Errno)
	Peer() ([]byte, Errno)
	Shutdown(how int) Errno
	Option(level, name int) ([]byte, Errno)
	SetOption(level, name int, value []byte) Errno
	// Send and Receive move at most one datagram, or some of a stream's bytes, and
	// return how many; flags are MSG_ bits, with MSG_DONTWAIT where nobody would
	// wait. They keep nothing of m but the rights that they take out of it.
	Send(m *Message, flags int) (int, Errno)
	Receive(m *Message, flags int) (int, Errno)
	// Ready is the readiness now, as EPOLL bits.
	Ready() uint32
	// Watch is called once, before anything else but Kind.
	Watch(changed func(events uint32))
	// Buffered is how many bytes a Receive would find at once (FIONREAD).
	Buffered() int
	// Close is called once, when the description ends.
	Close()
}

// FileSocket is a socket whose address may be a file (unix(7)).
type FileSocket interface {
	Socket
	// ConnectTo is Connect to the socket that is bound to a file.
	ConnectTo(peer Socket) Errno
}

// Message is what sendmsg(2) and recvmsg(2) move, none of it on a goroutine's stack.
type Message struct {
	Data    [][]byte
	Addr    []byte // to whom; of Receive, from whom, made by the socket, in what room there is
	To      Socket // Send: whose file Addr is, or nil
	Missing Errno  // Send: why there is no such file
	Control []byte // struct cmsghdr and data, likewise; without SCM_RIGHTS
	Room    int    // Receive: bytes that there are for Control
	Rights  []Right
	Flags   int // Receive: MSG_TRUNC and MSG_CTRUNC
}

// PutControl adds a message to Control, or what there is room for.
func (m *Message) PutControl(level, typ int, data []byte) {
	room := m.Room - len(m.Control)
	if room < cmsgHeader {
		m.Flags |= MSG_CTRUNC
		return
	}
	n := cmsgHeader + len(data)
	if n > room {
		m.Flags |= MSG_CTRUNC
		n = room
	}
	at := len(m.Control)
	m.Control = append(m.Control, make([]byte, min(cmsgAlign(n), room))...)
	h := m.Control[at:]
	putUint(h[:8], uint64(n))
	putUint(h[8:12], uint64(level))
	putUint(h[12:16], uint64(typ))
	copy(h[cmsgHeader:], data)
}

func cmsgAlign(n int) int { return (n + 7) &^ 7 }

// NextControl splits the first message off control; ok is whether there was one, e
// EINVAL if it says that it is longer than what there is, or shorter than a header.
func NextControl(control []byte) (level, typ int, data, rest []byte, ok bool, e Errno) {
	if len(control) < cmsgHeader {
		return 0, 0, nil, nil, false, 0
	}
	n := getUint(control[:8])
	if n < cmsgHeader || n > uint64(len(control)) {
		return 0, 0, nil, nil, false, EINVAL
	}
	level, typ = int(int32(getUint(control[8:12]))), int(int32(getUint(control[12:16])))
	rest = control[min(cmsgAlign(int(n)), len(control)):]
	return level, typ, control[cmsgHeader:n], rest, true, 0
}
