package fs

// Fcntl does every command whose argument is a number; [FS.Lock] does those
// with a struct flock.
func (fs *FS) Fcntl(fd, cmd, arg int) (int, Errno) {
	switch cmd {
	case F_DUPFD:
		return fs.dupFrom(fd, arg, false)
	case F_DUPFD_CLOEXEC:
		return fs.dupFrom(fd, arg, true)
	case F_SETFD:
		return 0, fs.setCloexec(fd, arg&FD_CLOEXEC != 0)
	}
	f, e := fs.get(fd)
	if e != 0 {
		return 0, e
	}
	defer fs.put(f)
	switch cmd {
	case F_GETFD:
		if fs.cloexec(fd) {
			return FD_CLOEXEC, 0
		}
		return 0, 0
	case F_GETFL:
		return int(f.flags.Load()) | O_LARGEFILE, 0
	}
	if f.has(O_PATH) {
		return 0, EBADF
	}
	return f.control(cmd, arg)
}

// control does the commands that O_PATH descriptions refuse.
func (f *file) control(cmd, arg int) (int, Errno) {
	switch cmd {
	case F_SETFL:
		f.setFlags(uint32(arg))
		return 0, 0
	case F_GETPIPE_SZ, F_SETPIPE_SZ:
		p, ok := f.stream.(*pipe)
		if !ok {
			return 0, EBADF
		}
		if cmd == F_SETPIPE_SZ {
			return p.resize(arg)
		}
		return p.capacity(), 0
	case F_GETOWN, F_SETOWN:
		return 0, 0
	case F_GET_SEALS:
		return 0, EINVAL
	}
	return 0, EINVAL
}

// setFlags is F_SETFL.
func (f *file) setFlags(to uint32) {
	for {
		old := f.flags.Load()
		if f.flags.CompareAndSwap(old, old&^settable|to&settable) {
			break
		}
	}
	f.learn()
}

// SetNonblock is the FIONBIO ioctl.
func (fs *FS) SetNonblock(fd int, on bool) Errno {
	f, e := fs.getIO(fd)
	if e != 0 {
		return e
	}
	defer fs.put(f)
	flags := f.flags.Load() &^ O_NONBLOCK
	if on {
		flags |= O_NONBLOCK
	}
	f.setFlags(flags)
	return 0
}
