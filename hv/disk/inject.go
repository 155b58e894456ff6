package disk

// Inject is a Backend that asks before each operation on another what shall become
// of it: an error takes its place. The question may be slow to answer, which no
// read with nowait waits for.
func Inject(b Backend, ask func(op Op, off, n int64) error) Backend {
	return &injector{b, ask}
}

type injector struct {
	Backend
	ask func(op Op, off, n int64) error
}

func (i *injector) Kernel() bool { return InKernel(i.Backend) }

func (i *injector) ReadAt(pieces [][]byte, off int64, nowait bool) error {
	if nowait {
		return ErrWouldBlock
	}
	if err := i.ask(Read, off, length(pieces)); err != nil {
		return err
	}
	return i.Backend.ReadAt(pieces, off, false)
}

func (i *injector) WriteAt(pieces [][]byte, off int64) error {
	if err := i.ask(Write, off, length(pieces)); err != nil {
		return err
	}
	return i.Backend.WriteAt(pieces, off)
}

func (i *injector) Flush() error {
	if err := i.ask(Flush, 0, 0); err != nil {
		return err
	}
	return i.Backend.Flush()
}

func (i *injector) Discard(off, n int64) error {
	if err := i.ask(Discard, off, n); err != nil {
		return err
	}
	return i.Backend.Discard(off, n)
}

func (i *injector) WriteZeroes(off, n int64) error {
	if err := i.ask(Zeroes, off, n); err != nil {
		return err
	}
	return i.Backend.WriteZeroes(off, n)
}
