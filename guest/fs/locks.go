package fs

import (
	"slices"
	"sync"
)

// Flock is Linux's struct flock.
type Flock struct {
	Type   int16
	Whence int16
	Pad    int32
	Start  int64
	Len    int64
	PID    int32
	Pad2   int32
}

// lastByte is the end of a lock that has none.
const lastByte = 1<<63 - 1

// rangeLock is a record lock on [start, end]. The owner is the FS for POSIX
// locks, which belong to the process, and the *file for those of F_OFD_SETLK.
type rangeLock struct {
	owner      any
	start, end int64
	write      bool
}

// locks are an inode's locks. inode.mu guards them.
type locks struct {
	ranges  []rangeLock
	sharing []*file // holders of a shared flock
	alone   *file   // holder of the exclusive one
	freed   *sync.Cond
}

// wait parks until some lock of the inode was given up. The caller holds n.mu.
func (n *inode) waitLock() {
	if n.locks.freed == nil {
		n.locks.freed = sync.NewCond(&n.mu)
	}
	n.locks.freed.Wait()
}

func (l *locks) wake() {
	if l.freed != nil {
		l.freed.Broadcast()
	}
}

// conflict is a lock of somebody else's that w cannot stand beside, or nil.
func (l *locks) conflict(w rangeLock) *rangeLock {
	for i := range l.ranges {
		r := &l.ranges[i]
		if r.owner != w.owner && (r.write || w.write) && r.start <= w.end && w.start <= r.end {
			return r
		}
	}
	return nil
}

// clear takes the owner's locks off [start, end], splitting at its edges.
func (l *locks) clear(owner any, start, end int64) {
	var rest []rangeLock
	l.ranges = slices.DeleteFunc(l.ranges, func(r rangeLock) bool {
		if r.owner != owner || r.start > end || start > r.end {
			return false
		}
		if r.start < start {
			rest = append(rest, rangeLock{owner, r.start, start - 1, r.write})
		}
		if r.end > end {
			rest = append(rest, rangeLock{owner, end + 1, r.end, r.write})
		}
		return true
	})
	l.ranges = append(l.ranges, rest...)
	l.wake()
}

// Lock does the lock commands of fcntl. F_GETLK stores what is in the way in
// fl, or F_UNLCK.
func (fs *FS) Lock(fd, cmd int, fl *Flock) Errno {
	f, e := fs.getIO(fd)
	if e != 0 {
		return e
	}
	defer fs.put(f)
	w, e := f.lockRange(cmd, fl)
	if e != 0 {
		return e
	}
	n := f.node
	n.mu.Lock()
	defer n.mu.Unlock()
	if cmd == F_GETLK || cmd == F_OFD_GETLK {
		n.report(f, w, fl)
		return 0
	}
	return n.lock(f, w, fl.Type, cmd == F_SETLKW || cmd == F_OFD_SETLKW)
}

// lock sets or frees a range. The caller holds n.mu.
func (n *inode) lock(f *file, w rangeLock, typ int16, wait bool) Errno {
	l := &n.locks
	if typ == F_UNLCK {
		n.unlock(w.owner, w.start, w.end)
		return 0
	}
	for e, ns := EAGAIN, int64(lockPauseMin); ; {
		own := l.conflict(w) != nil
		if !own {
			e = n.lockOutside(f, w)
		}
		switch {
		case e == 0:
			l.clear(w.owner, w.start, w.end)
			l.ranges = append(l.ranges, w)
			return 0
		case e != EAGAIN || !wait:
			return e
		case own:
			n.waitLock()
		default:
			n.pause(&ns)
		}
	}
}

// lockOutside takes a range from those who are not in this machine.
func (n *inode) lockOutside(f *file, w rangeLock) Errno {
	if h := n.tree(); h != nil {
		return h.lockRange(f, w)
	}
	return 0
}

// unlock frees what an owner has of a range. The caller holds n.mu.
func (n *inode) unlock(owner any, start, end int64) {
	has := func(r rangeLock) bool { return r.owner == owner && r.start <= end && start <= r.end }
	if !slices.ContainsFunc(n.locks.ranges, has) {
		return
	}
	n.locks.clear(owner, start, end)
	if h := n.tree(); h != nil {
		h.giveRange(start, end)
		h.settle()
	}
}

// report is F_GETLK. Of a lock outside nothing is known but that it is there.
func (n *inode) report(f *file, w rangeLock, fl *Flock) {
	r := n.locks.conflict(w)
	if h := n.tree(); r == nil && h != nil && fl.Type != F_UNLCK && h.foreignRange(f, w) {
		r = &rangeLock{start: w.start, end: w.end, write: true}
	}
	if r == nil {
		fl.Type = F_UNLCK
		return
	}
	*fl = Flock{Type: F_RDLCK, Start: r.start, PID: -1}
	if r.write {
		fl.Type = F_WRLCK
	}
	if r.end != lastByte {
		fl.Len = r.end - r.start + 1
	}
	if owner, ok := r.owner.(*FS); ok {
		fl.PID = int32(owner.host.PID)
	}
}

// lockRange checks a struct flock and turns it into a range.
func (f *file) lockRange(cmd int, fl *Flock) (rangeLock, Errno) {
	w := rangeLock{owner: f.fs, write: fl.Type == F_WRLCK}
	if cmd >= F_OFD_GETLK {
		w.owner = f
		if fl.PID != 0 {
			return w, EINVAL
		}
	}
	set := cmd != F_GETLK && cmd != F_OFD_GETLK
	switch {
	case fl.Type < F_RDLCK || fl.Type > F_UNLCK:
		return w, EINVAL
	case set && fl.Type == F_RDLCK && !f.readable(), set && fl.Type == F_WRLCK && !f.writable():
		return w, EBADF
	}
	var e Errno
	w.start, w.end, e = f.span(fl)
	return w, e
}

// span is the range of a struct flock; a negative length counts backwards and
// 0 means to the end.
func (f *file) span(fl *Flock) (start, end int64, e Errno) {
	switch fl.Whence {
	case SEEK_SET:
	case SEEK_CUR:
		f.mu.Lock()
		start = f.off
		f.mu.Unlock()
	case SEEK_END:
		start = f.size()
	default:
		return 0, 0, EINVAL
	}
	start += fl.Start
	end = lastByte
	switch {
	case fl.Len > 0:
		if start > lastByte-fl.Len+1 {
			return 0, 0, EOVERFLOW
		}
		end = start + fl.Len - 1
	case fl.Len < 0:
		start, end = start+fl.Len, start-1
	}
	if start < 0 {
		return 0, 0, EINVAL
	}
	return start, end, 0
}

// dropPosixLocks happens when any descriptor of the inode is closed: the
// well-known trap of POSIX record locks.
func (f *file) dropPosixLocks() { f.dropRanges(f.fs) }

func (f *file) dropRanges(owner any) {
	n := f.node
	n.mu.Lock()
	n.unlock(owner, 0, lastByte)
	n.mu.Unlock()
}

// dropLocks ends the locks that belong to the description.
func (f *file) dropLocks() {
	f.dropRanges(f)
	n := f.node
	n.mu.Lock()
	n.unflock(f)
	n.mu.Unlock()
}
