package fs

import (
	"math/rand"
	"os"
	"syscall"
	"testing"
	"time"
)

// outsider is another process, as far as locks are concerned: an open file
// description of its own.
type outsider struct {
	t *testing.T
	f *os.File
}

func newOutsider(t *testing.T, name string) *outsider {
	f, err := os.OpenFile(name, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return &outsider{t, f}
}

func (o *outsider) rangeLock(typ int16, start, n int64) bool {
	fl := syscall.Flock_t{Type: typ, Start: start, Len: n}
	return syscall.FcntlFlock(o.f.Fd(), F_OFD_SETLK, &fl) == nil
}

// sees is what is in the way at a byte.
func (o *outsider) sees(at int64) int16 {
	fl := syscall.Flock_t{Type: F_WRLCK, Start: at, Len: 1}
	if err := syscall.FcntlFlock(o.f.Fd(), F_OFD_GETLK, &fl); err != nil {
		o.t.Fatal(err)
	}
	return fl.Type
}

func (o *outsider) flock(how int) bool { return syscall.Flock(int(o.f.Fd()), how|LOCK_NB) == nil }

// TestLocksOutside: at every byte others see the strongest lock that anybody in the
// machine has, and nobody in the machine gets what others have.
func TestLocksOutside(t *testing.T) {
	const bytes = 12
	for seed := range int64(30) {
		rnd := rand.New(rand.NewSource(seed))
		s := newShareTest(t)
		probe, other := newOutsider(t, s.rw.at("f")), newOutsider(t, s.rw.at("f"))
		var fds [4]int
		for i := range fds {
			fds[i] = s.open("/s/f", []int{O_RDWR, O_RDONLY}[i/3])
		}
		var theirs [bytes]int16 // what other has
		clear := func() { other.rangeLock(F_UNLCK, 0, 0); theirs = [bytes]int16{} }
		for i := range theirs {
			theirs[i] = F_UNLCK
		}
		n := s.inode(fds[0])
		for range 150 {
			i := rnd.Intn(len(fds))
			start := rnd.Int63n(bytes)
			size := rnd.Int63n(bytes-start) + 1
			typ := []int16{F_RDLCK, F_WRLCK, F_UNLCK}[rnd.Intn(3)]
			switch rnd.Intn(12) {
			case 0:
				ok(t, s.Close(fds[i]))
				fds[i] = s.open("/s/f", []int{O_RDWR, O_RDONLY}[i/3])
			case 1:
				if other.rangeLock(typ, start, size) {
					for at := start; at < start+size; at++ {
						theirs[at] = typ
					}
				}
			case 2:
				clear()
				for i := range theirs {
					theirs[i] = F_UNLCK
				}
			default:
				if i == 3 && typ == F_WRLCK {
					typ = F_RDLCK
				}
				taken := false
				for at := start; at < start+size && typ != F_UNLCK; at++ {
					taken = taken || theirs[at] == F_WRLCK || theirs[at] == F_RDLCK && typ == F_WRLCK
				}
				cmd := []int{F_SETLK, F_OFD_SETLK}[rnd.Intn(2)]
				e := s.Lock(fds[i], cmd, &Flock{Type: typ, Start: start, Len: size})
				if taken && e != EAGAIN || e != 0 && e != EAGAIN {
					t.Fatalf("seed %d: errno %d for what others have", seed, e)
				}
			}
			for at := range int64(bytes) {
				want := theirs[at]
				for _, r := range n.locks.ranges {
					if at >= r.start && at <= r.end && (r.write || want == F_UNLCK) {
						want = map[bool]int16{true: F_WRLCK, false: F_RDLCK}[r.write]
					}
				}
				if got := probe.sees(at); got != want {
					t.Fatalf("seed %d: at byte %d others see %d, want %d; %+v", seed, at, got, want, n.locks.ranges)
				}
			}
		}
		for _, fd := range fds {
			s.Close(fd)
		}
		if !probe.rangeLock(F_RDLCK, 0, 0) || len(n.locks.ranges) != 0 {
			t.Fatalf("seed %d: locks are left", seed)
		}
		other.f.Close()
	}
}

// inode is what a descriptor leads to.
func (s *shareTest) inode(fd int) *inode {
	f, e := s.get(fd)
	if e != 0 {
		s.t.Fatal(e)
	}
	defer s.put(f)
	return f.node
}

// later does something in a moment; the channel is closed when it is done.
func later(do func()) chan struct{} {
	done := make(chan struct{})
	go func() {
		defer close(done)
		time.Sleep(20 * time.Millisecond)
		do()
	}()
	return done
}

// TestFlockOutside is the same for flock, with conversions, and the waits for others.
func TestFlockOutside(t *testing.T) {
	s := newShareTest(t)
	o := newOutsider(t, s.rw.at("f"))
	a, b := s.open("/s/f", O_RDONLY), s.open("/s/f", O_RDWR)
	free := func(want bool, what string) {
		t.Helper()
		if got := o.flock(LOCK_EX); got != want {
			t.Errorf("%s: free to others is %v", what, got)
		}
		o.flock(LOCK_UN)
	}
	ok(t, s.Flock(a, LOCK_SH))
	ok(t, s.Flock(b, LOCK_SH))
	free(false, "both share")
	want(t, "one of two to itself", s.Flock(a, LOCK_EX|LOCK_NB), EAGAIN)
	free(false, "the other still shares")
	ok(t, s.Close(a))
	free(false, "its description is closed")
	ok(t, s.Flock(b, LOCK_EX|LOCK_NB))
	if o.flock(LOCK_SH) {
		t.Error("not alone")
	}
	ok(t, s.Flock(b, LOCK_SH))
	if !o.flock(LOCK_SH) {
		t.Error("not shared")
	}
	want(t, "alone beside others", s.Flock(b, LOCK_EX|LOCK_NB), EAGAIN)
	given := later(func() { o.flock(LOCK_UN) })
	ok(t, s.Flock(b, LOCK_EX))
	<-given
	free(false, "waited for")
	ok(t, s.Flock(b, LOCK_UN))
	free(true, "given back")

	o.rangeLock(F_WRLCK, 5, 1)
	fl := Flock{Type: F_RDLCK, Start: 0, Len: 10}
	ok(t, s.Lock(b, F_GETLK, &fl))
	if fl.Type != F_WRLCK || fl.PID != -1 {
		t.Errorf("in the way is %+v", fl)
	}
	want(t, "a range of others", s.Lock(b, F_SETLK, &Flock{Type: F_RDLCK, Start: 0, Len: 10}), EAGAIN)
	given = later(func() { o.rangeLock(F_UNLCK, 0, 0) })
	ok(t, s.Lock(b, F_SETLKW, &Flock{Type: F_WRLCK, Start: 0, Len: 10}))
	<-given
	if o.sees(9) != F_WRLCK || o.sees(10) != F_UNLCK {
		t.Error("not what was waited for")
	}
	ok(t, s.Close(b))
}
