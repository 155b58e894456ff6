package fs

import (
	"os"
	"testing"
)

func newMappedShare(t *testing.T) (*shareTest, *memPages) {
	s := newShareTest(t)
	pages := newMemPages(t)
	s.FS.host.Pages = pages
	return s, pages
}

// TestMapTree: a tree maps the file itself, and the description stays open until the
// last piece of the mapping has gone.
func TestMapTree(t *testing.T) {
	s, pages := newMappedShare(t)
	fd := s.open("/s/f", O_RDWR)
	ok(t, s.Ftruncate(fd, 8*pageSize))
	addr, mem := pages.reserve(8)
	ok(t, s.Map(fd, addr, 8*pageSize, 0, protRead|protWrite))
	copy(mem[3*pageSize:], "by the mapping")
	if b, err := os.ReadFile(s.rw.at("f")); err != nil || string(b[3*pageSize:][:14]) != "by the mapping" {
		t.Errorf("the host has %q, %v", b[3*pageSize:][:14], err)
	}
	s.Pwrite(fd, []byte("by a call"), 5*pageSize)
	if string(mem[5*pageSize:][:9]) != "by a call" {
		t.Errorf("the mapping has %q", mem[5*pageSize:][:9])
	}
	ok(t, s.Close(fd))
	s.rw.asked()
	ok(t, s.Msync(addr, 8*pageSize, msSync))
	ok(t, s.Msync(addr, 8*pageSize, msAsync))
	ok(t, s.Msync(addr+8*pageSize, pageSize, msSync))
	if n := s.rw.asked()["sync"]; n != 1 {
		t.Errorf("%d syncs", n)
	}
	want(t, "both ways at once", s.Msync(addr, pageSize, msSync|msAsync), EINVAL)
	want(t, "not at a page", s.Msync(addr+1, pageSize, msSync), EINVAL)
	s.Unmap(addr+2*pageSize, 2*pageSize)
	if !s.Shared(addr, pageSize) || s.Shared(addr+2*pageSize, 2*pageSize) || !s.Shared(addr+4*pageSize, pageSize) {
		t.Error("the wrong pieces are left")
	}
	s.Unmap(addr, 2*pageSize)
	if len(s.rw.fds) != 1 {
		t.Errorf("%d handles", len(s.rw.fds))
	}
	if found, e := s.Protect(addr+4*pageSize, pageSize, protRead); !found || e != 0 {
		t.Errorf("protect: %v, errno %d", found, e)
	}
	s.Unmap(addr, 8*pageSize)
	if len(s.rw.fds) != 0 || len(s.maps.nodes) != 0 {
		t.Errorf("%d handles, %d files", len(s.rw.fds), len(s.maps.nodes))
	}
}

// TestMapTreeRefused: who may not write may not map to write, then or later.
func TestMapTreeRefused(t *testing.T) {
	s, pages := newMappedShare(t)
	rw, ro, wo := s.open("/s/f", O_RDWR), s.open("/s/f", O_RDONLY), s.open("/s/f", O_WRONLY)
	defer func() { s.Close(rw); s.Close(ro); s.Close(wo) }()
	addr, _ := pages.reserve(1)
	want(t, "write by a read-only descriptor", s.Map(ro, addr, pageSize, 0, protWrite), EACCES)
	want(t, "read by a write-only one", s.Map(wo, addr, pageSize, 0, protRead), EACCES)
	ok(t, s.Map(ro, addr, pageSize, 0, protRead))
	if found, e := s.Protect(addr, pageSize, protRead|protWrite); !found || e != EACCES {
		t.Errorf("protect: %v, errno %d", found, e)
	}
	s.Unmap(addr, pageSize)
	s.rw.unmapped = true
	app := s.open("/s/f", O_RDWR|O_APPEND)
	defer s.Close(app)
	want(t, "by one that only appends", s.Map(app, addr, pageSize, 0, protRead|protWrite), ENODEV)
	if s.Shared(addr, pageSize) || len(s.maps.nodes) != 0 {
		t.Error("something is left of what was refused")
	}
}

// TestTreeSync: which sync is asked of the tree.
func TestTreeSync(t *testing.T) {
	s := newShareTest(t)
	for flags, each := range map[int]int{O_RDWR: 0, O_RDWR | O_DSYNC: 1, O_WRONLY | O_SYNC: 1, O_WRONLY | O_APPEND | O_SYNC: 1} {
		fd := s.open("/s/f", flags)
		s.rw.asked()
		s.Write(fd, []byte("text"))
		s.Pwrite(fd, []byte("text"), 3)
		if asked := s.rw.asked(); asked["write"] != 2 || asked["sync"] != 2*each || len(asked) > 2 {
			t.Errorf("flags %#x: %v", flags, asked)
		}
		if got, _ := s.Fcntl(fd, F_GETFL, 0); got&O_SYNC != flags&O_SYNC {
			t.Errorf("flags %#x are shown as %#x", flags, got)
		}
		s.Close(fd)
	}
	data := s.rw.data
	fd := s.open("/s/f", O_RDWR|O_DSYNC)
	defer s.Close(fd)
	s.Fsync(fd, true)
	s.Fsync(fd, false)
	s.Write(fd, []byte("x"))
	if s.rw.data != data+2 {
		t.Errorf("%d times only the data", s.rw.data-data)
	}
}

// TestTreeRoom: statfs tells what the tree says, of an open file without a name too.
func TestTreeRoom(t *testing.T) {
	s := newShareTest(t)
	fd := s.open("/s/f", O_RDWR)
	defer s.Close(fd)
	st, e := s.StatfsAt("/s/f")
	open, e2 := s.Fstatfs(fd)
	if e != 0 || e2 != 0 || st.Blocks == 0 || st.Type != v9fsMagic || open.Blocks != st.Blocks || st.Flags&1 != 0 {
		t.Errorf("%+v, errno %d; %+v, errno %d", st, e, open, e2)
	}
	if st, e := s.StatfsAt("/s/made/for/ro"); e != 0 || st.Flags&1 == 0 {
		t.Errorf("%+v, errno %d", st, e)
	}
	want(t, "chown", s.Fchown(fd, 4242, 1), EPERM)
	if n := s.rw.asked()["chown"]; n != 1 {
		t.Errorf("%d times asked", n)
	}
}
