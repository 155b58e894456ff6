package proc

import (
	"runtime"
	"testing"
	"time"

	"github.com/pvrun/pvrun/hv/engine"
)

// TestThreadEnds: a machine outlives the thread of the goroutine that has made it.
func TestThreadEnds(t *testing.T) {
	made := make(chan *testMachine)
	var all [5]*testMachine
	for i := range all { // the process's first thread does not end
		go func() {
			runtime.LockOSThread() // and never unlocked: the thread ends with the goroutine
			made <- newTestMachine(t, asm{}.call(1))
		}()
		all[i] = <-made
	}
	time.Sleep(50 * time.Millisecond) // the threads', to end
	for _, m := range all {
		if e := m.out(t); e.Reason != engine.Hypercall {
			t.Errorf("%v: %s", e.Reason, e.Detail)
		}
	}
}
