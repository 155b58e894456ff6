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

// TestProcTask: each live thread has a folder of its own.
func TestProcTask(t *testing.T) {
	h := &fakeHost{known: map[int32]bool{}, events: map[int32]uint32{}}
	host := h.host()
	threads := []Thread{
		{ID: 1, Live: 2, Name: "prog"},
		{ID: 7, Live: 2, Name: "other", UID: [4]uint32{1, 2, 3, 4}, GID: [4]uint32{5, 6, 7, 4294967294}, Groups: []uint32{8, 9},
			CapInh: 1, CapPrm: 3, CapEff: 2, CapBnd: 0x1ffffffffff},
	}
	host.NextThread = func(id int) (Thread, bool) {
		for _, t := range threads {
			if t.ID >= id {
				return t, true
			}
		}
		return Thread{}, false
	}
	host.ThreadID = func() int { return 7 }
	fs := New(host)

	same(t, get(t, fs, "/proc/thread-self/status"), "Name:\tother\nUmask:\t0022\nState:\tR (running)\nTgid:\t1\nPid:\t7\n"+
		"PPid:\t0\nTracerPid:\t0\nUid:\t1\t2\t3\t4\nGid:\t5\t6\t7\t4294967294\nFDSize:\t64\nGroups:\t8 9 \n"+
		"VmSize:\t1048576 kB\nVmRSS:\t1048576 kB\nThreads:\t2\nCapInh:\t0000000000000001\nCapPrm:\t0000000000000003\n"+
		"CapEff:\t0000000000000002\nCapBnd:\t000001ffffffffff\nCapAmb:\t0000000000000000\nNoNewPrivs:\t0\nSeccomp:\t0\n")
	same(t, get(t, fs, "/proc/self/task/7/comm"), "other\n")
	same(t, get(t, fs, "/proc/self/comm"), "prog\n")
	b := make([]byte, 100)
	n, e := fs.Readlink(AT_FDCWD, "/proc/thread-self", b)
	ok(t, e)
	same(t, string(b[:n]), "1/task/7")
	names := list(t, fs, "/proc/self/task")
	if len(names) != 2 {
		t.Errorf("task has %v", names)
	}
	st, e := fs.Fstatat(AT_FDCWD, "/proc/self/task/7", 0)
	ok(t, e)
	again, _ := fs.Fstatat(AT_FDCWD, "/proc/1/task/7", 0)
	if st.Ino != again.Ino || st.Mode != S_IFDIR|0o555 {
		t.Errorf("stat: %+v, then %+v", st, again)
	}
	_, e = fs.Fstatat(AT_FDCWD, "/proc/self/task/2", 0)
	want(t, "no such thread", e, ENOENT)
	want(t, "mkdir", fs.Mkdir(AT_FDCWD, "/proc/self/task/x", 0o755), ENOENT)
}
