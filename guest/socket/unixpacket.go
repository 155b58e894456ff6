package socket

import "github.com/pvrun/pvrun/guest/fs"

// unixPacket is a datagram, or a record of SOCK_SEQPACKET.
type unixPacket struct {
	data   []byte
	rights []fs.Right
	cred   unixCred
	sender *unixSocket
}

func (p *unixPacket) charge() int { return len(p.data) + unixOverhead }

// crowded is whether the socket takes no more packets of those that it is not
// connected to.
func (s *unixSocket) crowded() bool { return len(s.packets) > unixQueue }

// take removes the first packet.
func (s *unixSocket) take() unixPacket {
	p := s.packets[0]
	s.packets[0] = unixPacket{}
	if s.packets = s.packets[1:]; len(s.packets) == 0 {
		s.packets = nil
	}
	full := p.sender.sent*4 > p.sender.sendBuffer
	p.sender.sent -= p.charge()
	if full && p.sender.sent*4 <= p.sender.sendBuffer && !p.sender.closed {
		p.sender.wake(fs.EPOLLOUT)
	}
	s.room()
	return p
}

// sendPacket follows Linux's unix_dgram_sendmsg and unix_seqpacket_sendmsg.
func (s *unixSocket) sendPacket(m *fs.Message, cred unixCred, lost *[]fs.Right) (int, fs.Errno) {
	n := size(m.Data)
	if e := s.maySendNow(m, n); e != 0 {
		return 0, e
	}
	to, e := s.receiver(m)
	switch {
	case e != 0:
		return 0, e
	case !s.maySend(to):
		return 0, fs.EPERM
	case to.closed:
		s.repeer(nil, lost)
		s.state = unixIdle
		return 0, fs.ECONNREFUSED
	case to.shut&unixReceives != 0:
		return 0, fs.EPIPE
	case to.peer != s && to.crowded():
		to.wait(s)
		return 0, fs.EAGAIN
	}
	p := unixPacket{data: make([]byte, 0, n), rights: m.Rights, cred: cred, sender: s}
	m.Rights = nil
	for _, b := range m.Data {
		p.data = append(p.data, b...)
	}
	s.sent += p.charge()
	to.packets = append(to.packets, p)
	to.wake(fs.EPOLLIN)
	return n, 0
}

// maySendNow is what stands in the way of a packet of n bytes before it is known who
// is to have it.
func (s *unixSocket) maySendNow(m *fs.Message, n int) fs.Errno {
	seq := s.typ == fs.SOCK_SEQPACKET
	switch {
	case seq && s.err != 0:
		return s.failed()
	case seq && s.state != unixConnected:
		return fs.ENOTCONN
	case !seq && len(m.Addr) > 0:
		if e := checkUnix(m.Addr); e != 0 {
			return e
		}
	}
	switch {
	case n > s.sendBuffer-32:
		return fs.EMSGSIZE
	case s.err != 0:
		return s.failed()
	case s.shut&unixSends != 0:
		return fs.EPIPE
	case s.sent >= s.sendBuffer:
		return fs.EAGAIN
	}
	return 0
}

// receiver is who a packet goes to.
func (s *unixSocket) receiver(m *fs.Message) (*unixSocket, fs.Errno) {
	switch {
	case (s.typ == fs.SOCK_SEQPACKET || len(m.Addr) == 0) && s.peer == nil:
		return nil, fs.ENOTCONN
	case s.typ == fs.SOCK_SEQPACKET || len(m.Addr) == 0:
		return s.peer, 0
	case m.Missing != 0:
		return nil, m.Missing
	case m.To != nil:
		return s.fitting(m.To)
	}
	return s.find(m.Addr)
}

// receivePacket follows Linux's unix_dgram_recvmsg and unix_seqpacket_recvmsg.
func (s *unixSocket) receivePacket(m *fs.Message, flags int) (int, fs.Errno) {
	seq := s.typ == fs.SOCK_SEQPACKET
	over := s.shut&unixReceives != 0 && (seq || flags&fs.MSG_DONTWAIT == 0)
	switch {
	case seq && s.state != unixConnected:
		return 0, fs.ENOTCONN
	case flags&fs.MSG_OOB != 0:
		return 0, fs.ENOTSUP
	case s.err != 0:
		return 0, s.failed()
	case len(s.packets) == 0 && over:
		return 0, 0
	case len(s.packets) == 0:
		return 0, fs.EAGAIN
	}
	p := s.packets[0]
	if flags&fs.MSG_PEEK != 0 {
		for _, one := range p.rights {
			m.Rights = append(m.Rights, one.Dup())
		}
	} else {
		m.Rights = p.rights
		s.take()
	}
	rest := p.data
	for _, b := range m.Data {
		rest = rest[copy(b, rest):]
	}
	m.Addr = append(m.Addr[:0], p.sender.name...)
	if s.passes {
		p.cred.put(m)
	}
	if len(rest) > 0 {
		m.Flags |= fs.MSG_TRUNC
		if flags&fs.MSG_TRUNC == 0 {
			return len(p.data) - len(rest), 0
		}
	}
	return len(p.data), 0
}
