package fs

import (
	"bytes"
	"crypto/sha256"
	"io"
	"math/rand"
	"sync"
	"testing"
	"time"
)

// TestPipeStream passes a stream through a pipe, in pieces of every size.
func TestPipeStream(t *testing.T) {
	fs, _ := newTest(t)
	r, w, e := fs.Pipe(0)
	ok(t, e)
	sent, got := sha256.New(), sha256.New()
	var done sync.WaitGroup
	done.Add(1)
	go func() {
		defer done.Done()
		rnd := rand.New(rand.NewSource(1))
		for range 300 {
			b := make([]byte, rnd.Intn(150000))
			rnd.Read(b)
			sent.Write(b)
			if n, e := fs.Write(w, b); n != len(b) || e != 0 {
				t.Errorf("write: %d of %d, errno %d", n, len(b), e)
			}
		}
		fs.Close(w)
	}()
	rnd := rand.New(rand.NewSource(2))
	b := make([]byte, 100000)
	for {
		n, e := fs.Read(r, b[:1+rnd.Intn(len(b)-1)])
		ok(t, e)
		if n == 0 {
			break
		}
		got.Write(b[:n])
	}
	done.Wait()
	if !bytes.Equal(sent.Sum(nil), got.Sum(nil)) {
		t.Error("the stream differs")
	}
}

// TestPipeAtomic has many writers of records up to PIPE_BUF: none is torn.
func TestPipeAtomic(t *testing.T) {
	fs, _ := newTest(t)
	r, w, e := fs.Pipe(0)
	ok(t, e)
	const writers, records = 8, 200
	var done sync.WaitGroup
	for i := range writers {
		done.Add(1)
		go func() {
			defer done.Done()
			for range records {
				fs.Write(w, bytes.Repeat([]byte{byte(i + 1)}, PIPE_BUF))
			}
		}()
	}
	go func() { done.Wait(); fs.Close(w) }()
	all, _ := io.ReadAll(reader{fs, r})
	if len(all) != writers*records*PIPE_BUF {
		t.Fatalf("%d bytes", len(all))
	}
	for rec := all; len(rec) > 0; rec = rec[PIPE_BUF:] {
		if bytes.Count(rec[:PIPE_BUF], rec[:1]) != PIPE_BUF {
			t.Fatal("a record is torn")
		}
	}
}

// reader makes an io.Reader of a descriptor.
type reader struct {
	fs *FS
	fd int
}

func (r reader) Read(b []byte) (int, error) {
	n, e := r.fs.Read(r.fd, b)
	if e == 0 && n == 0 {
		return 0, io.EOF
	}
	return n, nil
}

func TestPipeNonblock(t *testing.T) {
	fs, h := newTest(t)
	r, w, e := fs.Pipe(O_NONBLOCK)
	ok(t, e)
	b := make([]byte, 100000)
	_, e = fs.Read(r, b)
	want(t, "read of an empty pipe", e, EAGAIN)
	n, e := fs.Write(w, b)
	if n != pipeDefault || e != 0 {
		t.Errorf("write: %d, errno %d", n, e)
	}
	_, e = fs.Write(w, b[:1])
	want(t, "write to a full pipe", e, EAGAIN)
	h.take(w)
	fs.Read(r, b[:100])
	if h.take(w)&EPOLLOUT != 0 {
		t.Error("writable with less than PIPE_BUF free")
	}
	_, e = fs.Write(w, b[:200])
	want(t, "atomic write without room", e, EAGAIN)
	fs.Read(r, b[:PIPE_BUF])
	if h.take(w)&EPOLLOUT == 0 {
		t.Error("not told that the pipe is writable")
	}
	ok(t, fs.Close(r))
	if h.take(w)&EPOLLERR == 0 {
		t.Error("not told that the reader is gone")
	}
	_, e = fs.Write(w, b[:1])
	want(t, "write without a reader", e, EPIPE)
}

func TestPipeEnds(t *testing.T) {
	fs, h := newTest(t)
	r, w, e := fs.Pipe(0)
	ok(t, e)
	if !h.known[int32(r)] || !h.known[int32(w)] {
		t.Error("pipe ends are not registered")
	}
	fs.Write(w, []byte("rest"))
	if h.take(r)&EPOLLIN == 0 {
		t.Error("not told that the pipe is readable")
	}
	ok(t, fs.Close(w))
	if h.take(r)&EPOLLHUP == 0 {
		t.Error("not told that the writer is gone")
	}
	if h.known[int32(w)] {
		t.Error("a closed end is still registered")
	}
	if s := drain(t, fs, r); s != "rest" {
		t.Errorf("got %q", s)
	}
	_, e = fs.Read(w, nil)
	want(t, "closed descriptor", e, EBADF)
}

func TestPipeSize(t *testing.T) {
	fs, _ := newTest(t)
	r, w, e := fs.Pipe(O_NONBLOCK)
	ok(t, e)
	if n, e := fs.Fcntl(r, F_GETPIPE_SZ, 0); n != pipeDefault || e != 0 {
		t.Errorf("size %d, errno %d", n, e)
	}
	if n, e := fs.Fcntl(w, F_SETPIPE_SZ, 5000); n != 8192 || e != 0 {
		t.Errorf("size %d, errno %d", n, e)
	}
	if n, _ := fs.Write(w, make([]byte, 10000)); n != 8192 {
		t.Errorf("wrote %d", n)
	}
	_, e = fs.Fcntl(w, F_SETPIPE_SZ, 4096)
	want(t, "shrinking below the content", e, EBUSY)
	_, e = fs.Fcntl(w, F_SETPIPE_SZ, pipeMax+1)
	want(t, "too large", e, EPERM)
}

func TestFIFO(t *testing.T) {
	fs, _ := newTest(t)
	ok(t, fs.Mknod(AT_FDCWD, "/f", S_IFIFO|0o600, 0))
	_, e := fs.Open(AT_FDCWD, "/f", O_WRONLY|O_NONBLOCK, 0)
	want(t, "writer without reader", e, ENXIO)
	opened := make(chan int)
	go func() {
		fd, _ := fs.Open(AT_FDCWD, "/f", O_RDONLY, 0)
		opened <- fd
	}()
	select {
	case <-opened:
		t.Fatal("the reader did not wait for a writer")
	case <-time.After(10 * time.Millisecond):
	}
	w, e := fs.Open(AT_FDCWD, "/f", O_WRONLY, 0)
	ok(t, e)
	r := <-opened
	fs.Write(w, []byte("hello"))
	fs.Close(w)
	if s := drain(t, fs, r); s != "hello" {
		t.Errorf("got %q", s)
	}
}

func TestEventfd(t *testing.T) {
	fs, h := newTest(t)
	fd, e := fs.Eventfd(3, O_NONBLOCK|EFD_SEMAPHORE)
	ok(t, e)
	b := make([]byte, 8)
	for range 3 {
		n, e := fs.Read(fd, b)
		if n != 8 || e != 0 || getUint(b) != 1 {
			t.Errorf("read: %d, errno %d, value %d", n, e, getUint(b))
		}
	}
	_, e = fs.Read(fd, b)
	want(t, "read of 0", e, EAGAIN)
	putUint(b, counterMax)
	_, e = fs.Write(fd, b)
	ok(t, e)
	if h.take(fd)&EPOLLIN == 0 {
		t.Error("not told")
	}
	_, e = fs.Write(fd, b)
	want(t, "overflow", e, EAGAIN)
	_, e = fs.Write(fd, b[:4])
	want(t, "short write", e, EINVAL)
}

func TestPoll(t *testing.T) {
	fs, _ := newTest(t)
	r, w, _ := fs.Pipe(0)
	fds := []PollFD{{FD: int32(r), Events: EPOLLIN}}
	if n := fs.Poll(fds, 0); n != 0 {
		t.Errorf("an empty pipe is ready: %+v", fds)
	}
	if n := fs.Poll(fds, 5e6); n != 0 {
		t.Errorf("an empty pipe is ready: %+v", fds)
	}
	go func() { time.Sleep(5 * time.Millisecond); fs.Write(w, []byte("x")) }()
	if n := fs.Poll(fds, -1); n != 1 || fds[0].Revents != EPOLLIN {
		t.Errorf("poll: %d, %+v", n, fds)
	}
	fds[0].FD = 99
	if n := fs.Poll(fds, -1); n != 1 || fds[0].Revents != EPOLLNVAL {
		t.Errorf("poll: %d, %+v", n, fds)
	}
}

func TestEpoll(t *testing.T) {
	fs, _ := newTest(t)
	r, w, _ := fs.Pipe(0)
	ep, e := fs.EpollCreate(0)
	ok(t, e)
	ok(t, fs.EpollCtl(ep, EPOLL_CTL_ADD, r, EpollEvent{EPOLLIN | EPOLLET, 7}))
	want(t, "added twice", fs.EpollCtl(ep, EPOLL_CTL_ADD, r, EpollEvent{}), EEXIST)
	out := make([]EpollEvent, 4)
	wait := func(ns int64) int {
		n, e := fs.EpollWait(ep, out, ns)
		ok(t, e)
		return n
	}
	if n := wait(0); n != 0 {
		t.Errorf("%d events", n)
	}
	go fs.Write(w, []byte("x"))
	if n := wait(-1); n != 1 || out[0] != (EpollEvent{EPOLLIN, 7}) {
		t.Errorf("%d events, %+v", n, out[0])
	}
	if n := wait(0); n != 0 {
		t.Error("an edge was reported twice")
	}
	fs.Write(w, []byte("y"))
	if n := wait(0); n != 1 {
		t.Error("a new edge was not reported")
	}
	ok(t, fs.EpollCtl(ep, EPOLL_CTL_MOD, r, EpollEvent{EPOLLIN, 8}))
	for range 2 {
		if wait(0) != 1 {
			t.Error("level-triggered events end")
		}
	}
	ok(t, fs.Close(r))
	if n := wait(0); n != 0 {
		t.Error("a closed descriptor is reported")
	}
	want(t, "closed", fs.EpollCtl(ep, EPOLL_CTL_DEL, r, EpollEvent{}), EBADF)
}
