//go:build pvrun && linux

package function

import (
	"os"
	"sync"
	"sync/atomic"
)

// lives calls what is to be called when the machine is in another life.
var lives resumer

type resumer struct {
	seen atomic.Uint64 // the generation for which all was called

	mu    sync.Mutex
	calls []func()
	watch sync.Once
}

func onResume(f func()) {
	lives.watch.Do(func() {
		lives.seen.Store(generation())
		go lives.await()
	})
	lives.mu.Lock()
	lives.calls = append(lives.calls, f)
	lives.mu.Unlock()
}

// became is told the generation of now, and returns when all was called for it.
func (l *resumer) became(generation uint64) {
	if l.seen.Load() == generation {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.seen.Load() == generation {
		return
	}
	for _, f := range l.calls {
		f()
	}
	l.seen.Store(generation)
}

// await is for programs that get no messages.
func (l *resumer) await() {
	fd, err := open(os.O_RDONLY)
	for err == nil {
		var now uint64
		if now, err = nextLife(fd, l.seen.Load()); err == nil {
			l.became(now)
		}
	}
}
