package socket

import "github.com/pvrun/pvrun/guest/fs"

func (s *unixSocket) Listen(backlog int) fs.Errno {
	unixes.mu.Lock()
	defer unixes.mu.Unlock()
	switch {
	case !s.connects():
		return fs.ENOTSUP
	case s.name == nil || s.state == unixConnected:
		return fs.EINVAL
	}
	if backlog < 0 || backlog > unixMaxBacklog {
		backlog = unixMaxBacklog
	}
	s.backlog, s.state = backlog, unixListening
	s.theirs = s.own
	s.room()
	return 0
}

func (s *unixSocket) Connect(addr []byte) fs.Errno {
	var lost []fs.Right
	defer func() { closeRights(lost) }()
	unixes.mu.Lock()
	defer unixes.mu.Unlock()
	if s.typ == fs.SOCK_DGRAM && len(addr) >= 2 && addr[0] == fs.AF_UNSPEC && addr[1] == 0 {
		s.repeer(nil, &lost)
		s.state = unixIdle
		return 0
	}
	o, e := s.find(addr)
	return s.connect(o, e, &lost)
}

// ConnectTo is Connect to a file.
func (s *unixSocket) ConnectTo(peer fs.Socket) fs.Errno {
	var lost []fs.Right
	defer func() { closeRights(lost) }()
	unixes.mu.Lock()
	defer unixes.mu.Unlock()
	o, e := s.fitting(peer)
	return s.connect(o, e, &lost)
}

// connect connects to what a name led to.
func (s *unixSocket) connect(o *unixSocket, e fs.Errno, lost *[]fs.Right) fs.Errno {
	if s.passes && s.name == nil {
		_ = s.nameItself()
	}
	switch {
	case e != 0:
		return e
	case s.typ == fs.SOCK_DGRAM && !s.maySend(o):
		return fs.EPERM
	case s.typ == fs.SOCK_DGRAM:
		s.repeer(o, lost)
		s.state = unixConnected
		return 0
	case o.state != unixListening || o.shut&unixReceives != 0:
		return fs.ECONNREFUSED
	case len(o.pending) > o.backlog:
		o.wait(s)
		return fs.EAGAIN
	case s.state == unixConnected:
		return fs.EISCONN
	case s.state == unixListening:
		return fs.EINVAL
	}
	c := makeUnix(s.typ)
	c.name, c.own, c.passes = o.name, o.own, o.passes
	c.join(s)
	o.pending = append(o.pending, c)
	o.wake(fs.EPOLLIN)
	s.wake(s.ready())
	return 0
}

// maySend is whether o takes datagrams of s: one that is connected takes its peer's.
func (s *unixSocket) maySend(o *unixSocket) bool { return o.peer == nil || o.peer == s }

// repeer changes whom datagrams go to. What has come is lost, and if the old peer is
// connected to s it learns of that.
func (s *unixSocket) repeer(o *unixSocket, list *[]fs.Right) {
	old := s.peer
	s.peer = o
	if old == nil || old == o {
		return
	}
	if len(s.packets) == 0 {
		return
	}
	s.drop(list)
	if !old.closed && old.peer == s {
		old.err = fs.ECONNRESET
		old.wake(old.ready())
	}
}

func (s *unixSocket) Accept() (fs.Socket, []byte, fs.Errno) {
	unixes.mu.Lock()
	defer unixes.mu.Unlock()
	switch {
	case !s.connects():
		return nil, nil, fs.ENOTSUP
	case s.state != unixListening:
		return nil, nil, fs.EINVAL
	case len(s.pending) == 0 && s.shut&unixReceives != 0:
		return nil, nil, fs.EINVAL // on Linux only who waits is told
	case len(s.pending) == 0:
		return nil, nil, fs.EAGAIN
	}
	c := s.pending[0]
	s.pending[0] = nil
	s.pending = s.pending[1:]
	s.room()
	return c, c.peer.address(), 0
}

func (s *unixSocket) Send(m *fs.Message, flags int) (int, fs.Errno) {
	cred, e := s.own, fs.Errno(0) // those of its making: who asks would have to be asked each time
	if len(m.Control) > 0 {
		cred, e = sentCred(m.Control)
	}
	switch {
	case e != 0:
		return 0, e
	case flags&fs.MSG_OOB != 0:
		return 0, fs.ENOTSUP
	}
	var lost []fs.Right
	unixes.mu.Lock()
	n := 0
	if s.typ == fs.SOCK_STREAM {
		n, e = s.sendStream(m, cred)
	} else {
		n, e = s.sendPacket(m, cred, &lost)
	}
	unixes.mu.Unlock()
	closeRights(lost)
	return n, e
}

func (s *unixSocket) Receive(m *fs.Message, flags int) (int, fs.Errno) {
	unixes.mu.Lock()
	defer unixes.mu.Unlock()
	if s.typ == fs.SOCK_STREAM {
		return s.receiveStream(m, flags)
	}
	return s.receivePacket(m, flags)
}
