package fs

// inquiry is /dev/function for whoever only asks by ioctl.
type inquiry struct{}

func (inquiry) read(*file, []byte) (int, Errno)  { return 0, EINVAL }
func (inquiry) write(*file, []byte) (int, Errno) { return 0, EINVAL }
func (inquiry) ready(*file) uint32               { return 0 }
func (inquiry) close(*file)                      {}

// getFunction is getIO for the calls that only /dev/function answers: ENOTTY for
// other files. x is nil for an inquiry.
func (fs *FS) getFunction(fd int) (f *file, x *functionFile, e Errno) {
	if f, e = fs.getIO(fd); e != 0 {
		return nil, nil, e
	}
	switch s := f.stream.(type) {
	case *functionFile:
		return f, s, 0
	case inquiry:
		return f, nil, 0
	}
	fs.put(f)
	return nil, nil, ENOTTY
}

// FunctionFail makes what is written the text of an error.
func (fs *FS) FunctionFail(fd int) Errno {
	f, x, e := fs.getFunction(fd)
	if e != 0 {
		return e
	}
	defer fs.put(f)
	if x == nil {
		return EINVAL
	}
	return x.fail()
}

// FunctionReady passes on that the program is ready.
func (fs *FS) FunctionReady(fd int) Errno {
	f, _, e := fs.getFunction(fd)
	if e != 0 {
		return e
	}
	defer fs.put(f)
	if fs.host.Ready != nil {
		fs.host.Ready()
	}
	return 0
}

// FunctionLife tells which life of its snapshot's the machine is in.
func (fs *FS) FunctionLife(fd int) (generation uint64, instance [16]byte, e Errno) {
	f, _, e := fs.getFunction(fd)
	if e != 0 {
		return 0, instance, e
	}
	fs.put(f)
	generation, instance = fs.life()
	return generation, instance, 0
}

// FunctionNextLife waits until the generation is another one than old.
func (fs *FS) FunctionNextLife(fd int, old uint64) (uint64, Errno) {
	f, _, e := fs.getFunction(fd)
	if e != 0 {
		return 0, e
	}
	defer fs.put(f)
	for {
		turn := fs.lives.now()
		if now, _ := fs.life(); now != old {
			return now, 0
		}
		fs.lives.wait(turn)
	}
}

// LifeChanged tells that Life is another one.
func (fs *FS) LifeChanged() { fs.lives.wake() }

func (fs *FS) life() (generation uint64, instance [16]byte) {
	if fs.host.Life == nil {
		return 0, fs.host.BootID
	}
	return fs.host.Life()
}
