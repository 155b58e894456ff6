package boot

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pvrun/pvrun/cmd/pvrun-serve/pool"
	"github.com/pvrun/pvrun/hv"
	"github.com/pvrun/pvrun/internal/need"
	"github.com/pvrun/pvrun/internal/vmtest"
)

func TestMain(m *testing.M) { os.Exit(need.Main(m)) }

// hostile is a function that does what it is told.
var hostile = sync.OnceValue(func() string {
	dir, err := filepath.Abs("../../../test/function/hostile")
	if err != nil {
		panic(err)
	}
	return dir
})

func source(t *testing.T, p Program) (pool.Source, error) {
	t.Helper()
	need.KVM(t)
	need.Count(1)
	p.From = vmtest.Image(t, hostile())
	return p.Source(t.Context(), pool.Silence{})
}

func TestNotReady(t *testing.T) {
	for argument, want := range map[string]string{
		"never": "was not ready after 300ms: it has not asked for a message, as function.Handle does, or served HTTP at $PORT, or asked the Lambda Runtime API for an event",
		"exit":  "the program has ended with code 3 before it was ready",
	} {
		_, err := source(t, Program{Args: []string{argument}, Within: 300 * time.Millisecond})
		if e := (*NotReadyError)(nil); !errors.As(err, &e) || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v", argument, err)
		}
	}
}

func TestBadFiles(t *testing.T) {
	text := filepath.Join(t.TempDir(), "text")
	if err := os.WriteFile(text, []byte("no image"), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, from := range []string{text, text + ".img", text + ".snap"} {
		_, err := Program{From: from}.Source(t.Context(), pool.Silence{})
		if e := (*hv.ImageError)(nil); !errors.As(err, &e) || e.Path != from {
			t.Errorf("%s: got %v", from, err)
		}
	}
}

// What was started with is what clones have, and a snapshot's file is the same.
func TestSource(t *testing.T) {
	s, err := source(t, Program{Args: []string{"arg"}, Env: []string{"VERSION=env"}, Memory: 32 << 20, Within: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	file := filepath.Join(t.TempDir(), "snap")
	if err := s.(Source).Save(file); err != nil {
		t.Fatal(err)
	}
	opened, err := Program{From: file}.Source(t.Context(), pool.Silence{})
	if err != nil {
		t.Fatal(err)
	}
	defer opened.Close()
	for _, s := range []pool.Source{s, opened} {
		if s.Stored() == 0 {
			t.Error("nothing is stored")
		}
		version(t, s)
	}
}

func version(t *testing.T, s pool.Source) {
	t.Helper()
	need.Count(1)
	m, err := s.New(nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	ctx, stop := context.WithTimeout(t.Context(), time.Minute)
	defer stop()
	r, err := m.Invoke(ctx, "id", []byte("version"))
	if err != nil || string(r.Data) != "envarg" {
		t.Errorf("got %q, %v", r.Data, err)
	}
	if m.OwnMemory() == 0 || m.Stats().Exits.Total == 0 {
		t.Errorf("%d bytes, %d exits", m.OwnMemory(), m.Stats().Exits.Total)
	}
}

func TestStamp(t *testing.T) {
	p := Program{From: filepath.Join(t.TempDir(), "file")}
	seen := map[Stamp]bool{p.Stamp(): true}
	for _, text := range []string{"a", "bc", "de"} {
		next := p.From + ".new"
		if os.WriteFile(next, []byte(text), 0o644) != nil || os.Rename(next, p.From) != nil {
			t.Fatal("write")
		}
		seen[p.Stamp()] = true
	}
	if len(seen) != 4 {
		t.Errorf("got %v", seen)
	}
}

// TestStampSources changes what a package is built of, and what it is not.
func TestStampSources(t *testing.T) {
	root := t.TempDir()
	write := func(name, text string) {
		name = filepath.Join(root, name)
		if os.MkdirAll(filepath.Dir(name), 0o755) != nil || os.WriteFile(name, []byte(text), 0o644) != nil {
			t.Fatal("write")
		}
	}
	p := Program{From: filepath.Join(root, "cmd/f")}
	write("cmd/f/main.go", "package main")
	if p.Stamp() != (Stamp{}) {
		t.Error("without a module there is a stamp")
	}
	write("go.mod", "module m")
	last := p.Stamp()
	for _, name := range []string{"cmd/f/main.go", "lib/a.go", "lib/a.s", "go.sum"} {
		write(name, "other text")
		if now := p.Stamp(); now == last || now == (Stamp{}) {
			t.Errorf("%s: got %v after %v", name, now, last)
		} else {
			last = now
		}
	}
	if file := (Program{From: filepath.Join(p.From, "main.go")}); file.Stamp() != last {
		t.Error("a file of Go's has a stamp of its own")
	}
	for _, name := range []string{"lib/a_test.go", "data.txt", ".git/a.go", "lib/testdata/a.go"} {
		write(name, "no source")
		if p.Stamp() != last {
			t.Errorf("%s: another stamp", name)
		}
	}
	if err := os.Remove(filepath.Join(root, "lib/a.s")); err != nil || p.Stamp() == last {
		t.Errorf("a file has gone: %v, the same stamp", err)
	}
}
