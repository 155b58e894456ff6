package hv

import (
	"bytes"
	"testing"
	"time"

	"github.com/pvrun/pvrun/hypercall"
	"github.com/pvrun/pvrun/internal/need"
)

// TestSuspend asks a Go program's guest to come to rest: it calls suspend,
// finds a fresh start-info page and goes on.
func TestSuspend(t *testing.T) {
	if testing.Short() {
		t.Skip("builds a program")
	}
	need.KVM(t)
	need.Count(1)
	img := guestImage(t, "..", "test/bench/work")
	var out bytes.Buffer
	vm, err := New(Config{Image: img, Args: []string{"work", "sleep"}, Stdout: &out})
	if err != nil {
		t.Fatal(err)
	}
	defer vm.Close()
	before := vm.start.info
	time.AfterFunc(100*time.Millisecond, func() { vm.raise(hypercall.EventSuspend) })
	exit, err := runFor(vm, 30*time.Second)
	if err != nil || exit != (Exit{}) || !bytes.HasPrefix(out.Bytes(), []byte("sleep ")) {
		t.Fatalf("exit %+v, error %v, output %q", exit, err, &out)
	}
	if n := vm.stats.reasons[callReason(hypercall.CallSuspend)].n; n != 1 {
		t.Errorf("%d suspend calls, want 1", n)
	}
	after := vm.start.info
	if after.Entropy == before.Entropy || after.InstanceID != before.InstanceID {
		t.Error("want fresh entropy and the same instance")
	}
}
