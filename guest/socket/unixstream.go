package socket

import "github.com/pvrun/pvrun/guest/fs"

// unixRing is what a stream has received.
type unixRing struct {
	buf     []byte // grows as it fills
	head, n int
	parts   []unixPart // what the n bytes consist of
}

// unixPart is bytes that came with the same rights and credentials.
type unixPart struct {
	n      int
	rights []fs.Right
	cred   unixCred
}

// unixSmallest is the first size of a ring, in bytes.
const unixSmallest = 4096

// charge is what the content counts against its sender's buffer.
func (r *unixRing) charge() int { return r.n + max(0, len(r.parts)-1)*unixOverhead }

// put adds bytes, for which there is room, at the end.
func (r *unixRing) put(b []byte) {
	for k := 0; len(b) > 0; b = b[k:] {
		tail := (r.head + r.n) % len(r.buf)
		k = copy(r.buf[tail:min(len(r.buf), tail+len(r.buf)-r.n)], b)
		r.n += k
	}
}

// reserve makes room for n more bytes.
func (r *unixRing) reserve(n int) {
	if r.n+n <= len(r.buf) {
		return
	}
	size := max(unixSmallest, len(r.buf))
	for size < r.n+n {
		size *= 2
	}
	buf := make([]byte, size)
	r.peek(buf[:r.n], 0)
	r.buf, r.head = buf, 0
}

// peek copies bytes from off on.
func (r *unixRing) peek(b []byte, off int) {
	if len(b) == 0 {
		return
	}
	at := (r.head + off) % len(r.buf)
	k := copy(b, r.buf[at:])
	copy(b[k:], r.buf)
}

// skip removes the first k bytes.
func (r *unixRing) skip(k int) {
	r.n -= k
	if r.head += k; r.head >= len(r.buf) {
		r.head -= len(r.buf)
	}
	if r.n == 0 {
		r.head = 0
	}
}

// drop gives everything up.
func (r *unixRing) drop(list *[]fs.Right) {
	for i := range r.parts {
		*list = append(*list, r.parts[i].rights...)
	}
	*r = unixRing{}
}

// mark notes that k bytes have come.
func (r *unixRing) mark(k int, rights []fs.Right, cred unixCred) {
	if last := len(r.parts) - 1; last >= 0 && len(rights) == 0 &&
		len(r.parts[last].rights) == 0 && r.parts[last].cred == cred {
		r.parts[last].n += k
		return
	}
	r.parts = append(r.parts, unixPart{k, rights, cred})
}

// sendStream follows Linux's unix_stream_sendmsg.
func (s *unixSocket) sendStream(m *fs.Message, cred unixCred) (int, fs.Errno) {
	p := s.peer
	switch {
	case len(m.Addr) > 0 && s.state == unixConnected:
		return 0, fs.EISCONN
	case len(m.Addr) > 0:
		return 0, fs.ENOTSUP
	case p == nil:
		return 0, fs.ENOTCONN
	case s.shut&unixSends != 0:
		return 0, fs.EPIPE
	}
	n := size(m.Data)
	switch {
	case n == 0:
		return 0, 0
	case p.closed || p.shut&unixReceives != 0:
		return 0, fs.EPIPE
	}
	k := min(n, s.sendBuffer-p.in.charge())
	if k <= 0 {
		return 0, fs.EAGAIN
	}
	p.in.reserve(k)
	p.in.mark(k, m.Rights, cred)
	m.Rights = nil
	left := k
	for _, b := range m.Data {
		b = b[:min(len(b), left)]
		p.in.put(b)
		left -= len(b)
	}
	p.wake(fs.EPOLLIN)
	return k, 0
}

// receiveStream follows Linux's unix_stream_read_generic.
func (s *unixSocket) receiveStream(m *fs.Message, flags int) (int, fs.Errno) {
	r := &s.in
	switch {
	case s.state != unixConnected, flags&fs.MSG_OOB != 0:
		return 0, fs.EINVAL
	case r.n > 0:
	case s.err != 0:
		return 0, s.failed()
	case s.shut&unixReceives != 0:
		return 0, 0
	default:
		return 0, fs.EAGAIN
	}
	m.Addr = append(m.Addr[:0], s.peer.name...)
	if s.passes {
		r.parts[0].cred.put(m)
	}
	k, ended, rights := r.front(size(m.Data), s.passes)
	off := 0
	for _, b := range m.Data {
		b = b[:min(len(b), k-off)]
		r.peek(b, off)
		off += len(b)
	}
	if flags&fs.MSG_PEEK != 0 {
		for _, one := range rights {
			m.Rights = append(m.Rights, one.Dup())
		}
		return k, 0
	}
	m.Rights = rights
	wasFull := !s.peer.writable()
	r.consume(k, ended)
	if wasFull && s.peer.writable() && !s.peer.closed {
		s.peer.wake(fs.EPOLLOUT)
	}
	return k, 0
}

// front is how much one call with room for so many bytes receives, how many parts end
// with that, and the rights that belong to it. It does not go beyond bytes that came
// with rights, nor, where credentials are wanted, to other ones.
func (r *unixRing) front(room int, creds bool) (k, ended int, rights []fs.Right) {
	for i := range r.parts {
		p := &r.parts[i]
		if i > 0 && (k == room || creds && p.cred != r.parts[0].cred) {
			break
		}
		rights = p.rights
		if k+p.n > room {
			return room, ended, rights
		}
		k += p.n
		ended++
		if len(rights) > 0 {
			break
		}
	}
	return k, ended, rights
}

// consume removes k bytes, with which so many parts end. The rights of one more have
// been received if some of its bytes have.
func (r *unixRing) consume(k, ended int) {
	r.skip(k)
	for _, p := range r.parts[:ended] {
		k -= p.n
	}
	n := copy(r.parts, r.parts[ended:])
	clear(r.parts[n:])
	r.parts = r.parts[:n]
	if n > 0 {
		r.parts[0].n -= k
		if k > 0 || ended == 0 {
			r.parts[0].rights = nil
		}
	}
}

// size is how many bytes a vector has.
func size(vec [][]byte) (n int) {
	for _, b := range vec {
		n += len(b)
	}
	return n
}
