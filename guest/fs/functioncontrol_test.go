package fs

import (
	"sync/atomic"
	"testing"
)

// withLife makes a file system whose machine's life is the test's to choose.
func withLife(t *testing.T) (fs *FS, generation *atomic.Uint64, ready *atomic.Int32) {
	t.Helper()
	h := &fakeHost{known: map[int32]bool{}, events: map[int32]uint32{}}
	generation, ready = new(atomic.Uint64), new(atomic.Int32)
	host := h.host()
	host.Ready = func() { ready.Add(1) }
	host.Life = func() (uint64, [16]byte) { return generation.Load(), [16]byte{5, 15: byte(generation.Load())} }
	return New(host), generation, ready
}

// Without messages the file still answers questions.
func TestFunctionInquiry(t *testing.T) {
	fs, generation, ready := withLife(t)
	fd, e := fs.Open(AT_FDCWD, "/dev/function", O_RDONLY, 0)
	ok(t, e)
	generation.Store(7)
	g, id, e := fs.FunctionLife(fd)
	if g != 7 || id != [16]byte{5, 15: 7} || e != 0 {
		t.Errorf("got %d, %v, errno %d", g, id, e)
	}
	ok(t, fs.FunctionReady(fd))
	if ready.Load() != 1 {
		t.Error("nobody heard that the program is ready")
	}
	_, e = fs.Read(fd, make([]byte, 10))
	want(t, "read", e, EINVAL)
	want(t, "fail", fs.FunctionFail(fd), EINVAL)
}

func TestFunctionNextLife(t *testing.T) {
	fs, generation, _ := withLife(t)
	fd, e := fs.Open(AT_FDCWD, "/dev/function", O_RDONLY, 0)
	ok(t, e)
	if g, e := fs.FunctionNextLife(fd, 3); g != 0 || e != 0 {
		t.Errorf("got %d, errno %d", g, e)
	}
	got := make(chan uint64)
	go func() {
		g, _ := fs.FunctionNextLife(fd, 0)
		got <- g
	}()
	fs.LifeChanged() // for nothing
	generation.Store(1)
	fs.LifeChanged()
	if g := <-got; g != 1 {
		t.Errorf("got %d", g)
	}
}

func TestFunctionOfOtherFiles(t *testing.T) {
	fs, _, _ := withLife(t)
	fd, e := fs.Open(AT_FDCWD, "/dev/null", O_RDWR, 0)
	ok(t, e)
	want(t, "fail", fs.FunctionFail(fd), ENOTTY)
	want(t, "ready", fs.FunctionReady(fd), ENOTTY)
	_, _, e = fs.FunctionLife(fd)
	want(t, "life", e, ENOTTY)
	_, e = fs.FunctionNextLife(99, 0)
	want(t, "next life", e, EBADF)
}
