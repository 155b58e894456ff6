package fs

import (
	"crypto/rand"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// fakeHost stands in for the machine.
type fakeHost struct {
	mu     sync.Mutex
	out    []byte
	in     []byte
	known  map[int32]bool
	events map[int32]uint32 // what was notified and not yet taken

	generation atomic.Uint64
}

func (h *fakeHost) host() Host {
	start := time.Now()
	return Host{
		Now:             func() int64 { return time.Now().UnixNano() },
		Mono:            func() int64 { return int64(time.Since(start)) },
		Sleep:           func(ns int64) { time.Sleep(time.Duration(ns)) },
		Entropy:         func(b []byte) { rand.Read(b) },
		Hostname:        func() string { return "box" },
		Generation:      h.generation.Load,
		InstanceID:      func() [16]byte { return [16]byte{} },
		ConsoleRead:     h.read,
		ConsoleWrite:    h.write,
		ConsoleReady:    h.ready,
		ConsoleBuffered: func() int { h.mu.Lock(); defer h.mu.Unlock(); return len(h.in) },
		PollRegister:    h.register,
		PollUnregister:  h.unregister,
		PollNotify:      h.notify,
		Facts: Facts{
			Args: []string{"/bin/prog", "-x"}, Env: []string{"A=b"},
			PID: 1, CPUs: 2, MemBytes: 1 << 30,
		},
	}
}

func (h *fakeHost) read(b []byte, nonblock bool) (int, Errno) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.in) == 0 && nonblock {
		return 0, EAGAIN
	}
	n := copy(b, h.in)
	h.in = h.in[n:]
	return n, 0
}

func (h *fakeHost) write(fd int, b []byte, nonblock bool) (int, Errno) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.out = append(h.out, b...)
	return len(b), 0
}

func (h *fakeHost) ready(fd int) uint32 {
	h.mu.Lock()
	defer h.mu.Unlock()
	if fd != 0 {
		return EPOLLOUT
	}
	if len(h.in) > 0 {
		return EPOLLIN
	}
	return 0
}

func (h *fakeHost) register(fd int32) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.known[fd] = true
	h.events[fd] = 0
}

func (h *fakeHost) unregister(fd int32) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.known, fd)
	delete(h.events, fd)
}

func (h *fakeHost) notify(fd int32, events uint32) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.known[fd] {
		h.events[fd] |= events
	}
}

// take returns what was notified for fd since the last take.
func (h *fakeHost) take(fd int) uint32 {
	h.mu.Lock()
	defer h.mu.Unlock()
	e := h.events[int32(fd)]
	h.events[int32(fd)] = 0
	return e
}

// newTest makes a file system over a fake host.
func newTest(t testing.TB) (*FS, *fakeHost) {
	t.Helper()
	h := &fakeHost{known: map[int32]bool{}, events: map[int32]uint32{}}
	return New(h.host()), h
}

// ok fails the test for an errno.
func ok(t testing.TB, e Errno) {
	t.Helper()
	if e != 0 {
		t.Fatalf("errno %d", e)
	}
}

// want fails the test unless got is the errno wanted.
func want(t testing.TB, what string, got, want Errno) {
	t.Helper()
	if got != want {
		t.Errorf("%s: errno %d, want %d", what, got, want)
	}
}

// put makes a file with content.
func put(t testing.TB, fs *FS, path, content string) {
	t.Helper()
	fd, e := fs.Open(AT_FDCWD, path, O_CREAT|O_WRONLY|O_TRUNC, 0o644)
	ok(t, e)
	n, e := fs.Write(fd, []byte(content))
	ok(t, e)
	if n != len(content) {
		t.Fatalf("wrote %d of %d", n, len(content))
	}
	ok(t, fs.Close(fd))
}

// get reads a whole file.
func get(t testing.TB, fs *FS, path string) string {
	t.Helper()
	fd, e := fs.Open(AT_FDCWD, path, O_RDONLY, 0)
	if e != 0 {
		t.Fatalf("open %s: errno %d", path, e)
	}
	defer fs.Close(fd)
	return drain(t, fs, fd)
}

// drain reads a descriptor to its end.
func drain(t testing.TB, fs *FS, fd int) string {
	t.Helper()
	var all []byte
	b := make([]byte, 1000)
	for {
		n, e := fs.Read(fd, b)
		ok(t, e)
		if n == 0 {
			return string(all)
		}
		all = append(all, b[:n]...)
	}
}

// list is the names in a directory, without "." and "..".
func list(t testing.TB, fs *FS, path string) map[string]uint64 {
	t.Helper()
	fd, e := fs.Open(AT_FDCWD, path, O_RDONLY|O_DIRECTORY, 0)
	ok(t, e)
	defer fs.Close(fd)
	names := map[string]uint64{}
	b := make([]byte, 600)
	for {
		n, e := fs.Getdents(fd, b, false)
		ok(t, e)
		if n == 0 {
			return names
		}
		for r := b[:n]; len(r) > 0; {
			size := getUint(r[16:18])
			name := r[19:size]
			for i, c := range name {
				if c == 0 {
					name = name[:i]
					break
				}
			}
			if s := string(name); s != "." && s != ".." {
				if _, twice := names[s]; twice {
					t.Errorf("%s listed twice", s)
				}
				names[s] = getUint(r[:8])
			}
			r = r[size:]
		}
	}
}
