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
	host.Generation = generation.Load
	host.InstanceID = func() [16]byte { return [16]byte{5, 15: byte(generation.Load())} }
	host.AwaitGeneration = func(old uint64) uint64 { return old + 1 }
	return New(host), generation, ready
}

// Without messages the file still answers questions.
func TestFunctionInquiry(t *testing.T) {
	fs, generation, ready := withLife(t)
	fd, e := fs.Open(AT_FDCWD, "/dev/function", O_RDONLY, 0)
	ok(t, e)
	generation.Store(7)
	if g, e := fs.FunctionGeneration(fd); g != 7 || e != 0 {
		t.Errorf("got %d, errno %d", g, e)
	}
	if id, e := fs.FunctionInstance(fd); id != [16]byte{5, 15: 7} || e != 0 {
		t.Errorf("got %v, errno %d", id, e)
	}
	if g, e := fs.FunctionAwait(fd, 3); g != 4 || e != 0 {
		t.Errorf("got %d, errno %d", g, e)
	}
	ok(t, fs.FunctionReady(fd))
	if ready.Load() != 1 {
		t.Error("nobody heard that the program is ready")
	}
	_, e = fs.Read(fd, make([]byte, 10))
	want(t, "read", e, EINVAL)
	want(t, "fail", fs.FunctionFail(fd), EINVAL)
}

func TestFunctionOfOtherFiles(t *testing.T) {
	fs, _, _ := withLife(t)
	fd, e := fs.Open(AT_FDCWD, "/dev/null", O_RDWR, 0)
	ok(t, e)
	want(t, "fail", fs.FunctionFail(fd), ENOTTY)
	want(t, "ready", fs.FunctionReady(fd), ENOTTY)
	_, e = fs.FunctionGeneration(fd)
	want(t, "generation", e, ENOTTY)
	_, e = fs.FunctionInstance(fd)
	want(t, "instance", e, ENOTTY)
	_, e = fs.FunctionAwait(99, 0)
	want(t, "await", e, EBADF)
}
