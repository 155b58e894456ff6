package fs

import (
	"strings"
	"testing"
)

// TestProcMaps: lines are Linux's to the byte.
func TestProcMaps(t *testing.T) {
	h := &fakeHost{known: map[int32]bool{}, events: map[int32]uint32{}}
	host := h.host()
	pages := newMemPages(t)
	host.Pages = pages
	host.Areas = func() []Area {
		return []Area{
			{Start: 0x400000, End: 0x496000, Prot: protRead | protExec, Program: true},
			{Start: 0x496000, End: 0x562000, Prot: protRead, Program: true, Offset: 0x96000},
			{Start: 0x562000, End: 0x56b000, Prot: protRead | protWrite, Program: true, Offset: 0x162000},
			{Start: 0x56b000, End: 0x5a1000, Prot: protRead | protWrite},
			{Start: 0xc000000000, End: 0xc000400000, Prot: protRead | protWrite},
			{Start: 0xc000400000, End: 0xc000500000, Prot: protRead | protWrite},
			{Start: 0xc000500000, End: 0xc004000000},
			{Start: 0xffffd004e0000, End: 0xffffd00500000, Prot: protRead | protWrite, Name: "[stack]"},
			{Start: 0x1000, End: 0x2000, Prot: protRead | protExec, Name: "[first]"},
		}
	}
	fs := New(host)
	put(t, fs, "/tmp/a file\nwith two lines", strings.Repeat("x", 3*pageSize))
	fd, e := fs.Open(AT_FDCWD, "/tmp/a file\nwith two lines", O_RDWR, 0)
	ok(t, e)
	addr, _ := pages.reserve(2)
	ok(t, fs.Map(fd, addr, 2*pageSize, pageSize, protRead))
	st, e := fs.Fstat(fd)
	ok(t, e)
	line := mapLine{start: addr, end: addr + 2*pageSize, prot: protRead, shared: true, offset: pageSize,
		dev: st.Dev, ino: st.Ino, name: "/tmp/a file\nwith two lines"}
	var b strings.Builder
	line.print(&b)
	ok(t, fs.Unlink(AT_FDCWD, "/tmp/a file\nwith two lines", 0))
	ok(t, fs.Close(fd))

	same(t, get(t, fs, "/proc/self/maps"), ""+
		"00001000-00002000 r-xp 00000000 00:00 0                                  [first]\n"+
		"00400000-00496000 r-xp 00000000 00:15 1                                  /bin/prog\n"+
		"00496000-00562000 r--p 00096000 00:15 1                                  /bin/prog\n"+
		"00562000-0056b000 rw-p 00162000 00:15 1                                  /bin/prog\n"+
		"0056b000-005a1000 rw-p 00000000 00:00 0 \n"+
		"c000000000-c000500000 rw-p 00000000 00:00 0 \n"+
		"c000500000-c004000000 ---p 00000000 00:00 0 \n"+
		strings.Replace(b.String(), "lines\n", "lines (deleted)\n", 1)+
		"ffffd004e0000-ffffd00500000 rw-p 00000000 00:00 0                        [stack]\n")
	if !strings.HasSuffix(b.String(), `/tmp/a file\012with two lines`+"\n") || !strings.Contains(b.String(), " r--s 00001000 00:") {
		t.Errorf("got %q", b.String())
	}
}

func same(t *testing.T, got, want string) {
	t.Helper()
	if got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
}
