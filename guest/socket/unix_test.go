package socket

import (
	"bytes"
	"crypto/sha256"
	"math/rand"
	"sync"
	"testing"
	"time"

	"github.com/pvrun/pvrun/guest/fs"
)

func ok(t testing.TB, e fs.Errno) {
	t.Helper()
	if e != 0 {
		t.Fatalf("errno %d", e)
	}
}

func want(t testing.TB, what string, got, want fs.Errno) {
	t.Helper()
	if got != want {
		t.Errorf("%s: errno %d, want %d", what, got, want)
	}
}

// blockingPair is a pair whose calls wait.
func blockingPair(t testing.TB, g guestKernel, typ int) [2]int {
	t.Helper()
	fds, e := g.pair(typ)
	ok(t, e)
	for _, fd := range fds {
		ok(t, g.SetNonblock(fd, false))
	}
	return fds
}

// TestUnixStream passes a stream through a pair in pieces of every size, with readers
// and writers that wait.
func TestUnixStream(t *testing.T) {
	g := newGuest(t)
	fds := blockingPair(t, g, fs.SOCK_STREAM)
	sent, got := sha256.New(), sha256.New()
	var done sync.WaitGroup
	done.Go(func() {
		rnd := rand.New(rand.NewSource(1))
		for range 200 {
			b := make([]byte, rnd.Intn(300000))
			rnd.Read(b)
			sent.Write(b)
			if n, e := g.Write(fds[0], b); n != len(b) || e != 0 {
				t.Errorf("write: %d of %d, errno %d", n, len(b), e)
			}
		}
		g.Close(fds[0])
	})
	rnd := rand.New(rand.NewSource(2))
	b := make([]byte, 200000)
	for {
		n, e := g.Read(fds[1], b[:1+rnd.Intn(len(b)-1)])
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

// TestUnixRoom fills sockets, and looks for the edge that tells of room.
func TestUnixRoom(t *testing.T) {
	for _, typ := range []int{fs.SOCK_STREAM, fs.SOCK_DGRAM, fs.SOCK_SEQPACKET} {
		a, b, e := openPair(typ, 0)
		ok(t, e)
		var news uint32
		a.Watch(func(events uint32) { news |= events })
		b.Watch(func(uint32) {})
		data := make([]byte, 1000)
		total := 0
		for {
			n, e := a.Send(&fs.Message{Data: [][]byte{data}}, 0)
			if e != 0 {
				want(t, "send to a full socket", e, fs.EAGAIN)
				break
			}
			if total += n; total > 2*unixBuffer {
				t.Fatal("it is never full")
			}
		}
		if a.Ready()&fs.EPOLLOUT != 0 {
			t.Error("full and writable")
		}
		for total > 0 {
			was := a.Ready()
			news = 0
			n, e := b.Receive(&fs.Message{Data: [][]byte{data}}, 0)
			ok(t, e)
			total -= n
			if (was^a.Ready())&fs.EPOLLOUT != 0 && news&fs.EPOLLOUT == 0 {
				t.Error("not told that there is room")
			}
		}
		if a.Ready()&fs.EPOLLOUT == 0 {
			t.Error("empty and not writable")
		}
		a.Close()
		b.Close()
	}
}

// TestUnixCrowd has datagrams come to one that is not connected until it takes no more.
func TestUnixCrowd(t *testing.T) {
	g := newGuest(t)
	s, e := g.socket(fs.AF_UNIX, fs.SOCK_DGRAM, 0)
	ok(t, e)
	c, e := g.socket(fs.AF_UNIX, fs.SOCK_DGRAM, 0)
	ok(t, e)
	addr := unixAddr("\x00crowd")
	ok(t, g.Bind(s, addr))
	ok(t, g.SetSockopt(c, fs.SOL_SOCKET, fs.SO_SNDBUFFORCE, []byte{0, 0, 16, 0}))
	count := 0
	for ; e == 0; count++ {
		_, e = g.Send(c, []byte("x"), 0, addr)
	}
	want(t, "send", e, fs.EAGAIN)
	if count-1 != unixQueue+1 {
		t.Errorf("%d datagrams fit", count-1)
	}
	ok(t, g.SetNonblock(c, false))
	sent := make(chan fs.Errno)
	go func() {
		_, e := g.Send(c, []byte("x"), 0, addr)
		sent <- e
	}()
	select {
	case <-sent:
		t.Error("sent to a full queue")
	case <-time.After(10 * time.Millisecond):
	}
	_, e = g.Read(s, make([]byte, 10))
	ok(t, e)
	ok(t, <-sent)
	ok(t, g.Close(s))
	ok(t, g.Close(c))
}

// TestUnixNameStays has a connection closed that has its listener's name.
func TestUnixNameStays(t *testing.T) {
	g := newGuest(t)
	addr := unixAddr("\x00stays")
	l, e := g.socket(fs.AF_UNIX, fs.SOCK_STREAM, 0)
	ok(t, e)
	ok(t, g.Bind(l, addr))
	ok(t, g.Listen(l, 5))
	for range 2 {
		c, e := g.socket(fs.AF_UNIX, fs.SOCK_STREAM, 0)
		ok(t, e)
		ok(t, g.Connect(c, addr))
		a, _, e := g.Accept(l, 0)
		ok(t, e)
		ok(t, g.Close(a))
	}
	ok(t, g.Close(l))
	if len(unixes.names) != 0 {
		t.Errorf("names are left: %v", unixes.names)
	}
}

// TestUnixWaits has calls wait for a time, for a connection and for an end.
func TestUnixWaits(t *testing.T) {
	g := newGuest(t)
	fds := blockingPair(t, g, fs.SOCK_STREAM)
	timeval := make([]byte, 16)
	timeval[9] = 50 // 12.8 ms
	ok(t, g.SetSockopt(fds[0], fs.SOL_SOCKET, fs.SO_RCVTIMEO, timeval))
	back, e := g.Sockopt(fds[0], fs.SOL_SOCKET, fs.SO_RCVTIMEO)
	ok(t, e)
	if !bytes.Equal(back, timeval) {
		t.Errorf("SO_RCVTIMEO is %v", back)
	}
	begun := time.Now()
	_, e = g.Read(fds[0], make([]byte, 1))
	want(t, "read", e, fs.EAGAIN)
	if since := time.Since(begun); since < 12*time.Millisecond {
		t.Errorf("waited for %v", since)
	}
	end := make(chan int)
	go func() {
		n, _ := g.Read(fds[1], make([]byte, 1))
		end <- n
	}()
	time.Sleep(time.Millisecond)
	ok(t, g.Shutdown(fds[0], fs.SHUT_WR))
	if n := <-end; n != 0 {
		t.Errorf("read %d at the end", n)
	}
	all := make(chan int)
	ok(t, g.SetSockopt(fds[0], fs.SOL_SOCKET, fs.SO_RCVTIMEO, make([]byte, 16)))
	go func() {
		n, _, _ := g.Recv(fds[0], make([]byte, 6), fs.MSG_WAITALL, nil)
		all <- n
	}()
	for range 3 {
		time.Sleep(time.Millisecond)
		_, e := g.Write(fds[1], []byte("ab"))
		ok(t, e)
	}
	if n := <-all; n != 6 {
		t.Errorf("MSG_WAITALL: %d", n)
	}
}

// TestUnixCredentials has a receiver that wants to know who has sent.
func TestUnixCredentials(t *testing.T) {
	g := newGuest(t)
	for _, typ := range []int{fs.SOCK_STREAM, fs.SOCK_DGRAM} {
		fds := blockingPair(t, g, typ)
		ok(t, g.SetSockopt(fds[1], fs.SOL_SOCKET, fs.SO_PASSCRED, []byte{1, 0, 0, 0}))
		control := append(rights(), unixCred{1, 7, 8}.bytes()...)
		control[0], control[12] = 28, fs.SCM_CREDENTIALS
		_, e := g.Sendmsg(fds[0], &fs.Message{Data: [][]byte{{1}}, Control: control}, 0)
		ok(t, e)
		_, e = g.Write(fds[0], []byte{2})
		ok(t, e)
		for _, cred := range []unixCred{{1, 7, 8}, {1, 0, 0}} {
			m := &fs.Message{Data: [][]byte{make([]byte, 10)}, Room: 100}
			n, e := g.Recvmsg(fds[1], m, 0)
			ok(t, e)
			_, typ, data, _, found, _ := fs.NextControl(m.Control)
			if n != 1 || !found || typ != fs.SCM_CREDENTIALS || !bytes.Equal(data, cred.bytes()) {
				t.Errorf("%d bytes with %v, want %v", n, m.Control, cred)
			}
		}
		control[16] = 99 // no such process
		_, e = g.Sendmsg(fds[0], &fs.Message{Data: [][]byte{{1}}, Control: control}, 0)
		want(t, "a process that is not there", e, fs.ESRCH)
	}
}

// TestUnixRightsEnd looks whether descriptors that nobody receives are closed.
func TestUnixRightsEnd(t *testing.T) {
	g := newGuest(t)
	for _, how := range []string{"close", "receive", "no room", "read"} {
		fds := blockingPair(t, g, fs.SOCK_STREAM)
		r, w, e := g.Pipe(fs.O_NONBLOCK)
		ok(t, e)
		_, e = g.Sendmsg(fds[0], &fs.Message{Data: [][]byte{{1}}, Control: rights(r)}, 0)
		ok(t, e)
		ok(t, g.Close(r))
		_, e = g.Write(w, []byte("x"))
		ok(t, e)
		m := &fs.Message{Data: [][]byte{make([]byte, 1)}}
		switch how {
		case "receive":
			m.Room = 24
			_, e = g.Recvmsg(fds[1], m, 0)
			ok(t, e)
			got, _ := takenRights(m.Control)
			ok(t, g.Close(got[0]))
		case "no room":
			_, e = g.Recvmsg(fds[1], m, 0)
			if ok(t, e); m.Flags != fs.MSG_CTRUNC {
				t.Errorf("flags %#x", m.Flags)
			}
		case "read":
			_, e = g.Read(fds[1], m.Data[0])
			ok(t, e)
		}
		ok(t, g.Close(fds[0]))
		ok(t, g.Close(fds[1]))
		_, e = g.Write(w, []byte("x"))
		want(t, how+": write to a pipe without readers", e, fs.EPIPE)
	}
}
