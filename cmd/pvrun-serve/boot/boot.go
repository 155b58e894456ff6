// Package boot makes sources of clones: of snapshots, of images and of packages.
package boot

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/pvrun/pvrun/build"
	"github.com/pvrun/pvrun/cmd/pvrun-serve/lambda"
	"github.com/pvrun/pvrun/cmd/pvrun-serve/pool"
	"github.com/pvrun/pvrun/cmd/pvrun-serve/web"
	"github.com/pvrun/pvrun/cmd/pvrun-serve/worker"
	"github.com/pvrun/pvrun/hv"
	"github.com/pvrun/pvrun/hypercall"
)

// Program says what to boot.
type Program struct {
	Name   string   // the function's
	From   string   // an image, a snapshot or a package
	Args   []string // after the program's name; not with a snapshot, nor are those below
	Env    []string
	Memory int64         // bytes; hv.DefaultMemory when 0
	Within time.Duration // until it is ready; 0 is as long as it takes

	// Contracts are those that it may follow; the first that it comes to is its own. Port
	// is where it serves HTTP, unless Env has another; DefaultPort when 0.
	Contracts []pool.Contract
	Port      int

	// Network is the name of the network that its clones are on; none when empty.
	Network string

	// Many is whether a clone has several requests at once.
	Many bool

	Workers bool // clones live in processes of their own, if it gets messages
}

// ErrTimeout is the cause when the program is not ready in time.
var ErrTimeout = errors.New("time-out")

// Source is a snapshot as package pool has it.
type Source struct {
	*hv.Snapshot
	workers  *worker.Source // where clones live; nil: here
	contract pool.Contract
	port     int    // of contract HTTP
	name     string // the function's
	network  string // that clones are on; none when empty
}

// New makes a clone.
func (s Source) New(stdout, stderr io.Writer) (pool.Machine, error) {
	if s.workers != nil {
		m, err := s.workers.New(stdout, stderr)
		if err != nil {
			return nil, err
		}
		return messages{m}, nil
	}
	c := hv.Clone{Stdout: stdout, Stderr: stderr}
	if s.network == "" {
		return s.clone(c)
	}
	cards, link, err := join(s.network)
	if err != nil {
		return nil, err
	}
	c.NICs = cards
	m, err := s.clone(c)
	if err != nil {
		link.Close()
		return nil, err
	}
	return member{m, link}, nil
}

func (s Source) clone(c hv.Clone) (pool.Machine, error) {
	vm, err := s.Snapshot.New(c)
	if err != nil {
		return nil, err
	}
	switch s.contract {
	case pool.HTTP:
		return web.New(vm, s.port), nil
	case pool.Lambda:
		return lambda.New(vm, functionARN(s.name)), nil
	}
	return messages{vm}, nil
}

// messages is a machine whose program asks for messages.
type messages struct{ vm }

// vm is an hv.VM, or one in a worker.
type vm interface {
	Invoke(ctx context.Context, message []byte) (hv.Response, error)
	RunUntil(ctx context.Context, done <-chan struct{}) error
	Signal(syscall.Signal)
	Rewind() error
	Stats() hv.Stats
	OwnMemory() int64
	Close() error
}

func (m messages) Invoke(ctx context.Context, _ string, message []byte) (hv.Response, error) {
	return m.vm.Invoke(ctx, message)
}

// Lost says whether the machine is lost with its worker.
func (m messages) Lost() bool {
	w, ok := m.vm.(pool.Mortal)
	return ok && w.Lost()
}

func (m messages) RoundTrip(*http.Request) (*http.Response, error) {
	return nil, errors.New("the program takes messages, and serves no HTTP")
}

// Contract is how the program gets its work.
func (s Source) Contract() pool.Contract { return s.contract }

// Close ends the snapshot, after all clones.
func (s Source) Close() error {
	if s.workers != nil {
		return s.workers.Close()
	}
	return s.Snapshot.Close()
}

// Stored is how many bytes the clones share.
func (s Source) Stored() int64 { return s.Info().Stored }

// Source boots the program until it waits for its first work, or opens its snapshot.
func (p Program) Source(ctx context.Context, out pool.Output) (pool.Source, error) {
	if hv.IsSnapshot(p.From) {
		return p.open()
	}
	image, err := p.image(ctx)
	if err != nil {
		return nil, err
	}
	if p.Within > 0 {
		limited, stop := context.WithTimeoutCause(ctx, p.Within, ErrTimeout)
		defer stop()
		ctx = limited
	}
	cfg := p.machine(image, out)
	leave, err := p.connect(&cfg)
	if err != nil {
		return nil, err
	}
	defer leave()
	out.Begin("boot")
	s, err := hv.Boot(ctx, cfg)
	out.End()
	if err != nil {
		return nil, p.notReady(err)
	}
	return p.source(s)
}

// machine is what is booted.
func (p Program) machine(image string, out pool.Output) hv.Config {
	c := hv.Config{
		Image: image, Memory: p.Memory, Args: append([]string{p.argv0()}, p.Args...),
		Stdout: out.Stdout(), Stderr: out.Stderr(),
		Messages: true, Ready: p.ready(), ServicePort: servicePort,
	}
	c.Env, c.ReadyPort = p.environment(image)
	return c
}

// moments are those at which a program of each contract is ready, and what one that is
// not has not done.
var moments = map[pool.Contract]struct {
	ready   hypercall.Ready
	lacking string
}{
	pool.Message: {hypercall.ReadyMessage, "asked for a message, as function.Handle does"},
	pool.HTTP:    {hypercall.ReadyListen, "served HTTP at $PORT"},
	pool.Lambda:  {hypercall.ReadyConnect, "asked the Lambda Runtime API for an event"},
}

func (p Program) contracts() []pool.Contract {
	if len(p.Contracts) > 0 {
		return p.Contracts
	}
	return []pool.Contract{pool.Message, pool.HTTP, pool.Lambda}
}

func (p Program) ready() (r hypercall.Ready) {
	for _, c := range p.contracts() {
		r |= moments[c].ready
	}
	return r
}

func (p Program) open() (pool.Source, error) {
	s, err := hv.OpenSnapshot(p.From)
	switch {
	case err != nil:
		return nil, err
	case !s.Info().Messages:
		return nil, errors.Join(fmt.Errorf("%s: its program gets no messages", p.From), s.Close())
	}
	return p.source(s)
}

// source is a snapshot whose program follows a contract that it may.
func (p Program) source(s *hv.Snapshot) (pool.Source, error) {
	info := s.Info()
	contract, port := p.contract(info.Moment), info.ReadyPort
	if port == 0 {
		port = p.port()
	}
	switch {
	case !slices.Contains(p.contracts(), contract):
		return nil, errors.Join(fmt.Errorf("%s: its program follows contract %v", p.From, contract), s.Close())
	case p.Many && contract != pool.HTTP:
		return nil, errors.Join(&NotReadyError{fmt.Sprintf("concurrency: a program of contract %v has one invocation at a time", contract)}, s.Close())
	}
	list := Source{Snapshot: s, contract: contract, port: port, name: p.Name}
	if info.NICs > 0 {
		list.network = p.Network
	}
	if p.Workers && contract == pool.Message && list.network == "" { // no worker can join one yet
		var err error
		if list.workers, err = worker.NewSource(s, worker.PerWorker); err != nil {
			return nil, err
		}
	}
	return list, nil
}

// contract is what the program follows that was ready at a moment: function.Ready tells
// nothing of it.
func (p Program) contract(moment hypercall.Ready) pool.Contract {
	if moment == hypercall.ReadyCall && len(p.Contracts) == 1 {
		return p.Contracts[0]
	}
	for c, m := range moments {
		if m.ready == moment {
			return c
		}
	}
	return pool.Message
}

// image is the file to boot: what From is, or what it is built to in pvrun's cache.
func (p Program) image(ctx context.Context) (string, error) {
	info, err := os.Stat(p.From)
	switch {
	case strings.HasSuffix(p.From, ".go"):
	case err == nil && !info.IsDir():
		return p.From, nil
	case err != nil && (!errors.Is(err, fs.ErrNotExist) || isFileName(p.From)):
		return "", &hv.ImageError{Path: p.From, Err: errors.Unwrap(err)}
	}
	var messages bytes.Buffer
	res, err := build.Build(ctx, build.Config{Package: []string{p.From}, Stdout: &messages, Stderr: &messages})
	if err != nil {
		err = fmt.Errorf("%w\n%s", err, bytes.TrimSpace(messages.Bytes()))
	}
	return res.Image, err
}

func isFileName(name string) bool {
	return strings.HasSuffix(name, ".img") || strings.HasSuffix(name, ".snap")
}

// argv0 is the program's name for itself.
func (p Program) argv0() string {
	abs, err := filepath.Abs(p.From)
	if err != nil {
		abs = p.From
	}
	return strings.TrimSuffix(filepath.Base(abs), ".img")
}

// NotReadyError is a program that came to no work; another start, or another image,
// may.
type NotReadyError struct{ text string }

func (e *NotReadyError) Error() string { return e.text }

func (p Program) notReady(err error) error {
	var ended *hv.NotReadyError
	var fault *hv.GuestFault
	lacking := p.lacking()
	switch {
	case errors.As(err, &ended):
		return &NotReadyError{fmt.Sprintf("%v: %s", err, lacking)}
	case errors.Is(err, ErrTimeout):
		return &NotReadyError{fmt.Sprintf("the program was not ready after %v: %s", p.Within, lacking)}
	case errors.As(err, &fault):
		return &NotReadyError{err.Error()}
	}
	return err
}

// lacking is what the program has not done.
func (p Program) lacking() string {
	var list []string
	for _, c := range p.contracts() {
		list = append(list, moments[c].lacking)
	}
	return "it has not " + strings.Join(list, ", or ")
}
