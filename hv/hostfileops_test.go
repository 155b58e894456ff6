package hv

import (
	"math"
	"os"
	"path/filepath"
	"testing"

	"github.com/pvrun/pvrun/hypercall"
	"golang.org/x/sys/unix"
)

// TestHostFileArguments: flags, lengths and offsets that an operation does not know.
func TestHostFileArguments(t *testing.T) {
	s := newShare(t, true)
	h := uint64(s.open("f", hypercall.HostFileRDWR))
	d := uint64(s.open("d", 0))
	ro := uint64(s.open("f", 0))
	const max = math.MaxInt64
	type args = hypercall.HostFileArgs
	for _, test := range []struct {
		name string
		want hypercall.Status
		a    args
	}{
		{"a flag of sync's", hypercall.EINVAL, args{Op: hypercall.HostFileSync, Flags: 2}},
		{"sync with a length", hypercall.EINVAL, args{Op: hypercall.HostFileSync, Length: 1}},
		{"sync", 0, args{Op: hypercall.HostFileSync}},
		{"sync the data", 0, args{Op: hypercall.HostFileSync, Flags: hypercall.HostFileDataOnly}},
		{"sync a folder", 0, args{Op: hypercall.HostFileSync, Handle: d, Flags: hypercall.HostFileDataOnly}},
		{"a flag of read's", hypercall.EINVAL, args{Op: hypercall.HostFileRead, Flags: 1}},
		{"a flag of stat's", hypercall.EINVAL, args{Op: hypercall.HostFileStat, Flags: 1, BufLen: 80}},
		{"a flag of set times'", hypercall.EINVAL, args{Op: hypercall.HostFileSetTimes, Flags: 1, BufLen: 16}},
		{"allocate nothing", hypercall.EINVAL, args{Op: hypercall.HostFileAllocate}},
		{"allocate too much", hypercall.EINVAL, args{Op: hypercall.HostFileAllocate, Length: 1 << 63}},
		{"allocate beyond all", hypercall.EFBIG, args{Op: hypercall.HostFileAllocate, Offset: max, Length: 1}},
		{"allocate far away", hypercall.EFBIG, args{Op: hypercall.HostFileAllocate, Offset: max - 5, Length: 3}},
		{"collapse", hypercall.EINVAL, args{Op: hypercall.HostFileAllocate, Length: 4096, Flags: 8}},
		{"punch and grow", hypercall.EOPNOTSUPP, args{Op: hypercall.HostFileAllocate, Length: 4096, Flags: hypercall.HostFilePunchHole}},
		{"allocate by a read-only handle", hypercall.EBADF, args{Op: hypercall.HostFileAllocate, Handle: ro, Length: 1}},
		{"allocate", 0, args{Op: hypercall.HostFileAllocate, Length: 8192, Flags: hypercall.HostFileKeepSize}},
		{"a flag of seek's", hypercall.EINVAL, args{Op: hypercall.HostFileSeek, Flags: 2}},
		{"data behind the end", hypercall.ENXIO, args{Op: hypercall.HostFileSeek, Offset: 1 << 40}},
		{"data in a folder", hypercall.EINVAL, args{Op: hypercall.HostFileSeek, Handle: d}},
		{"no kind of lock", hypercall.EINVAL, args{Op: hypercall.HostFileLock}},
		{"no kind of whole lock", hypercall.EINVAL, args{Op: hypercall.HostFileLock, Flags: hypercall.HostFileLockWhole}},
		{"a flag of lock's", hypercall.EINVAL, args{Op: hypercall.HostFileLock, Flags: 4}},
		{"a whole lock with a place", hypercall.EINVAL, args{Op: hypercall.HostFileLock, Flags: 0x11, Offset: 1}},
		{"a whole lock with a length", hypercall.EINVAL, args{Op: hypercall.HostFileLock, Flags: 0x11, Length: 1}},
		{"a long lock", hypercall.EINVAL, args{Op: hypercall.HostFileLock, Flags: 1, Length: 1 << 63}},
		{"a lock too far", hypercall.EINVAL, args{Op: hypercall.HostFileLock, Flags: 1, Offset: max, Length: 2}},
		{"the last byte", 0, args{Op: hypercall.HostFileLock, Flags: 1, Offset: max, Length: 1}},
		{"all bytes", 0, args{Op: hypercall.HostFileLock, Flags: 2}},
		{"of another handle", hypercall.EAGAIN, args{Op: hypercall.HostFileLock, Flags: 1, Handle: ro, Offset: 5, Length: 1}},
		{"to write without the right", hypercall.EBADF, args{Op: hypercall.HostFileLock, Flags: 2, Handle: ro}},
		{"give it back", 0, args{Op: hypercall.HostFileLock, Flags: 3}},
		{"whole", 0, args{Op: hypercall.HostFileLock, Flags: 0x12}},
		{"whole of another handle", hypercall.EAGAIN, args{Op: hypercall.HostFileLock, Flags: 0x11, Handle: ro}},
	} {
		if test.a.Handle == 0 {
			test.a.Handle = h
		}
		s.errno(test.name, s.do(test.a, ""), test.want)
	}
	s.do(args{Op: hypercall.HostFileClose, Handle: h}, "")
	s.errno("after the other is closed", s.do(args{Op: hypercall.HostFileLock, Flags: 0x11, Handle: ro}, ""), 0)
}

// TestHostFileHoles: what is punched is a hole, and found as one.
func TestHostFileHoles(t *testing.T) {
	s := newMapShare(t)
	do := func(op hypercall.HostFileOp, flags uint32, off, n int64) int64 {
		return s.do(hypercall.HostFileArgs{Op: op, Handle: 1, Flags: flags, Offset: off, Length: uint64(n)}, "")
	}
	punch := uint32(hypercall.HostFilePunchHole | hypercall.HostFileKeepSize)
	if r := do(hypercall.HostFileAllocate, punch, 4*pageSize, 2*pageSize); r == -int64(hypercall.EOPNOTSUPP) {
		t.Skip("this file system has no holes")
	} else if r != 0 {
		t.Fatal(r)
	}
	for _, test := range []struct {
		flags uint32
		from  int64
		want  int64
	}{{0, 100, 100}, {hypercall.HostFileHole, 0, 4 * pageSize}, {0, 5 * pageSize, 6 * pageSize}, {hypercall.HostFileHole, 7 * pageSize, filePages * pageSize}} {
		if got := do(hypercall.HostFileSeek, test.flags, test.from, 0); got != test.want {
			t.Errorf("%+v: %d", test, got)
		}
	}
	for i, want := range []int64{30 * pageSize, 31 * pageSize} {
		if r := do(hypercall.HostFileAllocate, uint32(i)*hypercall.HostFileZeroRange, 25*pageSize, want-25*pageSize); r != 0 {
			t.Fatal(r)
		}
		if st, _ := os.Stat(s.files[0]); st.Size() != want {
			t.Errorf("size %d, want %d", st.Size(), want)
		}
	}
}

// TestHostFileLinkTimes: with NOFOLLOW a link's own times are set, wherever it leads,
// and nothing outside.
func TestHostFileLinkTimes(t *testing.T) {
	s := newShare(t, true)
	before, _ := os.Stat(s.out)
	for _, name := range []string{"relative", "absolute", "f", "d", ".", "loop", "fifo", "d/../inside"} {
		times := hypercall.HostFileTimes{ATime: 1e18 + 1, MTime: 1e18 + 2}
		s.space.copyOut(bufAt, bytesOf(&times))
		a := hypercall.HostFileArgs{Op: hypercall.HostFileSetTimes, Flags: hypercall.HostFileNOFOLLOW, BufLen: 16}
		s.errno(name, s.do(a, name), 0)
		if st, err := os.Lstat(filepath.Join(s.dir, name)); err != nil || st.ModTime().UnixNano() != 1e18+2 {
			t.Errorf("%s: %v, %v", name, st.ModTime(), err)
		}
		s.space.copyOut(bufAt, bytesOf(&times))
		if r := s.do(a, "folder/x"); r >= 0 {
			t.Errorf("outside: %d", r)
		}
	}
	if after, _ := os.Stat(s.out); !after.ModTime().Equal(before.ModTime()) {
		t.Error("the file outside has other times")
	}
}

func TestHostFileStatfs(t *testing.T) {
	s := newShare(t, true)
	h := uint64(s.open("f", 0))
	var want unix.Statfs_t
	if err := unix.Statfs(s.dir, &want); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{"f", ".", "absolute", ""} {
		var got hypercall.HostFileFS
		if r := s.do(hypercall.HostFileArgs{Op: hypercall.HostFileStatfs, Handle: h, BufLen: 56}, path); r != 56 {
			t.Fatalf("%q: %d", path, r)
		}
		s.space.copyIn(bytesOf(&got), bufAt)
		if got.Blocks != want.Blocks || got.BlockSize != uint64(want.Frsize) || got.Files != want.Files || got.NameMax != uint64(want.Namelen) {
			t.Errorf("%q: %+v, want %+v", path, got, want)
		}
	}
}
