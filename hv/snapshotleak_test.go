package hv

import (
	"bytes"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/pvrun/pvrun/hypercall"
	"github.com/pvrun/pvrun/internal/need"
	"github.com/pvrun/pvrun/test/guests/asm"
	"golang.org/x/sys/unix"
)

// holdings are what a process has and could lose: descriptors, mappings that are not Go's
// own, and goroutines.
type holdings struct{ files, mappings, goroutines int }

func held(t *testing.T) (h holdings) {
	t.Helper()
	list, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	h.files = len(list)
	b, err := os.ReadFile("/proc/self/maps")
	if err != nil {
		t.Fatal(err)
	}
	for line := range bytes.Lines(b) {
		if bytes.Contains(line, []byte("pvrun-snapshot")) || bytes.Contains(line, []byte("kvm")) {
			h.mappings++
		}
	}
	h.goroutines = runtime.NumGoroutine()
	return h
}

// size is how much address space the process has, in bytes.
func size(t *testing.T) (kib int) {
	t.Helper()
	b, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range strings.Fields(string(b))[0] {
		kib = 10*kib + int(c-'0')
	}
	return kib * pageSize
}

// TestSnapshotLeaks fails at each step that needs a descriptor, and at others, and loses
// nothing.
func TestSnapshotLeaks(t *testing.T) {
	s := hostile(t, 256<<20, nil, func(c *asm.Code) { respond(c, 1).Spin() })
	path := filepath.Join(t.TempDir(), "snap")
	if err := s.Save(path); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	bad := forge(t, b, func(r *rest, _ func(frame) []byte) { r.Root++ })
	badPath := filepath.Join(t.TempDir(), "bad")
	if err := os.WriteFile(badPath, bad, 0o600); err != nil {
		t.Fatal(err)
	}
	image := asm.Image{Code: new(asm.Code).Exit(3)}.Write(t)
	ask(t, clone(t, s), "x") // what is opened once
	if err := clone(t, s).Rewind(); err != nil {
		t.Fatal(err)
	}

	attempts := map[string]func() error{
		"New": func() error {
			need.Count(1)
			vm, err := s.New(Clone{})
			if err == nil {
				err = vm.Close()
			}
			return err
		},
		"New, bad name": func() error {
			vm, err := s.New(Clone{Hostname: strings.Repeat("a", 65)})
			if err == nil {
				vm.Close()
				t.Error("it was taken")
			}
			return err
		},
		"OpenSnapshot": func() error {
			s, err := OpenSnapshot(path)
			if err == nil {
				err = s.Close()
			}
			return err
		},
		"OpenSnapshotOnce": func() error {
			s, err := OpenSnapshotOnce(path)
			if err == nil {
				err = s.Close()
			}
			return err
		},
		"OpenSnapshotOnce and New": func() error {
			need.Count(1)
			s, err := OpenSnapshotOnce(path)
			if err != nil {
				return err
			}
			defer s.Close()
			vm, err := s.New(Clone{})
			if err == nil {
				err = vm.Close()
			}
			return err
		},
		"OpenSnapshotOnce of a bad one": func() error {
			s, err := OpenSnapshotOnce(badPath)
			if err == nil {
				s.Close()
				t.Error("it was opened")
			}
			return err
		},
		"OpenSnapshot of a bad one": func() error {
			s, err := OpenSnapshot(badPath)
			if err == nil {
				s.Close()
				t.Error("it was opened")
			}
			return err
		},
		"Boot": func() error {
			need.Count(1)
			s, err := Boot(t.Context(), Config{Image: image, Memory: 256 << 20, Messages: true, Ready: hypercall.ReadyMessage})
			if err == nil {
				s.Close()
			}
			return err
		},
		"Save": func() error { return s.Save(path) },
	}
	var old unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &old); err != nil {
		t.Fatal(err)
	}
	defer unix.Setrlimit(unix.RLIMIT_NOFILE, &old)
	for name, attempt := range attempts {
		_ = attempt()
		runtime.GC()
		before, space := held(t), size(t)
		failures := 0
		for range 5 {
			for free := range 12 {
				// Descriptors are the lowest that are free: none at first.
				limit := unix.Rlimit{Cur: uint64(before.files + free - 4), Max: old.Max}
				if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
					t.Fatal(err)
				}
				err := attempt()
				unix.Setrlimit(unix.RLIMIT_NOFILE, &old)
				if err != nil {
					failures++
				}
			}
		}
		after := held(t)
		for wait := 0; after != before && wait < 100; wait++ {
			time.Sleep(10 * time.Millisecond)
			after = held(t)
		}
		if after != before {
			t.Errorf("%s: %+v before, %+v after", name, before, after)
		}
		if grown := size(t) - space; grown >= 256<<20 {
			t.Errorf("%s: the process has grown by %d MiB", name, grown>>20)
		}
		t.Logf("%s: %d of 60 failed", name, failures)
		if failures == 0 {
			t.Errorf("%s never failed", name)
		}
	}
}
