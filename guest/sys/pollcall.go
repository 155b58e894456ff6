package sys

import "github.com/pvrun/pvrun/guest/fs"

// pollCall does the program's own waiting for events. The runtime's goes
// through its own door.
func pollCall(trap uintptr, a *args) (int, fs.Errno, bool) {
	switch trap {
	case sys_poll:
		return gave(poll(a, millis(a.int(2))))
	case sys_ppoll:
		ns, e := a.timeout(2)
		if e != 0 {
			return done(e)
		}
		return gave(poll(a, ns))
	case sys_select:
		ns, e := a.timeval(4)
		if e != 0 {
			return done(e)
		}
		return gave(selectFDs(a, ns))
	case sys_pselect6:
		ns, e := a.timeout(4)
		if e != 0 {
			return done(e)
		}
		return gave(selectFDs(a, ns))
	case sys_epoll_create1:
		return gave(files().EpollCreate(a.int(0)))
	case sys_epoll_create:
		return gave(files().EpollCreate(0))
	case sys_epoll_ctl:
		return done(epollCtl(a))
	case sys_epoll_wait, sys_epoll_pwait:
		return gave(epollWait(a, millis(a.int(3))))
	case sys_epoll_pwait2:
		ns, e := a.timeout(3)
		if e != 0 {
			return done(e)
		}
		return gave(epollWait(a, ns))
	}
	return 0, 0, false
}

// millis is a timeout in ms as ns; negative is for ever.
func millis(ms int) int64 { return max(int64(ms), -1) * 1e6 }

// timeout is the timespec at argument i; a null pointer is for ever.
func (a *args) timeout(i int) (int64, fs.Errno) {
	if a.v[i] == 0 {
		return -1, 0
	}
	t, e := load[fs.Timespec](a, i)
	if e == 0 && (t.Sec < 0 || t.Nsec < 0 || t.Nsec >= 1e9) {
		e = fs.EINVAL
	}
	return min(t.Sec, 1<<32)*1e9 + t.Nsec, e
}

// timeval is timeout for select's microseconds.
func (a *args) timeval(i int) (int64, fs.Errno) {
	if a.v[i] == 0 {
		return -1, 0
	}
	t, e := load[[2]int64](a, i)
	if e == 0 && (t[0] < 0 || t[1] < 0) {
		e = fs.EINVAL
	}
	return min(t[0], 1<<32)*1e9 + min(t[1], 1<<32)*1000, e
}

func poll(a *args, ns int64) (int, fs.Errno) {
	if a.v[1] > fs.MaxFDs {
		return 0, fs.EINVAL
	}
	fds, e := loadSlice[fs.PollFD](a, 0, int(a.v[1]))
	if e != 0 {
		return 0, e
	}
	n := files().Poll(fds, ns)
	storeSlice(a, 0, fds)
	return n, 0
}

// fdSet is Linux's fd_set.
type fdSet [16]uint64

func (s *fdSet) has(fd int) bool { return s[fd/64]>>(fd%64)&1 != 0 }
func (s *fdSet) add(fd int)      { s[fd/64] |= 1 << (fd % 64) }

// What each of select's three sets asks for, and what satisfies it.
var (
	selectAsk  = [3]int16{fs.EPOLLIN, fs.EPOLLOUT, fs.EPOLLPRI}
	selectMeet = [3]int16{fs.EPOLLIN | fs.EPOLLHUP | fs.EPOLLERR, fs.EPOLLOUT | fs.EPOLLERR, fs.EPOLLPRI}
)

// selectFDs does select by way of poll.
func selectFDs(a *args, ns int64) (int, fs.Errno) {
	n := a.int(0)
	if n < 0 || n > 1024 {
		return 0, fs.EINVAL
	}
	var sets [3]fdSet
	for k := range sets {
		if a.v[1+k] == 0 {
			continue
		}
		words, e := loadSlice[uint64](a, 1+k, (n+63)/64)
		if e != 0 {
			return 0, e
		}
		copy(sets[k][:], words)
	}
	fds := asked(&sets, n)
	files().Poll(fds, ns)
	return a.selected(&sets, fds, n)
}

// asked lists the descriptors in the sets.
func asked(sets *[3]fdSet, n int) []fs.PollFD {
	var fds []fs.PollFD
	for fd := 0; fd < n; fd++ {
		p := fs.PollFD{FD: int32(fd)}
		for k := range sets {
			if sets[k].has(fd) {
				p.Events |= selectAsk[k]
			}
		}
		if p.Events != 0 {
			fds = append(fds, p)
		}
	}
	return fds
}

// selected stores the sets of what is ready and counts it.
func (a *args) selected(sets *[3]fdSet, fds []fs.PollFD, n int) (int, fs.Errno) {
	var out [3]fdSet
	count := 0
	for _, p := range fds {
		if p.Revents&fs.EPOLLNVAL != 0 {
			return 0, fs.EBADF
		}
		for k := range sets {
			if sets[k].has(int(p.FD)) && p.Revents&selectMeet[k] != 0 {
				out[k].add(int(p.FD))
				count++
			}
		}
	}
	for k := range out {
		if a.v[1+k] != 0 {
			storeSlice(a, 1+k, out[k][:(n+63)/64])
		}
	}
	return count, 0
}

// epollEvent is Linux's struct epoll_event, packed on x86-64.
type epollEvent struct {
	events uint32
	data   [2]uint32
}

func epollCtl(a *args) fs.Errno {
	var ev fs.EpollEvent
	if a.int(1) != fs.EPOLL_CTL_DEL {
		raw, e := load[epollEvent](a, 3)
		if e != 0 {
			return e
		}
		ev = fs.EpollEvent{Events: raw.events, Data: uint64(raw.data[0]) | uint64(raw.data[1])<<32}
	}
	return files().EpollCtl(a.int(0), a.int(1), a.int(2), ev)
}

func epollWait(a *args, ns int64) (int, fs.Errno) {
	max := a.int(2)
	if max <= 0 {
		return 0, fs.EINVAL
	}
	out := make([]fs.EpollEvent, min(max, 1024))
	n, e := files().EpollWait(a.int(0), out, ns)
	if e != 0 || n == 0 {
		return 0, e
	}
	raw := make([]epollEvent, n)
	for i, ev := range out[:n] {
		raw[i] = epollEvent{ev.Events, [2]uint32{uint32(ev.Data), uint32(ev.Data >> 32)}}
	}
	if a.ptr(1, uintptr(n)*12) == nil {
		return 0, fs.EFAULT
	}
	storeSlice(a, 1, raw)
	return n, 0
}
