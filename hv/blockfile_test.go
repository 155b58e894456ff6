package hv

import (
	"bytes"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"

	"github.com/pvrun/pvrun/hypercall"
	"golang.org/x/sys/unix"
)

// fileGuest is the guest's side of StartInfo.FileRing, with a file that is open as
// handle 7 in a writable folder and as handle 8 in one that is not.
type fileGuest struct {
	*ringGuest
	name string
}

func newFileGuest(t *testing.T) *fileGuest {
	t.Helper()
	vm := newTestVM(t, 700)
	name := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(name, bytes.Repeat([]byte{0xd1}, 10000), 0o600); err != nil {
		t.Fatal(err)
	}
	root, err := os.OpenRoot(filepath.Dir(name))
	if err != nil {
		t.Fatal(err)
	}
	vm.cfg.Shares = []Share{{Root: root, Guest: "/w", Writable: true}, {Root: root, Guest: "/r"}}
	if err := vm.loadRings(); err != nil {
		t.Fatal(err)
	}
	vm.files.open = map[uint64]*hostHandle{}
	for i, flags := range []int{os.O_RDWR, os.O_RDONLY} {
		f, err := os.OpenFile(name, flags, 0)
		if err != nil {
			t.Fatal(err)
		}
		vm.files.open[uint64(7+i)] = &hostHandle{f: f, share: uint32(i)}
	}
	t.Cleanup(func() {
		if vm.block.close() != nil || vm.files.close() != nil || root.Close() != nil {
			t.Error("close")
		}
	})
	if vm.start.info.FileRing != ringGVA(0) {
		t.Errorf("FileRing %#x", vm.start.info.FileRing)
	}
	g := &fileGuest{&ringGuest{TB: t, vm: vm, ring: vm.block.rings[0].shared}, name}
	g.mapRW(scratch, 1<<20+2*pageSize)
	return g
}

// call makes one request with arguments in guest memory.
func (g *fileGuest) call(a hypercall.HostFileArgs) int64 {
	g.Helper()
	const at = testData + 1000
	g.vm.space.copyOut(at, bytesOf(&a))
	return g.do(hypercall.BlockRequest{Op: hypercall.BlockHostFile, Segments: [2]hypercall.BlockSegment{{Addr: at}}})
}

func TestFileRing(t *testing.T) {
	g := newFileGuest(t)
	rw := hypercall.HostFileArgs{Handle: 7, Buf: scratch + 100, BufLen: 5000}
	with := func(op hypercall.HostFileOp, off int64) hypercall.HostFileArgs {
		a := rw
		a.Op, a.Offset = op, off
		return a
	}
	for name, c := range map[string]struct {
		args hypercall.HostFileArgs
		want int64
	}{
		"read":           {with(hypercall.HostFileRead, 0), 5000},
		"a part":         {with(hypercall.HostFileRead, 9000), 1000},
		"at the end":     {with(hypercall.HostFileRead, 10000), 0},
		"behind it":      {with(hypercall.HostFileRead, 1<<40), 0},
		"write":          {with(hypercall.HostFileWrite, 0), 5000},
		"nothing":        {hypercall.HostFileArgs{Op: hypercall.HostFileWrite, Handle: 7, Buf: 1 << 50}, 0},
		"sync":           {hypercall.HostFileArgs{Op: hypercall.HostFileSync, Handle: 7}, 0},
		"sync data":      {hypercall.HostFileArgs{Op: hypercall.HostFileSync, Handle: 7, Flags: hypercall.HostFileDataOnly}, 0},
		"sync read-only": {hypercall.HostFileArgs{Op: hypercall.HostFileSync, Handle: 8, Share: 1}, 0},
		"allocate":       {hypercall.HostFileArgs{Op: hypercall.HostFileAllocate, Handle: 7, Length: 4096, Flags: hypercall.HostFileKeepSize}, 0},

		"handle of another share": {hypercall.HostFileArgs{Op: hypercall.HostFileSync, Handle: 8}, -int64(unix.EBADF)},
		"no handle":               {hypercall.HostFileArgs{Op: hypercall.HostFileSync, Handle: 9}, -int64(unix.EBADF)},
		"no share":                {hypercall.HostFileArgs{Op: hypercall.HostFileSync, Handle: 7, Share: 2}, -int64(unix.EINVAL)},
		"read-only share":         {hypercall.HostFileArgs{Op: hypercall.HostFileWrite, Handle: 8, Share: 1, Buf: scratch, BufLen: 1}, -int64(unix.EROFS)},
		"open":                    {hypercall.HostFileArgs{Op: hypercall.HostFileOpen, Path: testData, PathLen: 4}, -int64(unix.EINVAL)},
		"close":                   {with(hypercall.HostFileClose, 0), -int64(unix.EINVAL)},
		"unknown":                 {with(1000, 0), -int64(unix.EINVAL)},
		"negative":                {with(hypercall.HostFileRead, -1), -int64(unix.EINVAL)},
		"a flag":                  {hypercall.HostFileArgs{Op: hypercall.HostFileSync, Handle: 7, Flags: 2}, -int64(unix.EINVAL)},
		"a length":                {hypercall.HostFileArgs{Op: hypercall.HostFileSync, Handle: 7, Length: 2}, -int64(unix.EINVAL)},
		"a lock of no kind":       {hypercall.HostFileArgs{Op: hypercall.HostFileLock, Handle: 7, Flags: 0x100}, -int64(unix.EINVAL)},
		"a lock's flag":           {hypercall.HostFileArgs{Op: hypercall.HostFileLock, Handle: 7, Flags: 0x20 | hypercall.HostFileLockShared}, -int64(unix.EINVAL)},
		"a place's flag":          {hypercall.HostFileArgs{Op: hypercall.HostFileSeek, Handle: 7, Flags: 2}, -int64(unix.EINVAL)},
		"a stat's flag":           {hypercall.HostFileArgs{Op: hypercall.HostFileStat, Handle: 7, Flags: 1, Buf: scratch, BufLen: 80}, -int64(unix.EINVAL)},
		"a stat's length":         {hypercall.HostFileArgs{Op: hypercall.HostFileStat, Handle: 7, Length: 1, Buf: scratch, BufLen: 80}, -int64(unix.EINVAL)},
		"allocate's flag":         {hypercall.HostFileArgs{Op: hypercall.HostFileAllocate, Handle: 7, Length: 1, Flags: 8}, -int64(unix.EINVAL)},
		"too long":                {hypercall.HostFileArgs{Op: hypercall.HostFileRead, Handle: 7, Buf: scratch, BufLen: hypercall.MaxConsole + 1}, -int64(unix.EINVAL)},
		"into what is read-only":  {hypercall.HostFileArgs{Op: hypercall.HostFileRead, Handle: 7, Buf: testROM, BufLen: 1}, -int64(unix.EFAULT)},
		"from nowhere":            {hypercall.HostFileArgs{Op: hypercall.HostFileWrite, Handle: 7, Buf: 1 << 46, BufLen: 1}, -int64(unix.EFAULT)},
		"allocate a negative":     {hypercall.HostFileArgs{Op: hypercall.HostFileAllocate, Handle: 7, Length: 1 << 63}, -int64(unix.EINVAL)},
	} {
		if got := g.call(c.args); got != c.want {
			t.Errorf("%s: %d, want %d", name, got, c.want)
		}
	}
	if got := g.do(hypercall.BlockRequest{Op: hypercall.BlockFlush}); got != -int64(unix.EINVAL) {
		t.Errorf("a disk's request: %d", got)
	}
	if got := g.do(hypercall.BlockRequest{Op: hypercall.BlockHostFile, Segments: [2]hypercall.BlockSegment{{Addr: testROM + 2*pageSize - 8}}}); got != -int64(unix.EFAULT) {
		t.Errorf("arguments that are not there: %d", got)
	}
	if n := len(g.vm.mem.extra); n != 0 {
		t.Errorf("%d frames are still pinned", n)
	}
}

// TestFileRingData: what is written is in the file, and what is read is what is there.
func TestFileRingData(t *testing.T) {
	g := newFileGuest(t)
	text := bytes.Repeat([]byte("sector by sector"), 1<<16)
	g.vm.space.copyOut(scratch+7, text)
	if got := g.call(hypercall.HostFileArgs{Op: hypercall.HostFileWrite, Handle: 7, Buf: scratch + 7, BufLen: 1 << 20, Offset: 3}); got != 1<<20 {
		t.Fatal(got)
	}
	g.call(hypercall.HostFileArgs{Op: hypercall.HostFileTruncate, Handle: 7, Offset: 1 << 19})
	if b, err := os.ReadFile(g.name); err != nil || len(b) != 1<<19 || !bytes.Equal(b[3:], text[:1<<19-3]) || b[0] != 0xd1 {
		t.Errorf("%v, %d bytes", err, len(b))
	}
	clear(text)
	g.vm.space.copyOut(scratch, text)
	if got := g.call(hypercall.HostFileArgs{Op: hypercall.HostFileRead, Handle: 7, Buf: scratch + 1, BufLen: 1 << 20, Offset: 3}); got != 1<<19-3 {
		t.Fatal(got)
	}
	if b := g.bytes(scratch, 20); string(b[1:17]) != "sector by sector" || b[0] != 0 {
		t.Errorf("%q", b)
	}
}

// TestFileRingBusy: while a call has the table of handles, requests wait in the pool,
// and nothing waits for them.
func TestFileRingBusy(t *testing.T) {
	g := newFileGuest(t)
	a := hypercall.HostFileArgs{Op: hypercall.HostFileRead, Handle: 7, Buf: scratch, BufLen: 16}
	g.vm.space.copyOut(testData, bytesOf(&a))
	g.vm.filesMu.Lock()
	g.put(hypercall.BlockRequest{Op: hypercall.BlockHostFile, Segments: [2]hypercall.BlockSegment{{Addr: testData}}})
	g.vm.block.serveAll(byVCPU)
	if !g.vm.block.busy() {
		t.Error("answered")
	}
	g.vm.filesMu.Unlock()
	g.settle()
	if got := g.result(); got != 16 {
		t.Error(got)
	}
	g.vm.files.open[7].f.Close()
	if got := g.call(a); got != -int64(unix.EBADF) {
		t.Errorf("a file that is closed: %d", got)
	}
	delete(g.vm.files.open, 7)
}

// TestFileRingReplies: an answer that the worker writes to the guest's memory does not
// meet a paging call, which takes the host's right to write there for a moment, or the
// frame for good.
func TestFileRingReplies(t *testing.T) {
	g := newFileGuest(t)
	g.vm.block.begin()
	const at = testData + 1000
	a := hypercall.HostFileArgs{Op: hypercall.HostFileStat, Handle: 7, Buf: scratch, BufLen: 80}
	g.vm.space.copyOut(at, bytesOf(&a))
	for range 100 {
		for range hypercall.BlockRingSize {
			g.put(hypercall.BlockRequest{Op: hypercall.BlockHostFile, Segments: [2]hypercall.BlockSegment{{Addr: at}}})
		}
		g.vm.block.bell.ring()
		for atomic.LoadUint32(&g.ring.RspProd) != g.prod {
			for range 20 {
				g.vm.tables.doProtect(scratch, pageSize, hypercall.MapRead)
				g.vm.tables.doProtect(scratch, pageSize, hypercall.MapRead|hypercall.MapWrite)
			}
		}
	}
}
