// Package web has the program of a machine answer HTTP requests, over connections to
// its port.
package web

import (
	"context"
	"errors"
	"net"
	"net/http"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/pvrun/pvrun/hv"
)

// VM is what a machine has to have: an *hv.VM.
type VM interface {
	Dial(port int) (net.Conn, error)
	RunUntil(ctx context.Context, done <-chan struct{}) error
	Signal(syscall.Signal)
	Rewind() error
	Stats() hv.Stats
	OwnMemory() int64
	Close() error
}

// Machine is one whose program serves HTTP.
type Machine struct {
	VM
	port int
	life atomic.Pointer[http.Transport] // connections, that end when the machine is rewound
}

// What a program may send, and how long it may be asked in vain whether it wants a body.
const (
	maxHeader    = 256 << 10 // bytes
	continueTime = time.Second
)

// New is vm, whose program listens on a TCP port.
func New(vm VM, port int) *Machine {
	m := &Machine{VM: vm, port: port}
	m.begin()
	return m
}

func (m *Machine) begin() {
	m.life.Store(&http.Transport{
		DialContext:            func(context.Context, string, string) (net.Conn, error) { return m.Dial(m.port) },
		DisableCompression:     true, // what the program sends is what its client wants
		MaxIdleConnsPerHost:    16,
		MaxResponseHeaderBytes: maxHeader,
		ExpectContinueTimeout:  continueTime,
		WriteBufferSize:        bufferSize,
		ReadBufferSize:         bufferSize,
	})
}

// bufferSize is as much as a stream brings well at once, in bytes.
const bufferSize = 16 << 10

// RoundTrip has the program answer, while the machine runs.
func (m *Machine) RoundTrip(r *http.Request) (*http.Response, error) {
	return m.life.Load().RoundTrip(r)
}

// Invoke is not for programs that serve HTTP.
func (m *Machine) Invoke(context.Context, string, []byte) (hv.Response, error) {
	return hv.Response{}, errors.New("the program serves HTTP, and takes no messages")
}

// Rewind makes the machine what it was. No connection of before is used after it.
func (m *Machine) Rewind() error {
	old := m.life.Load()
	m.begin()
	old.CloseIdleConnections()
	return m.VM.Rewind()
}

// Close takes the machine away.
func (m *Machine) Close() error {
	m.life.Load().CloseIdleConnections()
	return m.VM.Close()
}
