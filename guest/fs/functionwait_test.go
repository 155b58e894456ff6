package fs

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
)

func TestExchangeWaits(t *testing.T) {
	fs, _, m := newFunction(t)
	fd := openFunction(t, fs, 0)
	if n, e := fs.Read(fd, nil); n != 0 || e != 0 {
		t.Errorf("empty read: %d, errno %d", n, e)
	}
	if m.watched != 0 {
		t.Error("to open, and to read nothing, is no wish for a message")
	}
	got := make(chan string)
	go func() { got <- drain(t, fs, fd) }()
	m.awaitWatch(t, 1)
	m.send("late")
	if s := <-got; s != message(1, "late") {
		t.Errorf("read %q", s)
	}
}

// Every message is answered once, with any number of exchanges under way.
func TestManyExchanges(t *testing.T) {
	const workers, each = 30, 40
	fs, _, m := newFunction(t)
	m.answers = make(chan answer, workers*each)
	var work sync.WaitGroup
	for range workers {
		work.Go(func() {
			for range each {
				fd := openFunction(t, fs, 0)
				text := drain(t, fs, fd)[headerSize:]
				if _, e := fs.Write(fd, []byte("re "+text)); e != 0 {
					t.Errorf("write: errno %d", e)
				}
				fs.Close(fd)
			}
		})
	}
	for i := 0; i < workers*each; i += 4 {
		m.send(fmt.Sprint(i+1), fmt.Sprint(i+2), fmt.Sprint(i+3), fmt.Sprint(i+4))
	}
	work.Wait()
	seen := map[uint64]bool{}
	for range workers * each {
		a := <-m.answers
		if seen[a.id] || a.text != fmt.Sprintf("re %d", a.id) {
			t.Errorf("got answer %+v", a)
		}
		seen[a.id] = true
	}
}

// One notice for many messages wakes as many that wait.
func TestOneNoticeForMany(t *testing.T) {
	const n = 20
	fs, _, m := newFunction(t)
	got := make(chan string, n)
	for range n {
		go func() {
			fd := openFunction(t, fs, 0)
			got <- drain(t, fs, fd)[headerSize:]
			fs.Close(fd)
		}()
	}
	m.awaitWatch(t, n)
	want := strings.Fields("a b c d e f g h i j k l m n o p q r s t")
	m.send(want...)
	var list []string
	for range n {
		list = append(list, <-got)
	}
	slices.Sort(list)
	if !slices.Equal(list, want) {
		t.Errorf("got %q", list)
	}
}

func TestExchangeNonblock(t *testing.T) {
	fs, h, m := newFunction(t)
	a, b := openFunction(t, fs, O_NONBLOCK), openFunction(t, fs, O_NONBLOCK)
	buf := make([]byte, 100)
	for _, fd := range []int{a, b} {
		if _, e := fs.Read(fd, buf); e != EAGAIN {
			t.Errorf("read: errno %d", e)
		}
		if got := h.take(fd); got != 0 {
			t.Errorf("notified %#x", got)
		}
	}
	m.send("x")
	if h.take(a) != EPOLLIN || h.take(b) != EPOLLIN {
		t.Error("not both were told of the message")
	}
	n, e := fs.Read(b, buf)
	if e != 0 || string(buf[:n]) != message(1, "x") {
		t.Errorf("read %q, errno %d", buf[:n], e)
	}
	_, e = fs.Read(a, buf)
	want(t, "the other one's read", e, EAGAIN)
	if n, e = fs.Read(b, buf); n != 0 || e != 0 {
		t.Errorf("at the end: %d, errno %d", n, e)
	}
	h.take(b)
	m.send("y")
	if h.take(a) != EPOLLIN || h.take(b) != 0 {
		t.Error("of a message only who has none is told")
	}
}

// A program that polls wants a message as one that reads does.
func TestExchangePoll(t *testing.T) {
	fs, _, m := newFunction(t)
	fd := openFunction(t, fs, 0)
	p := []PollFD{{FD: int32(fd), Events: EPOLLIN | EPOLLOUT}}
	got := make(chan int16)
	go func() {
		fs.Poll(p, -1)
		got <- p[0].Revents
	}()
	m.awaitWatch(t, 1)
	m.send("x")
	if events := <-got; events != EPOLLIN {
		t.Errorf("with a message: %#x", events)
	}
	drain(t, fs, fd)
	if fs.Poll(p, 0); p[0].Revents != EPOLLIN|EPOLLOUT {
		t.Errorf("with its message: %#x", p[0].Revents)
	}
}

// Whoever reads what is closed takes no message with it.
func TestExchangeCloseWhileWaiting(t *testing.T) {
	fs, _, m := newFunction(t)
	fd := openFunction(t, fs, 0)
	second, e := fs.Dup(fd)
	ok(t, e)
	failed := make(chan Errno)
	go func() {
		_, e := fs.Read(fd, make([]byte, 10))
		failed <- e
	}()
	m.awaitWatch(t, 1)
	ok(t, fs.Close(fd))
	select {
	case e := <-failed:
		t.Fatalf("errno %d while there is another descriptor", e)
	default:
	}
	ok(t, fs.Close(second))
	want(t, "read", <-failed, EBADF)
	m.send("x")
	if got := drain(t, fs, openFunction(t, fs, 0)); got != message(1, "x") {
		t.Errorf("read %q", got)
	}
}

// The message of an exchange wakes all that read from it, and the next message
// somebody else.
func TestExchangeReadTwice(t *testing.T) {
	fs, _, m := newFunction(t)
	fd := openFunction(t, fs, 0)
	parts := make(chan string, 3)
	read := func(fd int) {
		b := make([]byte, headerSize+1)
		n, _ := fs.Read(fd, b)
		parts <- string(b[:n])
	}
	go read(fd)
	go read(fd)
	m.awaitWatch(t, 2)
	other := openFunction(t, fs, 0)
	go read(other)
	m.awaitWatch(t, 3)
	m.send("ab")
	got := []string{<-parts, <-parts}
	m.send("c")
	got = append(got, <-parts)
	slices.Sort(got)
	want := []string{message(1, "ab")[:headerSize+1], message(2, "c"), "b"}
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}
