package worker

import (
	"context"
	"errors"
	"io"
	"runtime"
	"slices"
	"sync"

	"golang.org/x/sync/semaphore"

	"github.com/pvrun/pvrun/cmd/pvrun-serve/pool"
	"github.com/pvrun/pvrun/hv"
)

// PerWorker is how many machines a worker has at the most: beside 200 others one is made
// in 2.5 ms, alone in 1.6.
const PerWorker = 200

// Source makes machines of a snapshot, in workers.
type Source struct {
	snapshot *hv.Snapshot
	handover hv.Handover
	most     int                 // machines in a worker
	making   *semaphore.Weighted // machines at once: they take a processor each
	beside   sync.WaitGroup

	mu      sync.Mutex
	closed  bool
	workers []*process // that take machines
}

// NewSource makes machines of a snapshot, which is its own from now on. No worker has
// more than so many of them.
func NewSource(s *hv.Snapshot, perWorker int) (*Source, error) {
	h, err := s.Handover()
	if err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return &Source{
		snapshot: s, handover: h, most: max(1, perWorker),
		making: semaphore.NewWeighted(int64(runtime.NumCPU())),
	}, nil
}

// Stored is how many bytes the machines share.
func (s *Source) Stored() int64 { return s.snapshot.Info().Stored }

// tries is how often a machine is begun when workers end meanwhile.
const tries = 2

// New makes a machine in the worker that has the fewest, or in another worker when all
// have as many as they may. stdout and stderr are written to while a call is under way,
// and have all machines of the worker wait.
func (s *Source) New(stdout, stderr io.Writer) (*Machine, error) {
	if err := s.making.Acquire(context.Background(), 1); err != nil {
		return nil, err
	}
	defer s.making.Release(1)
	for try := 1; ; try++ {
		m, err := s.tryNew(stdout, stderr)
		switch {
		case err == nil:
			return m, nil
		case !errors.Is(err, pool.ErrLost) || try == tries:
			return nil, err
		}
	}
}

func (s *Source) tryNew(stdout, stderr io.Writer) (*Machine, error) {
	p, err := s.reserve()
	if err != nil {
		return nil, err
	}
	<-p.started
	m, err := p.newMachine(stdout, stderr)
	if err != nil {
		s.release(p)
		return nil, err
	}
	return m, nil
}

// reserve finds a place for a machine.
func (s *Source) reserve() (*process, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, errors.New("the snapshot is closed")
	}
	var p *process
	for _, w := range s.workers {
		if p == nil || w.holds < p.holds {
			p = w
		}
	}
	if p == nil || p.holds >= s.most {
		p = newProcess(s)
		s.workers = append(s.workers, p)
	}
	p.holds++
	return p, nil
}

// release gives a place back. A worker that has no machine ends, but for the last one
// with room.
func (s *Source) release(p *process) {
	s.mu.Lock()
	defer s.mu.Unlock()
	p.holds--
	hasRoom := func(w *process) bool { return w != p && w.holds < s.most }
	if p.holds == 0 && !s.closed && slices.ContainsFunc(s.workers, hasRoom) {
		s.endWorker(p)
	}
}

// endWorker ends a worker. The lock is held.
func (s *Source) endWorker(p *process) {
	s.workers = slices.DeleteFunc(s.workers, func(w *process) bool { return w == p })
	s.beside.Go(p.end)
}

// forget has a worker that has ended get no machines any more.
func (s *Source) forget(p *process) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.workers = slices.DeleteFunc(s.workers, func(w *process) bool { return w == p })
}

// Close ends all workers, and the snapshot. It follows all machines.
func (s *Source) Close() error {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return nil
	}
	s.closed = true
	for len(s.workers) > 0 {
		s.endWorker(s.workers[0])
	}
	s.mu.Unlock()
	s.beside.Wait()
	return s.snapshot.Close()
}
