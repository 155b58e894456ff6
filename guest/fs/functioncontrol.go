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

// FunctionGeneration is the number of the machine's life.
func (fs *FS) FunctionGeneration(fd int) (uint64, Errno) {
	f, _, e := fs.getFunction(fd)
	if e != 0 {
		return 0, e
	}
	fs.put(f)
	return fs.host.Generation(), 0
}

// FunctionInstance is the machine's identity in this life.
func (fs *FS) FunctionInstance(fd int) (id [16]byte, e Errno) {
	f, _, e := fs.getFunction(fd)
	if e != 0 {
		return id, e
	}
	fs.put(f)
	return fs.host.InstanceID(), 0
}

// FunctionAwait waits until the generation is another one than old.
func (fs *FS) FunctionAwait(fd int, old uint64) (uint64, Errno) {
	f, _, e := fs.getFunction(fd)
	if e != 0 {
		return 0, e
	}
	defer fs.put(f)
	return fs.host.AwaitGeneration(old), 0
}
