package hv

import (
	"errors"
	"io"
	"sync"
	"sync/atomic"

	"github.com/pvrun/pvrun/hv/engine"
)

// once is what a snapshot that is opened for one machine has in place of a file: the
// memory that the machine will have, which is the snapshot's base until New takes it.
type once struct {
	taken atomic.Bool
	made  func() (engine.Machine, error) // with that memory; nil before there is any
}

var errOnce = &HostError{"snapshot", errors.New("it was opened for one machine")}

// OpenSnapshotOnce is OpenSnapshot for one machine, in less time: the pages are read to
// where the machine has them, as the kernel makes it. New works once, and that machine
// cannot be rewound.
func OpenSnapshotOnce(path string) (*Snapshot, error) {
	return openSnapshot(path, &Snapshot{once: new(once)})
}

// readPages makes the base of the pages that are read, as copyPages does of a file.
func (s *Snapshot) readPages(from *io.SectionReader, hashes []byte) (err error) {
	if s.base, err = newMemory(s.state.Memory); err != nil {
		return err
	}
	s.base.expectExtents(s.state.Extents)
	r := newPageReader(from, s.base, s.state.Extents, hashes)
	s.once.begin(s.base, r)
	return r.read()
}

// begin has the kernel make the machine, which is less work than to read the pages, and
// then helps with that.
func (o *once) begin(m *memory, r *pageReader) {
	type result struct {
		machine engine.Machine
		err     error
	}
	made := make(chan result, 1)
	go func() {
		_, _ = processor() // that opens the device too, and the facts are asked for once
		machine, err := snapshotEngine.New(engine.Memory{Data: m.data})
		made <- result{machine, err}
		r.work()
	}()
	o.made = sync.OnceValues(func() (engine.Machine, error) { r := <-made; return r.machine, r.err })
}

// take gives the machine that New makes its memory and its part of the kernel.
func (o *once) take(vm *VM) (err error) {
	if o.taken.Swap(true) {
		return errOnce
	}
	s := vm.from
	vm.mem = s.base
	vm.mem.frames = s.seen.frames
	vm.machine, err = o.made()
	return err
}

// close gives back what no machine has taken.
func (o *once) close(base *memory) error {
	if o.taken.Swap(true) || base == nil {
		return nil
	}
	var err error
	if o.made != nil {
		if machine, failed := o.made(); failed == nil {
			err = machine.Close()
		}
	}
	return errors.Join(err, base.close())
}
