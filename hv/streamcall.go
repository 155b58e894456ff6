package hv

import (
	"syscall"

	"github.com/pvrun/pvrun/hypercall"
)

// call answers the guest's stream. leave says that the loop's caller waits for it.
func (t *streams) call(a callArgs) (result int64, leave bool) {
	if t == nil {
		return failed(hypercall.ENOSYS), false
	}
	if a[1] >= uint64(hypercall.StreamOpEnd) {
		return failed(hypercall.EINVAL), false
	}
	op := hypercall.StreamOp(a[1])
	t.mu.Lock()
	defer t.mu.Unlock()
	switch op {
	case hypercall.StreamRoom: // messages are put before the guest is entered again
		if a[0] != 0 {
			return failed(hypercall.EINVAL), false
		}
		return 0, false
	case hypercall.StreamConnect:
		return t.connect(a[0]), false
	}
	s := t.all[a[0]]
	if s == nil || !s.told || s.err != nil {
		return failed(hypercall.EINVAL), false
	}
	result = s.call(op, a[2], a[3])
	return result, s == t.awaited && s.complete()
}

func (s *conn) call(op hypercall.StreamOp, at, n uint64) int64 {
	switch op {
	case hypercall.StreamSend, hypercall.StreamEnd:
		return s.send(at, n, op == hypercall.StreamEnd)
	case hypercall.StreamReset:
		s.fail(syscall.ECONNRESET)
		return 0
	case hypercall.StreamCredit:
		if n > uint64(s.way) {
			return failed(hypercall.EINVAL)
		}
		s.way -= int(n)
		s.list()
		return 0
	}
	return failed(hypercall.EINVAL)
}

// send takes bytes of the guest's, as many as there is room for.
func (s *conn) send(at, n uint64, end bool) int64 {
	room := s.most - s.in.len()
	switch {
	case n > hypercall.MaxStreamSend, s.inEnded:
		return failed(hypercall.EINVAL)
	case s.closed && n > 0:
		return failed(hypercall.EPIPE)
	case n > 0 && room <= 0:
		s.full = true
		return failed(hypercall.EAGAIN)
	}
	k := min(int(n), max(room, 0))
	if st := s.t.vm.space.copyIn(s.in.add(k), at); st != 0 {
		s.in.cut(k)
		return failed(st)
	}
	if end && k == int(n) {
		s.inEnded = true
		s.settle()
	}
	s.changed.Broadcast()
	return int64(k)
}

// connect makes a stream of a connection of the program's.
func (t *streams) connect(port uint64) int64 {
	switch {
	case port == 0 || port != uint64(t.vm.cfg.ServicePort):
		return failed(hypercall.ECONNREFUSED)
	case len(t.all) >= hypercall.MaxStreams || len(t.backlog) == cap(t.backlog):
		return failed(hypercall.EMFILE)
	}
	s := t.add(0)
	s.told = true
	t.backlog <- s
	return int64(s.id)
}
