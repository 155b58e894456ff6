package vol

import (
	"errors"
	"maps"
	"sync"
)

// event is a write, a flush or a discard that a device saw.
type event struct {
	off     int64
	data    []byte // nil for a flush, and for a discard
	discard int64
}

func (e event) flush() bool { return e.data == nil && e.discard == 0 }

// memory is a device in memory.
type memory struct {
	mu     sync.Mutex
	data   []byte
	calls  int
	failAt int // the call that fails, and all writes and flushes after it; 0 for none
	failed bool
	reads  bool // reads are calls that can fail too
}

var errDevice = errors.New("device: no")

func newMemory(size int64) *memory { return &memory{data: make([]byte, size)} }

func (m *memory) call(read bool) error {
	if read && !m.reads {
		return nil
	}
	m.calls++
	if m.failAt != 0 && m.calls == m.failAt {
		m.failed = true
	}
	if m.failed && (!read || m.calls == m.failAt) {
		return errDevice
	}
	return nil
}

func (m *memory) Size() int64 { return int64(len(m.data)) }

func (m *memory) ReadAt(b []byte, off int64) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.call(true); err != nil {
		return err
	}
	if copy(b, m.data[off:]) < len(b) {
		return errDevice
	}
	return nil
}

func (m *memory) WriteAt(b []byte, off int64) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if off%512 != 0 || len(b)%512 != 0 || len(b) == 0 || off+int64(len(b)) > m.Size() {
		panic("not whole sectors")
	}
	if err := m.call(false); err != nil {
		return err
	}
	copy(m.data[off:], b)
	return nil
}

func (m *memory) Flush() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.call(false)
}

func (m *memory) Discard(off, n int64) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	clear(m.data[off:][:n])
	return nil
}

// overlay is a device with some sectors that are not the base's. It takes no
// part in durability.
type overlay struct {
	base    []byte
	sectors map[int64][]byte // by number
	writes  int
}

func (o *overlay) Size() int64 { return int64(len(o.base)) }

func (o *overlay) ReadAt(b []byte, off int64) error {
	if off < 0 || off+int64(len(b)) > o.Size() {
		return errDevice
	}
	copy(b, o.base[off:])
	for i := int64(0); i < int64(len(b)); i += 512 {
		if s := o.sectors[(off+i)/512]; s != nil {
			copy(b[i:], s)
		}
	}
	return nil
}

func (o *overlay) WriteAt(b []byte, off int64) error {
	o.writes++
	for i := int64(0); i < int64(len(b)); i += 512 {
		o.sectors[(off+i)/512] = append([]byte(nil), b[i:i+512]...)
	}
	return nil
}

func (o *overlay) Flush() error { return nil }

func (o *overlay) Discard(off, n int64) error { return o.WriteAt(make([]byte, n), off) }

// with is the overlay with some sectors of some events on it.
func (o *overlay) with(events []event, want func(event, sector int) bool) *overlay {
	o = &overlay{base: o.base, sectors: maps.Clone(o.sectors)}
	for k, e := range events {
		for i := 0; i*512 < max(len(e.data), int(e.discard)); i++ {
			switch {
			case !want(k, i):
			case e.data != nil:
				o.sectors[e.off/512+int64(i)] = e.data[i*512:][:512]
			default:
				o.sectors[e.off/512+int64(i)] = make([]byte, 512)
			}
		}
	}
	return o
}

// recorder is an overlay that logs what it is given.
type recorder struct {
	*overlay
	log     []event
	flushes int
	noFlush int // bit n: the log leaves out the nth flush of each commit, as if it did nothing
}

func (r *recorder) WriteAt(b []byte, off int64) error {
	r.log = append(r.log, event{off: off, data: append([]byte(nil), b...)})
	return r.overlay.WriteAt(b, off)
}

func (r *recorder) Flush() error {
	if r.noFlush>>(r.flushes%2)&1 == 0 {
		r.log = append(r.log, event{})
	}
	r.flushes++
	return nil
}

func (r *recorder) Discard(off, n int64) error {
	r.log = append(r.log, event{off: off, discard: n})
	return r.overlay.Discard(off, n)
}
