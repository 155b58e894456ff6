package fs

import "slices"

// Flock locks a whole file for a description.
func (fs *FS) Flock(fd, how int) Errno {
	f, e := fs.getIO(fd)
	if e != 0 {
		return e
	}
	defer fs.put(f)
	op := how &^ LOCK_NB
	if op != LOCK_SH && op != LOCK_EX && op != LOCK_UN {
		return EINVAL
	}
	n := f.node
	n.mu.Lock()
	defer n.mu.Unlock()
	// A conversion gives the old lock up first, as on Linux.
	n.locks.unflock(f)
	for op != LOCK_UN && n.locks.flocked(op == LOCK_EX) {
		if how&LOCK_NB != 0 {
			return EAGAIN
		}
		n.waitLock()
	}
	switch op {
	case LOCK_SH:
		n.locks.sharing = append(n.locks.sharing, f)
	case LOCK_EX:
		n.locks.alone = f
	}
	return 0
}

// flocked is whether another description's flock is in the way.
func (l *locks) flocked(alone bool) bool {
	return l.alone != nil || alone && len(l.sharing) > 0
}

func (l *locks) unflock(f *file) {
	if l.alone == f {
		l.alone = nil
		l.wake()
	}
	if i := slices.Index(l.sharing, f); i >= 0 {
		l.sharing = slices.Delete(l.sharing, i, i+1)
		l.wake()
	}
}
