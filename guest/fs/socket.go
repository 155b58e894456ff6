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
	// return how many; flags are MSG_ bits. They keep nothing of m.
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

// Message is what sendmsg(2) and recvmsg(2) move, none of it on a goroutine's stack.
type Message struct {
	Data    [][]byte
	Addr    []byte // to whom; of Receive, from whom, made by the socket
	Control []byte // struct cmsghdr and data, likewise; without SCM_RIGHTS
	Room    int    // Receive: bytes that there are for Control
	Rights  []Right
	Flags   int // Receive: MSG_TRUNC and MSG_CTRUNC
}

// Right is a description on its way through a socket (SCM_RIGHTS, unix(7)).
type Right struct{ file *file }
