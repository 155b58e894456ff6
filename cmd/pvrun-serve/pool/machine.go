package pool

import (
	"context"
	"errors"
	"io"
	"net/http"
	"syscall"

	"github.com/pvrun/pvrun/hv"
)

// Contract is how a program gets its work.
type Contract int

// Contracts.
const (
	Message Contract = iota // it asks for messages, as function.Handle does
	HTTP                    // it serves HTTP
	Lambda                  // it asks the Lambda Runtime API for events
)

var contracts = [...]string{"message", "http", "lambda"}

func (c Contract) String() string { return contracts[c] }

// Machine is a clone. Signal and RoundTrip are for any goroutine; of all others one is
// under way at a time.
type Machine interface {
	// Invoke has the program answer a message, on the calling goroutine. The machine is
	// of no more use after an error; with ErrSpent there is a response. Not of contract HTTP.
	Invoke(ctx context.Context, id string, message []byte) (hv.Response, error)

	// RunUntil runs the machine on the calling goroutine until done is closed and its
	// program has nothing to do. The machine is of no more use after an error.
	RunUntil(ctx context.Context, done <-chan struct{}) error

	// RoundTrip has the program answer a request while the machine runs. Of contract HTTP.
	RoundTrip(*http.Request) (*http.Response, error)

	Signal(syscall.Signal)
	Rewind() error
	Stats() hv.Stats
	OwnMemory() int64 // bytes of the host's memory that no other machine has
	Close() error
}

// Mortal is a Machine that can be lost while nobody uses it: it says so.
type Mortal interface{ Lost() bool }

// ErrLost is wrapped by the errors of a Machine that is lost with the process that it
// was in.
var ErrLost = errors.New("the machine is lost")

// Source makes machines that are all the same: a snapshot.
type Source interface {
	New(stdout, stderr io.Writer) (Machine, error)
	Contract() Contract
	Stored() int64 // bytes that all machines share
	Close() error  // after all machines
}

// Output takes what the program of one machine writes.
type Output interface {
	Stdout() io.Writer
	Stderr() io.Writer
	Begin(id string) // what comes belongs to that invocation; "" is to several
	End()            // what has no end of line yet is a line
}

// Silence is an Output that nobody reads.
type Silence struct{}

func (Silence) Stdout() io.Writer { return nil }
func (Silence) Stderr() io.Writer { return nil }
func (Silence) Begin(string)      {}
func (Silence) End()              {}
