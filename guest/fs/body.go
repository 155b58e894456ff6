package fs

// body is where an inode's content and attributes are: in memory, or with the
// host. f is an open description of the inode, or nil: then the call follows a
// walk to the inode's name.
type body interface {
	// fixed is EROFS where nothing may be changed.
	fixed() Errno
	// refresh brings the inode's fields up to date.
	refresh(f *file) Errno
	// extent is st_size, and st_blocks in units of 512 bytes. The caller holds
	// inode.mu.
	extent() (size, blocks int64)
	// readlink is what a symbolic link says.
	readlink() (string, Errno)
	statfs(f *file) (Statfs, Errno)

	// open completes a new description; close ends one.
	open(f *file, flags uint32) Errno
	close(f *file)
	readAt(f *file, b []byte, off int64) (int, Errno)
	// writeAt writes at off, or at the end for O_APPEND, and returns where that
	// ended: atEnd if that would have to be asked for. There is something to write.
	writeAt(f *file, b []byte, off int64) (n int, end int64, e Errno)
	// sparse finds data, or a hole, from off on; the end of a file is a hole.
	sparse(f *file, off int64, data bool) (int64, Errno)
	resize(f *file, size int64) Errno
	allocate(f *file, mode int, off, end int64) Errno
	// sync is fsync, or with dataOnly fdatasync.
	sync(f *file, dataOnly bool) Errno

	setPerm(f *file, perm uint32) Errno
	// setOwner is chown: minus one leaves an id alone.
	setOwner(f *file, uid, gid uint32) Errno
	// setTimes sets access and modification time, as far as set says.
	setTimes(f *file, ns [2]int64, set [2]bool) Errno
}
