package fs

// Types of directory entries. Linux's include/linux/fs_types.h: the file type
// bits of the mode.
func direntType(typ uint32) byte { return byte(typ >> 12) }

// record is one entry on its way to the caller.
type record struct {
	name   string
	ino    uint64
	typ    byte
	cookie int64
}

// Getdents fills b with directory entries from the descriptor's position on:
// struct linux_dirent64, or with old the older struct linux_dirent. It
// returns 0 at the end and EINVAL when not even one fits.
func (fs *FS) Getdents(fd int, b []byte, old bool) (int, Errno) {
	f, e := fs.getIO(fd)
	if e != 0 {
		return 0, e
	}
	defer fs.put(f)
	n := f.node
	if !n.isDir() {
		return 0, ENOTDIR
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	fs.rlockTree()
	defer fs.tree.RUnlock()
	if n.dir.dead {
		return 0, ENOENT
	}
	return f.fill(b, old)
}

// fill stores as many records as fit. The caller holds f.mu and the tree.
func (f *file) fill(b []byte, old bool) (int, Errno) {
	if s := f.node.dir.source; s != nil && (f.off < cookieDot || f.listing == nil) {
		list, e := s.list(f)
		if e != 0 {
			return 0, e
		}
		f.listing = list
	}
	total := 0
	for {
		r, ok := f.entry(f.off)
		if !ok {
			return total, 0
		}
		n := r.store(b[total:], old)
		if n == 0 {
			if total == 0 {
				return 0, EINVAL
			}
			return total, 0
		}
		total += n
		f.off = r.cookie
	}
}

// entry finds the entry after a cookie.
func (f *file) entry(cookie int64) (record, bool) {
	n := f.node
	switch {
	case cookie < cookieDot:
		return record{".", n.ino, direntType(S_IFDIR), cookieDot}, true
	case cookie < cookieDotDot:
		return record{"..", n.dir.parentIno(n), direntType(S_IFDIR), cookieDotDot}, true
	}
	if n.dir.source != nil {
		i := cookie - cookieDotDot
		if i >= int64(len(f.listing)) {
			return record{}, false
		}
		r := f.listing[i]
		r.cookie = cookie + 1
		return r, true
	}
	e := n.dir.after(cookie)
	if e == nil {
		return record{}, false
	}
	return record{e.name, e.node.ino, direntType(e.node.typ), e.cookie}, true
}

func (d *dir) parentIno(self *inode) uint64 {
	if d.parent == nil {
		return self.ino
	}
	return d.parent.ino
}

// store writes the record at the start of b and returns its length, 0 when it
// does not fit.
func (r *record) store(b []byte, old bool) int {
	const head = 18 // ino, off, reclen; linux_dirent64 has the type next
	name := head
	if !old {
		name++
	}
	// Both have the name's NUL; the older one has the type as the last byte.
	n := (head + 1 + len(r.name) + 1 + 7) &^ 7
	if n > len(b) {
		return 0
	}
	clear(b[:n])
	putUint(b[:8], r.ino)
	putUint(b[8:16], uint64(r.cookie))
	putUint(b[16:18], uint64(n))
	copy(b[name:], r.name)
	if old {
		b[n-1] = r.typ
	} else {
		b[head] = r.typ
	}
	return n
}

// putUint fills b with v, little endian.
func putUint(b []byte, v uint64) {
	for i := range b {
		b[i] = byte(v >> (8 * i))
	}
}

// getUint reads all of b, little endian.
func getUint(b []byte) (v uint64) {
	for i := range b {
		v |= uint64(b[i]) << (8 * i)
	}
	return v
}
