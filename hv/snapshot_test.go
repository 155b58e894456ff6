package hv

import (
	"bytes"
	"path/filepath"
	"testing"
	"time"

	"github.com/pvrun/pvrun/hypercall"
	"github.com/pvrun/pvrun/internal/need"
)

// TestSnapshot takes a program's machine in the middle of what it does, and makes
// others of it that go on there.
func TestSnapshot(t *testing.T) {
	if testing.Short() {
		t.Skip("builds a program")
	}
	need.KVM(t)
	img := guestImage(t, "..", "test/bench/work")
	need.Count(1)
	vm, err := New(Config{Image: img, Args: []string{"work", "sleep"}})
	if err != nil {
		t.Fatal(err)
	}
	defer vm.Close()
	vm.resting = true
	time.AfterFunc(100*time.Millisecond, func() { vm.raise(hypercall.EventSuspend) })
	if _, err := vm.enter(t.Context()); err != errAtRest {
		t.Fatal(err)
	}
	begin := time.Now()
	s, err := vm.snapshot()
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	t.Logf("snapshot %v, %+v, %d extents", time.Since(begin), s.Info(), len(s.state.Extents))
	path := filepath.Join(t.TempDir(), "work.snap")
	begin = time.Now()
	if err := s.Save(path); err != nil {
		t.Fatal(err)
	}
	t.Log("save", time.Since(begin))
	begin = time.Now()
	if s, err = OpenSnapshot(path); err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	t.Log("open", time.Since(begin))
	for range 3 {
		var out bytes.Buffer
		begin := time.Now()
		c, err := s.New(Clone{Stdout: &out, Hostname: "other"})
		if err != nil {
			t.Fatal(err)
		}
		made := time.Since(begin)
		need.Count(1)
		exit, err := runFor(c, 30*time.Second)
		ran := time.Since(begin)
		if err != nil || exit != (Exit{}) || !bytes.HasPrefix(out.Bytes(), []byte("sleep ")) {
			t.Errorf("exit %+v, error %v, output %q", exit, err, &out)
		}
		if err := c.Close(); err != nil {
			t.Error(err)
		}
		t.Logf("clone made in %v, ended after %v, closed %v", made, ran, time.Since(begin))
	}
}
