package pool

import (
	"context"
	"io"

	"github.com/pvrun/pvrun/hv"
)

// Machine is a clone as hv has it. One call is under way at a time.
type Machine interface {
	Invoke(ctx context.Context, message []byte) (hv.Response, error)
	Rewind() error
	Stats() hv.Stats
	OwnMemory() int64 // bytes of the host's memory that no other machine has
	Close() error
}

// Source makes machines that are all the same: a snapshot.
type Source interface {
	New(stdout, stderr io.Writer) (Machine, error)
	Stored() int64 // bytes that all machines share
	Close() error  // after all machines
}

// Output takes what the program of one machine writes.
type Output interface {
	Stdout() io.Writer
	Stderr() io.Writer
	Begin(id string) // what comes belongs to that invocation
	End()            // what has no end of line yet is a line
}

// Silence is an Output that nobody reads.
type Silence struct{}

func (Silence) Stdout() io.Writer { return nil }
func (Silence) Stderr() io.Writer { return nil }
func (Silence) Begin(string)      {}
func (Silence) End()              {}
