package fs

import "sync"

// slot is one descriptor.
type slot struct {
	file    *file
	cloexec bool
}

// table maps descriptors to open file descriptions.
type table struct {
	fs  *FS
	mu  sync.RWMutex
	fds []slot
	low int // no descriptor below it is free
}

// get returns the description behind fd with a reference that put ends, so
// that a close meanwhile waits for the call.
func (fs *FS) get(fd int) (*file, Errno) {
	t := &fs.table
	t.mu.RLock()
	defer t.mu.RUnlock()
	if fd < 0 || fd >= len(t.fds) || t.fds[fd].file == nil {
		return nil, EBADF
	}
	f := t.fds[fd].file
	f.refs.Add(1)
	return f, 0
}

// getIO is get for calls that O_PATH descriptions refuse.
func (fs *FS) getIO(fd int) (*file, Errno) {
	f, e := fs.get(fd)
	if e == 0 && f.flags.Load()&O_PATH != 0 {
		fs.put(f)
		return nil, EBADF
	}
	return f, e
}

// put ends a reference; the last one closes the description.
func (fs *FS) put(f *file) {
	if f.refs.Add(-1) == 0 {
		f.finish()
	}
}

// add gives f the lowest free descriptor from min on and takes over the
// caller's reference.
func (t *table) add(f *file, min int, cloexec bool) (int, Errno) {
	t.mu.Lock()
	fd := t.free(min)
	if fd >= MaxFDs {
		t.mu.Unlock()
		t.fs.put(f)
		return 0, EMFILE
	}
	t.set(fd, slot{f, cloexec})
	f.named(fd)
	t.mu.Unlock()
	return fd, 0
}

// free finds the lowest free descriptor from min on. The caller holds mu.
func (t *table) free(min int) int {
	fd := max(min, t.low)
	for fd < len(t.fds) && t.fds[fd].file != nil {
		fd++
	}
	if min <= t.low {
		t.low = fd
	}
	return fd
}

// set fills a slot, extending the table. The caller holds mu.
func (t *table) set(fd int, s slot) {
	for len(t.fds) <= fd {
		t.fds = append(t.fds, slot{})
	}
	t.fds[fd] = s
	if s.file == nil {
		t.low = min(t.low, fd)
	}
}

// take empties a slot and returns what was in it, or nil. The description
// forgets the number before anybody else can be given it.
func (t *table) take(fd int) *file {
	t.mu.Lock()
	defer t.mu.Unlock()
	if fd < 0 || fd >= len(t.fds) || t.fds[fd].file == nil {
		return nil
	}
	f := t.fds[fd].file
	f.unnamed(fd)
	t.set(fd, slot{})
	return f
}

// Close closes a descriptor.
func (fs *FS) Close(fd int) Errno {
	f := fs.table.take(fd)
	if f == nil {
		return EBADF
	}
	f.dropPosixLocks()
	fs.put(f)
	return 0
}

// Dup makes the lowest free descriptor for fd's description.
func (fs *FS) Dup(fd int) (int, Errno) {
	return fs.dupFrom(fd, 0, false)
}

func (fs *FS) dupFrom(fd, min int, cloexec bool) (int, Errno) {
	if min < 0 || min >= MaxFDs {
		return 0, EINVAL
	}
	f, e := fs.get(fd)
	if e != 0 {
		return 0, e
	}
	return fs.table.add(f, min, cloexec)
}

// Dup2 makes newfd a descriptor for oldfd's description.
func (fs *FS) Dup2(oldfd, newfd int) (int, Errno) {
	if oldfd == newfd {
		f, e := fs.get(oldfd)
		if e != 0 {
			return 0, e
		}
		fs.put(f)
		return newfd, 0
	}
	return fs.Dup3(oldfd, newfd, 0)
}

// Dup3 is Dup2 with O_CLOEXEC as an option; equal descriptors are EINVAL.
func (fs *FS) Dup3(oldfd, newfd, flags int) (int, Errno) {
	if oldfd == newfd || flags&^O_CLOEXEC != 0 {
		return 0, EINVAL
	}
	if newfd < 0 || newfd >= MaxFDs {
		return 0, EBADF
	}
	f, e := fs.get(oldfd)
	if e != 0 {
		return 0, e
	}
	old := fs.replace(newfd, slot{f, flags&O_CLOEXEC != 0})
	if old != nil {
		old.dropPosixLocks()
		fs.put(old)
	}
	return newfd, 0
}

// replace fills a slot whatever was in it and returns that, or nil.
func (fs *FS) replace(fd int, s slot) *file {
	t := &fs.table
	t.mu.Lock()
	defer t.mu.Unlock()
	var old *file
	if fd < len(t.fds) {
		old = t.fds[fd].file
	}
	if old != nil {
		old.unnamed(fd)
	}
	t.set(fd, s)
	s.file.named(fd)
	return old
}

// Flag of close_range. Linux's include/uapi/linux/close_range.h.
const closeRangeCloexec = 4

// CloseRange closes the descriptors first to last, or marks them.
func (fs *FS) CloseRange(first, last uint, flags int) Errno {
	if first > last || flags&^(closeRangeCloexec|2) != 0 {
		return EINVAL
	}
	for _, fd := range fs.table.open() {
		if uint(fd) < first || uint(fd) > last {
			continue
		}
		if flags&closeRangeCloexec != 0 {
			fs.setCloexec(fd, true)
		} else {
			fs.Close(fd)
		}
	}
	return 0
}

// open lists the descriptors in use.
func (t *table) open() []int {
	t.mu.RLock()
	defer t.mu.RUnlock()
	var fds []int
	for fd := range t.fds {
		if t.fds[fd].file != nil {
			fds = append(fds, fd)
		}
	}
	return fds
}

func (fs *FS) setCloexec(fd int, on bool) Errno {
	t := &fs.table
	t.mu.Lock()
	defer t.mu.Unlock()
	if fd < 0 || fd >= len(t.fds) || t.fds[fd].file == nil {
		return EBADF
	}
	t.fds[fd].cloexec = on
	return 0
}

func (fs *FS) cloexec(fd int) bool {
	t := &fs.table
	t.mu.RLock()
	defer t.mu.RUnlock()
	return fd < len(t.fds) && t.fds[fd].cloexec
}
