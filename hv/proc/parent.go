package proc

import (
	"runtime"
	"sync"
)

// parents is a thread that starts all children and lives as long as one of them: a child
// is killed when the thread ends that has started it (PR_SET_PDEATHSIG), and Go's end with
// goroutines that have locked them.
var parents struct {
	mu       sync.Mutex
	children int
	work     chan func() // nil while there are no children
}

// bear runs f, which starts a child, on the thread. The child is counted until it is
// buried, whether or not it could be started.
func bear(f func()) {
	p := &parents
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.children++; p.work == nil {
		p.work = make(chan func())
		go work(p.work)
	}
	done := make(chan struct{})
	p.work <- func() {
		defer close(done)
		f()
	}
	<-done
}

func work(list <-chan func()) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	for f := range list {
		f()
	}
}

// bury is for a child that is over.
func bury() {
	p := &parents
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.children--; p.children == 0 {
		close(p.work)
		p.work = nil
	}
}
