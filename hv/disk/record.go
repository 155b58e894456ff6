package disk

import (
	"bytes"
	"sync"
)

// Op is what an Event tells of.
type Op int

const (
	Read Op = iota // of Inject; not recorded
	Write
	Flush
	Discard
	Zeroes
)

func (o Op) String() string { return [...]string{"read", "write", "flush", "discard", "zeroes"}[o] }

// Event is the beginning or the end of one operation on a disk.
type Event struct {
	Op   Op
	ID   int // of the operation: place of its beginning in the log
	Done bool
	Err  error // of an end

	Off, Len int64  // of a beginning
	Data     []byte // of a write's beginning: a copy
}

// Recorder is a Backend that writes down what happens to another, in the order in
// which it happens: an operation's end is logged before its caller knows of it.
type Recorder struct {
	Backend
	mu  sync.Mutex
	log []Event
}

// Record makes a Recorder of b.
func Record(b Backend) *Recorder { return &Recorder{Backend: b} }

// Log is a copy of what has happened so far.
func (r *Recorder) Log() []Event {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]Event(nil), r.log...)
}

func (r *Recorder) begin(e Event) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	e.ID = len(r.log)
	r.log = append(r.log, e)
	return e.ID
}

func (r *Recorder) end(op Op, id int, err error) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.log = append(r.log, Event{Op: op, ID: id, Done: true, Err: err})
	return err
}

// Kernel says what the recorded disk says: recording reads pieces only.
func (r *Recorder) Kernel() bool { return InKernel(r.Backend) }

// WriteAt writes what it has copied: a guest that changes a buffer meanwhile
// changes nothing.
func (r *Recorder) WriteAt(pieces [][]byte, off int64) error {
	data := bytes.Join(pieces, nil)
	id := r.begin(Event{Op: Write, Off: off, Len: int64(len(data)), Data: data})
	return r.end(Write, id, r.Backend.WriteAt([][]byte{data}, off))
}

func (r *Recorder) Flush() error {
	id := r.begin(Event{Op: Flush})
	return r.end(Flush, id, r.Backend.Flush())
}

func (r *Recorder) Discard(off, n int64) error {
	id := r.begin(Event{Op: Discard, Off: off, Len: n})
	return r.end(Discard, id, r.Backend.Discard(off, n))
}

func (r *Recorder) WriteZeroes(off, n int64) error {
	id := r.begin(Event{Op: Zeroes, Off: off, Len: n})
	return r.end(Zeroes, id, r.Backend.WriteZeroes(off, n))
}

// Cut says what a power failure after the events of log leaves on the disk: the
// changes that are sure to be there, and those any part of which may be, in any
// order; both are beginnings, in the log's order. A flush that has succeeded made
// sure of what was answered before it began.
func Cut(log []Event) (sure, maybe []Event) {
	flushed := make([]bool, len(log)) // changes, by ID
	done := map[int]bool{}
	covers := map[int][]int{} // of flushes that have begun: what they make sure of
	for _, e := range log {
		switch {
		case e.Op == Flush && !e.Done:
			for id := range done {
				covers[e.ID] = append(covers[e.ID], id)
			}
		case e.Op == Flush && e.Err == nil:
			for _, id := range covers[e.ID] {
				flushed[id] = true
			}
		case e.Done && e.Err == nil:
			done[e.ID] = true
		}
	}
	for _, e := range log {
		switch {
		case e.Op == Flush || e.Done:
		case flushed[e.ID]:
			sure = append(sure, e)
		default:
			maybe = append(maybe, e)
		}
	}
	return sure, maybe
}
