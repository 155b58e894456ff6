package hv

import (
	"bytes"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pvrun/pvrun/hv/disk"
	"github.com/pvrun/pvrun/hypercall"
	"golang.org/x/sys/unix"
)

// ringGuest is the guest's side of a ring, in a machine without a processor.
type ringGuest struct {
	testing.TB
	vm   *VM
	ring *hypercall.BlockRing
	prod uint32
}

func newRingGuest(t testing.TB, pages int, b disk.Backend) *ringGuest {
	t.Helper()
	vm := newTestVM(t, pages)
	vm.cfg.Disks = []Disk{{Backend: b}}
	if err := vm.loadRings(); err != nil {
		t.Fatal(err)
	}
	vm.block.patience = 1 << 60
	t.Cleanup(func() {
		if err := vm.block.close(); err != nil {
			t.Error(err)
		}
	})
	return &ringGuest{TB: t, vm: vm, ring: vm.block.rings[0].shared}
}

// put makes a request and does not wait for it.
func (g *ringGuest) put(q hypercall.BlockRequest) {
	q.ID = uint64(g.prod) | 1<<40
	storeWords(&g.ring.Requests[g.prod%hypercall.BlockRingSize], q)
	g.prod++
	atomic.StoreUint32(&g.ring.ReqProd, g.prod)
}

// settle waits until all requests are answered.
func (g *ringGuest) settle() {
	g.Helper()
	g.vm.block.serveAll(byVCPU)
	for end := time.Now().Add(10 * time.Second); g.vm.block.busy(); time.Sleep(10 * time.Microsecond) {
		if time.Now().After(end) {
			g.Fatal("no answer")
		}
	}
}

// result is the last response's; its ID must be the last request's.
func (g *ringGuest) result() int64 {
	g.Helper()
	r := loadWords(&g.ring.Responses[(atomic.LoadUint32(&g.ring.RspProd)-1)%hypercall.BlockRingSize])
	if r.ID != uint64(g.prod-1)|1<<40 {
		g.Errorf("response to %#x, want %#x", r.ID, g.prod-1)
	}
	return r.Result
}

func (g *ringGuest) do(q hypercall.BlockRequest) int64 {
	g.Helper()
	g.put(q)
	g.settle()
	return g.result()
}

func (g *ringGuest) mapRW(at, n uint64) {
	g.Helper()
	if s := g.vm.tables.doMap(at, n, hypercall.MapRead|hypercall.MapWrite); s != 0 {
		g.Fatal(s)
	}
}

// bytes are guest memory, as the guest sees it.
func (g *ringGuest) bytes(at uint64, n int) []byte {
	g.Helper()
	b := make([]byte, n)
	if s := g.vm.space.copyIn(b, at); s != 0 {
		g.Fatal(s)
	}
	return b
}

func transferOf(op hypercall.BlockOp, off, addr, n uint64) hypercall.BlockRequest {
	return hypercall.BlockRequest{Op: op, Count: 1, Offset: off, Length: n,
		Segments: [2]hypercall.BlockSegment{{Addr: hypercall.GVA(addr), Len: n}}}
}

// gate is a disk whose operations wait for a word.
func gate(b disk.Backend) (g disk.Backend, begun, proceed chan bool) {
	begun, proceed = make(chan bool), make(chan bool)
	return disk.Inject(b, func(disk.Op, int64, int64) error {
		begun <- true
		<-proceed
		return nil
	}), begun, proceed
}

// TestBlockPinned: whatever a guest does to a buffer while a read goes to it, no
// other page sees the data, the frame is nobody else's meanwhile, and none is lost.
func TestBlockPinned(t *testing.T) {
	calls := map[string]func(pt *pageTables){
		"nothing": func(*pageTables) {},
		"unmap":   func(pt *pageTables) { pt.doUnmap(scratch, pageSize) },
		"map":     func(pt *pageTables) { pt.doMap(scratch, pageSize, hypercall.MapRead|hypercall.MapWrite) },
		"protect": func(pt *pageTables) { pt.doProtect(scratch, pageSize, hypercall.MapRead) },
		"forbid":  func(pt *pageTables) { pt.doProtect(scratch, pageSize, 0) },
		"discard": func(pt *pageTables) { pt.doDiscard(scratch, pageSize) },
		"alias": func(pt *pageTables) {
			pt.doAlias(scratch+1<<21, pageSize, hypercall.MapRead, scratch)
			pt.doUnmap(scratch, pageSize)
		},
		"alias over": func(pt *pageTables) {
			pt.doAlias(scratch, pageSize, hypercall.MapRead, testData)
		},
	}
	for name, call := range calls {
		t.Run(name, func(t *testing.T) {
			m := disk.NewMemory(8192)
			m.WriteAt([][]byte{bytes.Repeat([]byte{0xd1}, 4096)}, 0)
			slow, begun, proceed := gate(m)
			g := newRingGuest(t, 300, slow)
			check := newChecker(t, g.vm)
			g.mapRW(scratch, pageSize)
			g.put(transferOf(hypercall.BlockRead, 0, scratch, pageSize))
			g.vm.block.serveAll(byVCPU)
			<-begun
			target := g.vm.tables.slot(scratch, false).load().frame()
			call(g.vm.tables)
			others := map[frame]bool{}
			for f, ok := g.vm.mem.take(); ok; f, ok = g.vm.mem.take() {
				others[f] = true
				if f == target {
					t.Error("the frame was given out again")
				}
			}
			proceed <- true
			g.settle()
			if g.result() != 0 {
				t.Errorf("result %d", g.result())
			}
			for f := range others {
				if bytes.IndexByte(g.vm.mem.page(f), 0xd1) >= 0 {
					t.Errorf("the data is in frame %d", f)
				}
				g.vm.mem.release(f)
			}
			if name == "nothing" || name == "discard" {
				if b := g.bytes(scratch, pageSize); b[0] != 0xd1 || b[4095] != 0xd1 {
					t.Error("the data has not come")
				}
			}
			for _, at := range []uint64{scratch, scratch + 1<<21} {
				g.vm.tables.doUnmap(at, pageSize)
			}
			if n := len(g.vm.mem.extra); n != 0 || len(g.vm.tables.gone) != 0 {
				t.Errorf("%d frames are still shared, %v gone", n, g.vm.tables.gone)
			}
			if err := check.check(); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestBlockRefresh: a read whose buffer the host cannot write for a moment, since a
// paging call is voiding translations, is done all the same.
func TestBlockRefresh(t *testing.T) {
	name := t.TempDir() + "/disk"
	if err := errors.Join(unixWrite(name, bytes.Repeat([]byte{0xd1}, 8192))); err != nil {
		t.Fatal(err)
	}
	d, err := disk.Open(name, false)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	g := newRingGuest(t, 300, d)
	g.mapRW(scratch, pageSize)
	b := g.vm.mem.page(g.vm.tables.slot(scratch, false).load().frame())
	g.vm.tables.mu.Lock()
	if err := unix.Mprotect(b, unix.PROT_READ); err != nil {
		t.Fatal(err)
	}
	go func() {
		time.Sleep(5 * time.Millisecond)
		if err := unix.Mprotect(b, unix.PROT_READ|unix.PROT_WRITE); err != nil {
			panic(err)
		}
		g.vm.tables.mu.Unlock()
	}()
	j := &blockJob{ring: g.vm.block.rings[0], pieces: [][]byte{b}, req: transferOf(hypercall.BlockRead, 0, scratch, pageSize)}
	if err := g.vm.block.read(j, false); err != nil || b[0] != 0xd1 || b[4095] != 0xd1 {
		t.Errorf("%v, % x", err, b[:4])
	}
}

func unixWrite(name string, b []byte) error {
	fd, err := unix.Open(name, unix.O_CREAT|unix.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	_, err = unix.Write(fd, b)
	return err
}

// TestBlockFull: as many requests as fit, all under way, and one more is the end.
func TestBlockFull(t *testing.T) {
	var wait sync.WaitGroup
	wait.Add(1)
	b := disk.Inject(disk.NewMemory(1<<20), func(disk.Op, int64, int64) error { wait.Wait(); return nil })
	g := newRingGuest(t, 300, b)
	for i := range uint64(hypercall.BlockRingSize) {
		g.put(transferOf(hypercall.BlockRead, i*512, testData, 512))
	}
	if n := g.vm.block.serveAll(byVCPU); n != hypercall.BlockRingSize {
		t.Errorf("%d were taken", n)
	}
	g.put(transferOf(hypercall.BlockRead, 0, testData, 512))
	g.vm.block.serveAll(byVCPU)
	var e *ringError
	if err := g.vm.failure(); !errors.As(err, &e) || !g.vm.stop.Load() {
		t.Errorf("one more: %v", err)
	}
	wait.Done()
	g.vm.block.pool.wait()
	if n := atomic.LoadUint32(&g.ring.RspProd); n != hypercall.BlockRingSize {
		t.Errorf("%d were answered", n)
	}
}

// TestBlockClose: what is under way ends before the memory may go, and what is long
// ends early.
func TestBlockClose(t *testing.T) {
	slow, begun, proceed := gate(disk.NewMemory(1 << 20))
	g := newRingGuest(t, 300, slow)
	g.vm.block.begin()
	g.put(hypercall.BlockRequest{Op: hypercall.BlockWriteZeroes, Length: 1 << 20})
	g.vm.block.bell.ring()
	<-begun
	closed := make(chan error)
	go func() { closed <- g.vm.block.close() }()
	select {
	case <-closed:
		t.Error("closed while a request was under way")
	case <-time.After(20 * time.Millisecond):
	}
	proceed <- true
	if err := <-closed; err != nil || g.vm.block.busy() {
		t.Error(err)
	}
}

// TestBlockDefect: a panic of a backend ends the machine, and nothing else.
func TestBlockDefect(t *testing.T) {
	g := newRingGuest(t, 300, disk.Inject(disk.NewMemory(4096), func(disk.Op, int64, int64) error { panic("broken") }))
	g.put(transferOf(hypercall.BlockRead, 0, testData, 512))
	g.vm.block.serveAll(byVCPU)
	g.vm.block.pool.wait()
	var d *Defect
	if !errors.As(g.vm.failure(), &d) || d.Value != "broken" {
		t.Errorf("%v", g.vm.failure())
	}
}

// TestBlockErrors: what the host says is what the guest gets.
func TestBlockErrors(t *testing.T) {
	for want, err := range map[int64]error{
		-int64(unix.EIO): errors.New("something"), -int64(unix.ENOSPC): &disk.Error{Path: "x", Err: unix.ENOSPC},
	} {
		g := newRingGuest(t, 300, disk.Inject(disk.NewMemory(4096), func(disk.Op, int64, int64) error { return err }))
		for _, q := range []hypercall.BlockRequest{
			transferOf(hypercall.BlockRead, 0, testData, 512), transferOf(hypercall.BlockWrite, 0, testData, 512),
			{Op: hypercall.BlockFlush}, {Op: hypercall.BlockDiscard, Length: 512}, {Op: hypercall.BlockWriteZeroes, Length: 512},
		} {
			if got := g.do(q); got != want {
				t.Errorf("operation %d with %v: %d", q.Op, err, got)
			}
		}
	}
}
