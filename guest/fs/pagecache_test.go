package fs

import (
	"bytes"
	"math/rand/v2"
	"os"
	"testing"
)

// newKeptShare is a share whose files cannot be shown themselves.
func newKeptShare(t *testing.T) (*shareTest, *memPages) {
	s, pages := newMappedShare(t)
	s.rw.unmapped = true
	return s, pages
}

// onHost is what the host has of the file.
func (s *shareTest) onHost(name string) []byte {
	b, err := os.ReadFile(s.rw.at(name))
	if err != nil {
		s.t.Fatal(err)
	}
	return b
}

// TestKeptFlush: what was written to a mapping is on the host after each of the
// calls that promise it, and not lost by the others.
func TestKeptFlush(t *testing.T) {
	for name, flush := range map[string]func(s *shareTest, fd int, addr uintptr){
		"msync":  func(s *shareTest, _ int, addr uintptr) { ok(t, s.Msync(addr, 4*pageSize, msSync)) },
		"fsync":  func(s *shareTest, fd int, _ uintptr) { ok(t, s.Fsync(fd, false)) },
		"munmap": func(s *shareTest, _ int, addr uintptr) { s.Unmap(addr, 4*pageSize) },
		"end":    func(s *shareTest, _ int, _ uintptr) { s.FlushMapped() },
	} {
		t.Run(name, func(t *testing.T) {
			s, pages := newKeptShare(t)
			fd := s.open("/s/f", O_RDWR)
			ok(t, s.Ftruncate(fd, 3*pageSize+10))
			addr, mem := pages.reserve(4)
			ok(t, s.Map(fd, addr, 4*pageSize, 0, protRead|protWrite))
			copy(mem[pageSize:], "first")
			copy(mem[3*pageSize:], "0123456789behind")
			flush(s, fd, addr)
			b := s.onHost("f")
			if len(b) != 3*pageSize+10 || string(b[pageSize:][:5]) != "first" || string(b[3*pageSize:]) != "0123456789" {
				t.Errorf("%d bytes, %q %q", len(b), b[pageSize:][:5], b[3*pageSize:])
			}
			s.Unmap(addr, 4*pageSize)
			ok(t, s.Close(fd))
			if len(s.rw.fds) != 0 || len(s.maps.nodes) != 0 || pages.live != 0 {
				t.Errorf("%d handles, %d files, %d pages are left", len(s.rw.fds), len(s.maps.nodes), pages.live)
			}
		})
	}
}

// TestKeptOnlyRead: a mapping that was never writable costs a sync nothing, whatever
// its descriptor may; one that was is flushed, though it is not any more.
func TestKeptOnlyRead(t *testing.T) {
	s, pages := newKeptShare(t)
	fd := s.open("/s/f", O_RDWR)
	ok(t, s.Ftruncate(fd, 4*pageSize))
	addr, mem := pages.reserve(4)
	ok(t, s.Map(fd, addr, 4*pageSize, 0, protRead))
	protect := func(prot int) {
		if found, e := s.Protect(addr+pageSize, 2*pageSize, prot); !found || e != 0 {
			t.Fatalf("protect: %v, %v", found, e)
		}
	}
	s.Pwrite(fd, []byte("called"), 0)
	s.rw.asked()
	ok(t, s.Fsync(fd, false))
	if n := s.rw.asked()["read"]; n != 0 {
		t.Errorf("a mapping to be read was read %d times for a sync", n)
	}
	protect(protRead | protWrite)
	copy(mem[2*pageSize:], "mapped")
	protect(protRead)
	ok(t, s.Fsync(fd, false))
	if b := s.onHost("f"); string(b[:6]) != "called" || string(b[2*pageSize:][:6]) != "mapped" {
		t.Errorf("the host has %q and %q", b[:6], b[2*pageSize:][:6])
	}
	s.Unmap(addr, 4*pageSize)
	ok(t, s.Close(fd))
}

// TestKeptClosed: a mapping stays whole when its descriptor is closed and its file
// removed.
func TestKeptClosed(t *testing.T) {
	s, pages := newKeptShare(t)
	fd := s.open("/s/f", O_RDWR)
	ok(t, s.Ftruncate(fd, 2*pageSize))
	addr, mem := pages.reserve(2)
	ok(t, s.Map(fd, addr, 2*pageSize, 0, protRead|protWrite))
	ok(t, s.Close(fd))
	other := s.open("/s/f", O_RDWR)
	copy(mem[100:], "mapped")
	b := make([]byte, 6)
	if s.Pread(other, b, 100); string(b) != "mapped" {
		t.Errorf("%q", b)
	}
	s.Pwrite(other, []byte("called"), 200)
	if string(mem[200:206]) != "called" {
		t.Errorf("%q", mem[200:206])
	}
	ok(t, s.Unlink(AT_FDCWD, "/s/f", 0))
	ok(t, s.Close(other))
	mem[0] = 1
	s.Unmap(addr, 2*pageSize)
	if len(s.rw.fds) != 0 || pages.live != 0 {
		t.Errorf("%d handles, %d pages are left", len(s.rw.fds), pages.live)
	}
}

// TestKeptModel does things at random to a file by calls and by mappings.
func TestKeptModel(t *testing.T) {
	const most = 12 // pages
	s, pages := newKeptShare(t)
	fd := s.open("/s/f", O_RDWR)
	defer s.Close(fd)
	r := rand.New(rand.NewPCG(1, 2))
	var model []byte
	resize := func(n int) { model = append(model[:min(n, len(model))], make([]byte, max(0, n-len(model)))...) }
	resize(0)
	ok(t, s.Ftruncate(fd, 0))
	addr, mem := pages.reserve(most)
	mapped := false
	for i := range 4000 {
		off := r.IntN(most*pageSize - 3000)
		data := bytes.Repeat([]byte{byte(i)}, 1+r.IntN(3000))
		switch r.IntN(8) {
		case 0, 1:
			s.Pwrite(fd, data, int64(off))
			resize(max(len(model), off+len(data)))
			copy(model[off:], data)
		case 2, 3:
			if mapped && off+len(data) <= len(model) {
				copy(mem[off:], data)
				copy(model[off:], data)
			}
		case 4:
			if r.IntN(4) == 0 {
				ok(t, s.Ftruncate(fd, int64(off)))
				resize(off)
			}
		case 5:
			ok(t, s.Fallocate(fd, FALLOC_FL_PUNCH_HOLE|FALLOC_FL_KEEP_SIZE, int64(off), int64(len(data))))
			if off < len(model) {
				clear(model[off:min(len(model), off+len(data))])
			}
		case 6:
			if mapped = !mapped; mapped {
				ok(t, s.Map(fd, addr, most*pageSize, 0, protRead|protWrite))
			} else {
				s.Unmap(addr, most*pageSize)
			}
		case 7:
			ok(t, s.Fsync(fd, false))
			if b := s.onHost("f"); !bytes.Equal(b, model) {
				t.Fatalf("step %d: the host has something else", i)
			}
		}
		got := make([]byte, len(model)+1)
		if n, _ := s.Pread(fd, got, 0); n != len(model) || !bytes.Equal(got[:n], model) {
			t.Fatalf("step %d: a read shows something else", i)
		}
		if mapped && !bytes.Equal(mem[:len(model)], model) {
			t.Fatalf("step %d: the mapping shows something else", i)
		}
	}
	if mapped {
		s.Unmap(addr, most*pageSize)
	}
}
