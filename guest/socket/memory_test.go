package socket

import (
	"runtime"
	"testing"
	"time"

	"github.com/pvrun/pvrun/guest/fs"
)

func heap() int {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int(m.HeapAlloc)
}

// TestConnectionMemory: what an idle connection takes, and that nothing is left of it.
func TestConnectionMemory(t *testing.T) {
	const count, most = 1000, 12 << 10 // connections, bytes of each of their ends
	n := newLoopback(t)
	l := listening(t, n, "127.0.0.1:0")
	before := heap()
	var open []*peer
	for range count {
		a := open4(t, n, inetStream)
		if e := a.connect(l.local()); e != 0 {
			t.Fatalf("connect: errno %d", e)
		}
		open = append(open, a, l.accept())
	}
	if each := (heap() - before) / (2 * count); each > most {
		t.Errorf("%d bytes for each end", each)
	}
	for _, p := range open {
		p.Close()
	}
	clear(open)
	for range 9 * count {
		a := open4(t, n, inetStream)
		if e := a.connect(l.local()); e != 0 {
			t.Fatalf("connect: errno %d", e)
		}
		b := l.accept()
		a.Close()
		b.Close()
	}
	time.Sleep(timeWait + time.Second)
	if left := heap() - before; left > 20<<20 { // one that leaks a connection takes 60
		t.Errorf("%d bytes are left of %d connections", left, 10*count)
	}
}

// forgetful is whether pools lose what they are given.
var forgetful bool

// TestStreamAllocations: what goes through a connection needs no new memory.
func TestStreamAllocations(t *testing.T) {
	n := newLoopback(t)
	l := listening(t, n, "127.0.0.1:0")
	a := open4(t, n, inetStream)
	if e := a.connect(l.local()); e != 0 {
		t.Fatalf("connect: errno %d", e)
	}
	b := l.accept()
	m := fs.Message{Data: [][]byte{make([]byte, 128)}}
	each := testing.AllocsPerRun(1000, func() {
		if _, e := a.Send(&m, 0); e != 0 {
			t.Fatalf("send: errno %d", e)
		}
		_, e := b.Receive(&m, 0)
		for ; e == fs.EAGAIN; _, e = b.Receive(&m, 0) {
			runtime.Gosched() // to wait takes memory
		}
		if e != 0 {
			t.Fatalf("receive: errno %d", e)
		}
	})
	if each > 0 && !forgetful {
		t.Errorf("%v allocations to send and receive", each)
	}
}
