package hv

import (
	"bytes"
	"os"
	"testing"

	"github.com/pvrun/pvrun/hypercall"
)

// args are any arguments of host_file, mostly of operations and handles that there are.
func (in *fuzzInput) args() hypercall.HostFileArgs {
	a := hypercall.HostFileArgs{
		Op: hypercall.HostFileOp(in.byte() % 24), Handle: 6 + uint64(in.byte()%4), Share: uint32(in.byte() % 3),
		Buf: hypercall.GVA(in.address()), BufLen: in.length(), Offset: int64(in.length()),
		Flags: uint32(in.byte() % 64),
	}
	if kind := in.byte(); kind >= 192 {
		a.Flags, a.Length, a.PathLen = uint32(in.length()), in.length(), in.length()
	}
	if a.Op == hypercall.HostFileWrite || a.Op == hypercall.HostFileTruncate || a.Op == hypercall.HostFileAllocate {
		a.Offset &= 1<<20 - 1 // the host's disk
		a.Length &= 1<<20 - 1
	}
	return a
}

// FuzzFileRing: any operations by the ring. Each is answered, changes nothing but its
// buffer and its answer, and nothing of a file that may only be read.
func FuzzFileRing(f *testing.F) {
	for op := range byte(24) {
		f.Add(bytes.Repeat([]byte{op, 1, 0, 0, 9, 0, 9, 9, 33, 0}, 3))
		f.Add(bytes.Repeat([]byte{op, 2, 1, 3, 9, 1, 5, 2, 3, 200, 1, 1, 7}, 3))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		g, in := newFileGuest(t), fuzzInput(data)
		for n := 0; len(in) > 0 && n < 40; n++ {
			a := in.args()
			old, err := os.ReadFile(g.name)
			if err != nil {
				t.Fatal(err)
			}
			slot := g.prod % hypercall.BlockRingSize
			g.vm.space.copyOut(testData+1000, bytesOf(&a))
			before := bytes.Clone(g.vm.mem.data)
			g.put(hypercall.BlockRequest{Op: hypercall.BlockHostFile, Segments: [2]hypercall.BlockSegment{{Addr: testData + 1000}}})
			copy(before[g.base():], g.vm.mem.data[g.base():][:20480])
			g.settle()
			if err := g.vm.failure(); err != nil {
				t.Fatalf("%+v: %v", a, err)
			}
			touched := [][2]uint64{{g.base() + 64, g.base() + 128}, {g.base() + 20480 + uint64(slot)*16, g.base() + 20480 + uint64(slot)*16 + 16}}
			if a.Op == hypercall.HostFileRead || a.Op == hypercall.HostFileStat {
				touched = append(touched, g.places(uint64(a.Buf), a.BufLen)...)
			}
			if at, ok := changed(before, g.vm.mem.data, touched); ok {
				t.Fatalf("%+v: byte %#x changed from %#x to %#x", a, at, before[at], g.vm.mem.data[at])
			}
			if now, err := os.ReadFile(g.name); a.Share != 0 && (err != nil || !bytes.Equal(now, old)) {
				t.Fatalf("%+v: the file has changed", a)
			}
			if overlaps(touched[2:], g.base()) {
				return
			}
		}
		if n := len(g.vm.mem.extra); n != 0 {
			t.Errorf("%d frames are still pinned", n)
		}
	})
}

// base is where the ring is in the machine's memory.
func (g *fileGuest) base() uint64 {
	return uint64(g.vm.tables.slot(uint64(hypercall.BlockRingGVA), false).load().frame()) << pageShift
}

// places is where guest memory that is there is in the machine's.
func (g *fileGuest) places(a, n uint64) (list [][2]uint64) {
	for end := a + min(n, hypercall.MaxConsole); a < end && a < 1<<47; {
		next := min(end, a&^(pageSize-1)+pageSize)
		if e := g.vm.tables.slot(a, false); e != nil && e.load().holds() {
			at := uint64(e.load().frame())<<pageShift + a%pageSize
			list = append(list, [2]uint64{at, at + next - a})
		}
		a = next
	}
	return list
}
