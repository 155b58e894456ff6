package fs

import (
	"bytes"
	"strings"
	"sync"
	"testing"
	"time"
)

// answer is what an exchange has responded.
type answer struct {
	id     uint64
	failed bool
	text   string
}

// fakeMessages stands in for the host's queue.
type fakeMessages struct {
	fs      *FS
	mu      sync.Mutex
	queue   []Invocation
	put     uint64
	watched int
	answers chan answer
}

func (m *fakeMessages) Next() (v Invocation, ok bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.queue) > 0 {
		v, ok, m.queue = m.queue[0], true, m.queue[1:]
	}
	return v, ok
}

func (m *fakeMessages) Pending() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.queue) > 0
}

func (m *fakeMessages) Watch() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.watched++
}

func (m *fakeMessages) Respond(id uint64, failed bool, b []byte) {
	m.answers <- answer{id, failed, string(b)}
}

// send puts messages, which get the next IDs, and tells of them at once.
func (m *fakeMessages) send(texts ...string) {
	m.mu.Lock()
	for _, s := range texts {
		m.put++
		m.queue = append(m.queue, Invocation{m.put, []byte(s), int64(1000 + m.put)})
	}
	m.mu.Unlock()
	m.fs.MessagesChanged()
}

// awaitWatch waits until somebody has found no message n times.
func (m *fakeMessages) awaitWatch(t *testing.T, n int) {
	t.Helper()
	for end := time.Now().Add(time.Minute); ; time.Sleep(time.Millisecond) {
		m.mu.Lock()
		got := m.watched
		m.mu.Unlock()
		if got >= n {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("found no message %d times, want %d", got, n)
		}
	}
}

func (m *fakeMessages) answered(t *testing.T, want answer) {
	t.Helper()
	if got := <-m.answers; got != want {
		t.Errorf("got answer %+v, want %+v", got, want)
	}
}

func newFunction(t testing.TB) (*FS, *fakeHost, *fakeMessages) {
	h := &fakeHost{known: map[int32]bool{}, events: map[int32]uint32{}}
	m := &fakeMessages{answers: make(chan answer, 100)}
	host := h.host()
	host.Messages = m
	m.fs = New(host)
	return m.fs, h, m
}

func openFunction(t testing.TB, fs *FS, flags int) int {
	t.Helper()
	fd, e := fs.Open(AT_FDCWD, "/dev/function", O_RDWR|flags, 0)
	ok(t, e)
	return fd
}

// message is what an exchange reads: a header and the text.
func message(id int, text string) string {
	var h [24]byte
	h[0], h[4] = 1, 24
	putUint(h[8:16], uint64(len(text)))
	putUint(h[16:24], uint64(1000+id))
	return string(h[:]) + text
}

func TestExchange(t *testing.T) {
	fs, _, m := newFunction(t)
	fd := openFunction(t, fs, 0)
	m.send("what")
	if got := drain(t, fs, fd); got != message(1, "what") {
		t.Errorf("read %q", got)
	}
	for _, s := range []string{"th", "", "is"} {
		n, e := fs.Write(fd, []byte(s))
		ok(t, e)
		if n != len(s) {
			t.Errorf("wrote %d of %q", n, s)
		}
	}
	if len(m.answers) != 0 {
		t.Error("answered before close")
	}
	ok(t, fs.Close(fd))
	m.answered(t, answer{1, false, "this"})
}

// A message comes in pieces of any size, across the header's end too.
func TestExchangePartialReads(t *testing.T) {
	fs, _, m := newFunction(t)
	text := strings.Repeat("0123456789", 100)
	for _, size := range []int{1, 7, 23, 24, 25, 100, 5000} {
		m.send(text)
		fd := openFunction(t, fs, 0)
		var all []byte
		for b := make([]byte, size); ; {
			n, e := fs.Read(fd, b)
			ok(t, e)
			if n == 0 {
				break
			}
			if left := headerSize + len(text) - len(all); n != min(size, left) {
				t.Fatalf("read %d of %d, %d are left", n, size, left)
			}
			all = append(all, b[:n]...)
		}
		if string(all) != message(int(m.put), text) {
			t.Errorf("by %d: read %q", size, all)
		}
		ok(t, fs.Close(fd))
		m.answered(t, answer{m.put, false, ""})
	}
}

func TestExchangeCloseUnread(t *testing.T) {
	fs, _, m := newFunction(t)
	m.send("x")
	ok(t, fs.Close(openFunction(t, fs, 0)))
	fd := openFunction(t, fs, 0)
	n, e := fs.Read(fd, make([]byte, 1)) // it has the message then
	if n != 1 || e != 0 {
		t.Fatalf("read %d, errno %d", n, e)
	}
	ok(t, fs.Close(fd))
	m.answered(t, answer{1, false, ""})
	if len(m.answers) != 0 {
		t.Error("an exchange without a message has answered")
	}
}

func TestExchangeDup(t *testing.T) {
	fs, _, m := newFunction(t)
	fd := openFunction(t, fs, 0)
	m.send("x")
	drain(t, fs, fd)
	second, e := fs.Dup(fd)
	ok(t, e)
	if _, e := fs.Write(second, []byte("1")); e != 0 {
		t.Errorf("write: errno %d", e)
	}
	ok(t, fs.Close(second))
	if _, e := fs.Write(fd, []byte("2")); e != 0 {
		t.Errorf("write: errno %d", e)
	}
	if len(m.answers) != 0 {
		t.Error("answered while there is a descriptor")
	}
	ok(t, fs.Close(fd))
	m.answered(t, answer{1, false, "12"})
}

func TestExchangeLimits(t *testing.T) {
	fs, _, m := newFunction(t)
	fd := openFunction(t, fs, 0)
	_, e := fs.Write(fd, []byte("early"))
	want(t, "write before the message", e, EINVAL)
	want(t, "failing before the message", fs.FunctionFail(fd), EINVAL)
	m.send("x")
	fs.Read(fd, make([]byte, headerSize-1))
	_, e = fs.Write(fd, []byte("early"))
	want(t, "write within the header", e, EINVAL)
	fs.Read(fd, make([]byte, 1))
	large := bytes.Repeat([]byte("r"), MaxResponse)
	_, e = fs.Write(fd, large[1:])
	ok(t, e)
	_, e = fs.Write(fd, []byte("22"))
	want(t, "write beyond the end", e, EFBIG)
	_, e = fs.Write(fd, []byte("1"))
	ok(t, e)
	_, e = fs.Write(fd, []byte("0"))
	want(t, "write at the end", e, EFBIG)
	_, e = fs.Seek(fd, 0, SEEK_SET)
	want(t, "seek", e, ESPIPE)
	ok(t, fs.Close(fd))
	m.answered(t, answer{1, false, string(large[1:]) + "1"})
}

func TestExchangeFails(t *testing.T) {
	fs, _, m := newFunction(t)
	fd := openFunction(t, fs, 0)
	m.send("x")
	drain(t, fs, fd)
	fs.Write(fd, []byte("no "))
	ok(t, fs.FunctionFail(fd))
	fs.Write(fd, []byte("good"))
	ok(t, fs.Close(fd))
	m.answered(t, answer{1, true, "no good"})
}

func TestFunctionWithoutMessages(t *testing.T) {
	fs, _ := newTest(t)
	_, e := fs.Open(AT_FDCWD, "/dev/function", O_RDWR, 0)
	want(t, "open", e, ENODEV)
}
