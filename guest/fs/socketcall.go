package fs

// Bind gives a socket its address. A path of AF_UNIX becomes a file.
func (fs *FS) Bind(fd int, addr []byte) Errno {
	f, s, e := fs.getSocket(fd)
	if e != 0 {
		return e
	}
	defer fs.put(f)
	if path, isFile := s.path(addr); isFile {
		return fs.bindFile(s.sock, path, addr)
	}
	return s.sock.Bind(addr)
}

// path is the path in an address, if the socket's family has such.
func (s *endpoint) path(addr []byte) (path string, isFile bool) {
	if s.domain != AF_UNIX || len(addr) < 3 || len(addr) > maxUnixAddr || getUint(addr[:2]) != AF_UNIX || addr[2] == 0 {
		return "", false
	}
	name := addr[2:]
	for i, c := range name {
		if c == 0 {
			name = name[:i]
			break
		}
	}
	return string(name), true
}

// bindFile makes the file of a socket's name. A host's folder, and a volume, have no
// place for what the file stands for.
func (fs *FS) bindFile(s Socket, path string, addr []byte) Errno {
	fs.lockTree()
	defer fs.tree.Unlock()
	p, e := fs.newName(AT_FDCWD, path)
	switch {
	case e == EEXIST:
		return EADDRINUSE
	case e != 0:
		return e
	case p.slash:
		return ENOENT
	case p.dir.dir.source != nil:
		return ENOTSUP
	}
	if e := s.Bind(addr); e != 0 {
		return e
	}
	n := fs.newInode(p.dir.dev, S_IFSOCK|0o777&^fs.mask.Load())
	n.inherit(p.dir)
	n.socket = s
	return p.dir.make(p.name, n)
}

// fileOf is the socket whose file addr names; nil for addresses that are no files.
func (s *endpoint) fileOf(fs *FS, addr []byte) (Socket, Errno) {
	path, isFile := s.path(addr)
	if !isFile {
		return nil, 0
	}
	n, e := fs.node(AT_FDCWD, path, 0)
	switch {
	case e != 0:
		return nil, e
	case n.socket == nil:
		return nil, ECONNREFUSED
	}
	return n.socket, 0
}

// sendsTo is fileOf for who sends: only a datagram has its own receiver.
func (s *endpoint) sendsTo(fs *FS, addr []byte) (Socket, Errno) {
	if s.typ != SOCK_DGRAM {
		return nil, 0
	}
	return s.fileOf(fs, addr)
}

// Connect connects a socket, waiting for that unless its description does not.
func (fs *FS) Connect(fd int, addr []byte) Errno {
	f, s, e := fs.getSocket(fd)
	if e != 0 {
		return e
	}
	defer fs.put(f)
	w := fs.newWait(s.sends.Load())
	for {
		w.look()
		e := s.connect(fs, addr)
		switch {
		case f.nonblock():
			return e
		case e == EINPROGRESS || e == EALREADY:
			return s.connected(&w)
		case e != EAGAIN || !w.park():
			return e
		}
	}
}

func (s *endpoint) connect(fs *FS, addr []byte) Errno {
	to, e := s.fileOf(fs, addr)
	if e != 0 {
		return e
	}
	if named, ok := s.sock.(FileSocket); ok && to != nil {
		return named.ConnectTo(to)
	}
	return s.sock.Connect(addr)
}

// connected waits for the end of a Connect.
func (s *endpoint) connected(w *wait) Errno {
	for {
		w.look()
		if s.sock.Ready()&(EPOLLOUT|EPOLLERR|EPOLLHUP) != 0 {
			v, e := s.sock.Option(SOL_SOCKET, SO_ERROR)
			if e == 0 {
				e = Errno(getUint(v[:min(4, len(v))]))
			}
			return e
		}
		if !w.park() {
			return EINPROGRESS
		}
	}
}

// Listen lets a socket be connected to.
func (fs *FS) Listen(fd, backlog int) Errno {
	f, s, e := fs.getSocket(fd)
	if e != 0 {
		return e
	}
	defer fs.put(f)
	return s.sock.Listen(backlog)
}

// Accept gives the next connection a descriptor and returns its other end's address.
func (fs *FS) Accept(fd, flags int) (int, []byte, Errno) {
	f, s, e := fs.getSocket(fd)
	if e != 0 {
		return 0, nil, e
	}
	defer fs.put(f)
	if fs.table.full() {
		return 0, nil, EMFILE
	}
	w := fs.newWait(s.receives.Load())
	for {
		w.look()
		c, addr, e := s.sock.Accept()
		switch {
		case e == 0:
			nfd, e := fs.Socket(c, flags)
			return nfd, addr, e
		case e != EAGAIN || f.nonblock() || !w.park():
			return 0, nil, e
		}
	}
}

// full is whether there is no free descriptor.
func (t *table) full() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.free(0) >= MaxFDs
}

// Sockname is a socket's address, Peername that of its other end.
func (fs *FS) Sockname(fd int) ([]byte, Errno) {
	f, s, e := fs.getSocket(fd)
	if e != 0 {
		return nil, e
	}
	defer fs.put(f)
	return s.sock.Local()
}

func (fs *FS) Peername(fd int) ([]byte, Errno) {
	f, s, e := fs.getSocket(fd)
	if e != 0 {
		return nil, e
	}
	defer fs.put(f)
	return s.sock.Peer()
}

// Shutdown ends one direction of a connection, or both.
func (fs *FS) Shutdown(fd, how int) Errno {
	f, s, e := fs.getSocket(fd)
	if e != 0 {
		return e
	}
	defer fs.put(f)
	return s.sock.Shutdown(how)
}

// Recv receives into b and from, which may lie on a stack; fromLen is how long the
// address is.
func (fs *FS) Recv(fd int, b []byte, flags int, from []byte) (n, fromLen int, e Errno) {
	f, s, e := fs.getSocket(fd)
	if e != 0 {
		return 0, 0, e
	}
	defer fs.put(f)
	return s.receive(f, clip(b), flags, from)
}

// Send sends b to an address, or with none to the other end. Both may lie on a stack.
func (fs *FS) Send(fd int, b []byte, flags int, addr []byte) (int, Errno) {
	f, s, e := fs.getSocket(fd)
	if e != 0 {
		return 0, e
	}
	defer fs.put(f)
	return s.send(f, clip(b), flags, addr)
}

// Recvmsg receives a message with all that belongs to it.
func (fs *FS) Recvmsg(fd int, m *Message, flags int) (int, Errno) {
	f, s, e := fs.getSocket(fd)
	if e != 0 {
		return 0, e
	}
	defer fs.put(f)
	n, e := s.recvmsg(f, m, f.waiting(flags))
	if e != 0 {
		m.dropRights()
		return 0, e
	}
	fs.giveRights(m, flags&MSG_CMSG_CLOEXEC != 0)
	m.Flags |= flags & MSG_CMSG_CLOEXEC
	return n, 0
}

func (s *endpoint) recvmsg(f *file, m *Message, flags int) (int, Errno) {
	size := length(m.Data)
	n, e := s.sock.Receive(m, flags)
	if !s.wants(n, size, flags, e) || len(m.Rights) > 0 {
		return n, e
	}
	if e != 0 {
		n = 0
	}
	m.Data = advance(m.Data, n)
	w := f.fs.newWait(s.receives.Load())
	for {
		w.look()
		k, e := s.sock.Receive(m, flags)
		if e == 0 {
			n += k
			m.Data = advance(m.Data, k)
		}
		if k == 0 && e == 0 || len(m.Rights) > 0 || !s.wants(n, size, flags, e) || e == EAGAIN && !w.park() {
			return n, e.unless(n > 0)
		}
	}
}

// Sendmsg sends a message with all that belongs to it.
func (fs *FS) Sendmsg(fd int, m *Message, flags int) (int, Errno) {
	f, s, e := fs.getSocket(fd)
	if e != 0 {
		return 0, e
	}
	defer fs.put(f)
	defer m.dropRights()
	if s.domain == AF_UNIX && len(m.Control) > 0 {
		if e := fs.takeRights(m); e != 0 {
			return 0, e
		}
	}
	m.To, m.Missing = s.sendsTo(fs, m.Addr)
	return s.sendmsg(f, m, f.waiting(flags))
}

func (s *endpoint) sendmsg(f *file, m *Message, flags int) (int, Errno) {
	size, n := length(m.Data), 0
	w := f.fs.newWait(s.sends.Load())
	for {
		w.look()
		k, e := s.sock.Send(m, flags)
		if e == 0 {
			n += k
			m.Data = advance(m.Data, k)
		}
		if !s.owes(n, size, flags, e) || e == EAGAIN && !w.park() {
			return n, e.unless(n > 0)
		}
	}
}

// length is how many bytes a vector has.
func length(vec [][]byte) (n int) {
	for _, b := range vec {
		n += len(b)
	}
	return n
}

// advance is a vector without its first n bytes.
func advance(vec [][]byte, n int) [][]byte {
	for len(vec) > 0 && n >= len(vec[0]) {
		n -= len(vec[0])
		vec = vec[1:]
	}
	if n > 0 && len(vec) > 0 {
		vec[0] = vec[0][n:]
	}
	return vec
}
