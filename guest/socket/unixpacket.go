package socket

import "github.com/pvrun/pvrun/guest/fs"

// unixPacket is a datagram, or a record of SOCK_SEQPACKET.
type unixPacket struct {
	data   []byte
	from   []byte // its sender's name; nil for none
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
func (s *unixSocket) sendPacket(m *fs.Message, cred unixCred) (int, fs.Errno) {
	to, e := s.receiver(m)
	switch n := size(m.Data); {
	case e != 0:
		return 0, e
	case n > s.sendBuffer-32:
		return 0, fs.EMSGSIZE
	case s.err != 0:
		return 0, s.failed()
	case s.shut&unixSends != 0:
		return 0, fs.EPIPE
	case to.closed && s.peer == to:
		s.peer, s.state = nil, unixIdle
		return 0, fs.ECONNREFUSED
	case !s.maySend(to):
		return 0, fs.EPERM
	case to.shut&unixReceives != 0:
		return 0, fs.EPIPE
	case s.sent >= s.sendBuffer:
		return 0, fs.EAGAIN
	case to.peer != s && to.crowded():
		to.wait(s)
		return 0, fs.EAGAIN
	}
	p := unixPacket{from: s.name, rights: m.Rights, cred: cred, sender: s}
	m.Rights = nil
	p.data = make([]byte, 0, size(m.Data))
	for _, b := range m.Data {
		p.data = append(p.data, b...)
	}
	s.sent += p.charge()
	to.packets = append(to.packets, p)
	to.wake(fs.EPOLLIN)
	return len(p.data), 0
}

// receiver is who a packet goes to.
func (s *unixSocket) receiver(m *fs.Message) (*unixSocket, fs.Errno) {
	switch {
	case s.typ == fs.SOCK_SEQPACKET && s.err != 0:
		return nil, s.failed()
	case s.typ == fs.SOCK_SEQPACKET && s.state != unixConnected:
		return nil, fs.ENOTCONN
	case s.typ == fs.SOCK_SEQPACKET:
		return s.peer, 0
	case m.To != nil:
		if e := checkUnix(m.Addr); e != 0 {
			return nil, e
		}
		return s.fitting(m.To)
	case len(m.Addr) > 0:
		return s.find(m.Addr)
	case s.peer == nil:
		return nil, fs.ENOTCONN
	}
	return s.peer, 0
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
	m.Addr = append(m.Addr[:0], p.from...)
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
