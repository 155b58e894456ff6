package bubble

import (
	"bytes"
	"io"
	"net"
	"runtime"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// TestConnection: what serves a connection that was made in a bubble outlives that.
func TestConnection(t *testing.T) {
	for range 2 {
		synctest.Test(t, connect)
	}
}

func connect(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		c, err := l.Accept()
		if err != nil {
			t.Error(err)
			return
		}
		io.WriteString(c, "hello")
		c.Close()
	}()
	c, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if b, err := io.ReadAll(c); err != nil || string(b) != "hello" {
		t.Errorf("got %q, %v", b, err)
	}
}

// TestSystemCall: who waits in a system call keeps a bubble's time from going on.
func TestSystemCall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var p [2]int
		if err := syscall.Pipe(p[:]); err != nil {
			t.Fatal(err)
		}
		start := time.Now()
		go func() {
			b := make([]byte, 1)
			n, err := syscall.Read(p[0], b)
			if n != 1 || err != nil || time.Since(start) != 0 {
				t.Errorf("read %d, %v after %s", n, err, time.Since(start))
			}
		}()
		wait := syscall.Timespec{Nsec: 20e6}
		if err := syscall.Nanosleep(&wait, nil); err != nil {
			t.Error(err)
		}
		if d := time.Since(start); d != 0 {
			t.Errorf("%s have passed", d)
		}
		go func() {
			if _, err := syscall.Write(p[1], []byte{1}); err != nil {
				t.Error(err)
			}
		}()
		time.Sleep(time.Hour)
	})
}

// TestNoGoroutines: what serves a connection is not the program's, and who looks for
// goroutines that are left over does not see it.
func TestNoGoroutines(t *testing.T) {
	connect(t)
	all := make([]byte, 1<<16)
	all = all[:runtime.Stack(all, true)]
	if bytes.Contains(all, []byte("pvrun/")) {
		t.Errorf("got\n%s", all)
	}
}
