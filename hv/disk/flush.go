package disk

import "sync"

// flusher has those who want a flush at the same time share one, and remembers one
// that has failed: the kernel tells of a page that it could not write once, and
// forgets it.
type flusher struct {
	mu             sync.Mutex
	change         sync.Cond // of what follows
	started, ended uint64    // flushes
	lost           error     // of the first that failed
}

// do returns when a flush has ended that began after the call.
func (f *flusher) do(flush func() error) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.change.L = &f.mu
	for mine := f.started + 1; f.ended < mine && f.lost == nil; {
		if f.started != f.ended {
			f.change.Wait()
			continue
		}
		f.started++
		f.mu.Unlock()
		err := flush()
		f.mu.Lock()
		if f.ended = f.started; f.lost == nil {
			f.lost = err
		}
		f.change.Broadcast()
	}
	return f.lost
}
