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
	if op == LOCK_UN {
		n.unflock(f)
		return 0
	}
	return n.flock(f, op == LOCK_EX, how&LOCK_NB == 0)
}

// flock takes the lock. The caller holds n.mu.
func (n *inode) flock(f *file, alone, wait bool) Errno {
	l := &n.locks
	// A conversion gives the old lock up first, as on Linux.
	l.unflock(f)
	for e, ns := EAGAIN, int64(lockPauseMin); ; {
		own := l.flocked(alone)
		if !own {
			e = n.flockOutside(f, alone)
		}
		switch {
		case e == 0 && alone:
			l.alone = f
			return 0
		case e == 0:
			l.sharing = append(l.sharing, f)
			return 0
		case e != EAGAIN || !wait:
			n.unflock(f)
			return e
		case own:
			n.waitLock()
		default:
			n.pause(&ns)
		}
	}
}

// flockOutside takes the lock from those who are not in this machine.
func (n *inode) flockOutside(f *file, alone bool) Errno {
	if h := n.tree(); h != nil {
		return h.lockWhole(f, alone)
	}
	return 0
}

// unflock gives a description's lock back, if it has one, for the outside too if it
// was the last. The caller holds n.mu.
func (n *inode) unflock(f *file) {
	n.locks.unflock(f)
	if h := n.tree(); h != nil {
		h.giveWhole()
	}
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
