package hv

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/pvrun/pvrun/hv/disk"
	"github.com/pvrun/pvrun/hypercall"
)

const fuzzDisk = 64 << 10

// strict is a disk that tells of every transfer that no check may let through.
type strict struct {
	*disk.Memory
	t testing.TB
}

func newStrict(t testing.TB) disk.Backend {
	m := disk.NewMemory(fuzzDisk)
	m.WriteAt([][]byte{bytes.Repeat([]byte{0xd1}, fuzzDisk)}, 0)
	return strict{m, t}
}

func (d strict) check(off, n int64) {
	if n <= 0 || n > hypercall.MaxBlockBytes || n%512 != 0 || off%512 != 0 || off < 0 || off+n > fuzzDisk {
		d.t.Errorf("%d bytes at %d", n, off)
	}
}

func sum(pieces [][]byte) (n int64) {
	for _, p := range pieces {
		n += int64(len(p))
	}
	return n
}

func (d strict) ReadAt(pieces [][]byte, off int64, nowait bool) error {
	d.check(off, sum(pieces))
	return d.Memory.ReadAt(pieces, off, nowait)
}

func (d strict) WriteAt(pieces [][]byte, off int64) error {
	d.check(off, sum(pieces))
	return d.Memory.WriteAt(pieces, off)
}

func (d strict) Discard(off, n int64) error {
	d.check(off, n)
	return d.Memory.Discard(off, n)
}

// edges are addresses at which something begins or ends.
var edges = []uint64{0, testText, testText + 2*pageSize, testData, testData + 4*pageSize, testROM, testROM + 2*pageSize,
	testTail, testTail + 2*pageSize, scratch, scratch + 8*pageSize, uint64(hypercall.StartInfoGVA), uint64(hypercall.SharedInfoGVA),
	uint64(hypercall.VCPUInfoGVA), uint64(hypercall.HypercallGVA), uint64(hypercall.BlockRingGVA), uint64(hypercall.BlockRingGVA) + uint64(ringPages)*pageSize,
	1 << 47, 0xffff_8000_0000_0000, ^uint64(0)}

// fuzzInput makes requests of bytes; when they run out all is 0.
type fuzzInput []byte

func (in *fuzzInput) byte() (b byte) {
	if len(*in) > 0 {
		b, *in = (*in)[0], (*in)[1:]
	}
	return b
}

// address is near an edge.
func (in *fuzzInput) address() uint64 {
	deltas := [...]uint64{0, 1, 8, 511, 512, 4095, 4096, 8192}
	d := deltas[in.byte()%uint8(len(deltas))]
	if at := edges[in.byte()%uint8(len(edges))]; in.byte()&1 == 0 {
		return at + d
	} else {
		return at - d
	}
}

func (in *fuzzInput) length() uint64 {
	lengths := [...]uint64{0, 1, 7, 511, 512, 513, 1024, 4096, 4608, 8192, fuzzDisk, hypercall.MaxBlockBytes, hypercall.MaxBlockBytes + 512, 1 << 31, 1 << 63, ^uint64(0), ^uint64(511)}
	return lengths[in.byte()%uint8(len(lengths))]
}

func (in *fuzzInput) segment() hypercall.BlockSegment {
	return hypercall.BlockSegment{Addr: hypercall.GVA(in.address()), Len: in.length()}
}

func (in *fuzzInput) request() (q hypercall.BlockRequest) {
	kind := in.byte()
	if kind < 128 { // nothing wrong but where its buffer may be
		q = transferOf(hypercall.BlockOp(1+kind%2), uint64(in.byte()%64)*512, in.address(), uint64(1+in.byte()%16)*512)
		if cut := in.length(); kind%4 == 3 && cut < q.Length {
			q.Count, q.Segments[0].Len = 2, cut
			q.Segments[1] = hypercall.BlockSegment{Addr: hypercall.GVA(in.address()), Len: q.Length - cut}
		}
		return q
	}
	q.Op, q.Count = hypercall.BlockOp(in.byte()%8), uint32(in.byte()%5)
	if kind == 255 {
		q.Count = 1 << 31
	}
	q.Offset, q.Length = in.length()-uint64(in.byte()&1)*512, in.length()
	for i := range q.Segments {
		q.Segments[i] = in.segment()
	}
	return q
}

// judge is what a request must be answered with: written from the contract, over
// what a walk of the tables in raw memory finds. touched are the bytes of guest
// memory that it may change.
func judge(w *walk, mem []byte, q hypercall.BlockRequest) (want hypercall.Status, touched [][2]uint64) {
	switch op := q.Op; {
	case op == 3 && q.Count|uint32(q.Offset)|uint32(q.Length) == 0 && q.Offset|q.Length == 0:
		return 0, nil
	case op == 0 || op == 3 || op > 5, q.Length == 0 || q.Length%512 != 0 || q.Offset%512 != 0,
		q.Offset >= fuzzDisk || q.Length > fuzzDisk-q.Offset, op > 3 && q.Count != 0:
		return hypercall.EINVAL, nil
	case op > 3:
		return 0, nil
	case q.Count == 0 || q.Count > 128:
		return hypercall.EINVAL, nil
	}
	list := q.Segments[:min(q.Count, 2)]
	if q.Count > 2 {
		list = make([]hypercall.BlockSegment, q.Count)
		for i := range list {
			var b [16]byte
			for k := range b {
				at, ok := physical(w, uint64(q.Segments[0].Addr)+uint64(i*16+k), false)
				if !ok {
					return hypercall.EFAULT, nil
				}
				b[k] = mem[at]
			}
			list[i] = hypercall.BlockSegment{Addr: hypercall.GVA(binary.LittleEndian.Uint64(b[:])), Len: binary.LittleEndian.Uint64(b[8:])}
		}
	}
	left := q.Length
	for _, s := range list {
		if s.Len == 0 || s.Len > left {
			return hypercall.EINVAL, nil
		}
		left -= s.Len
	}
	if left != 0 {
		return hypercall.EINVAL, nil
	}
	for _, s := range list {
		for a, left := uint64(s.Addr), s.Len; left > 0; {
			at, ok := physical(w, a, q.Op == 1)
			if !ok {
				return hypercall.EFAULT, nil
			}
			n := min(left, 4096-a&4095)
			touched = append(touched, [2]uint64{at, at + n})
			a, left = a+n, left-n
		}
	}
	if q.Op != 1 {
		touched = nil
	}
	return 0, touched
}

// physical is where a byte of the guest's is, if the guest may do that with it.
// Pages that wait for their frame must have been touched before.
func physical(w *walk, a uint64, write bool) (at uint64, ok bool) {
	m, there := w.pages[a&^4095]
	if !there || m.bits&(bitP|bitU) != bitP|bitU || write && m.bits&bitW == 0 {
		return 0, false
	}
	return m.frame<<12 | a&4095, true
}

// touch gives every lazy page its frame.
func (g *ringGuest) touch() {
	for _, m := range mapped(g.vm) {
		if m.bits&bitLazy != 0 {
			g.vm.tables.pageAt(m.at, false)
		}
	}
}

type mappedPage struct {
	at, bits uint64
}

func mapped(vm *VM) (list []mappedPage) {
	w, err := vm.walk()
	if err != nil {
		panic(err)
	}
	for a, m := range w.pages {
		list = append(list, mappedPage{a, m.bits})
	}
	return list
}

// FuzzBlock: any requests. Each is answered with what the contract says, and no byte
// of the machine's memory changes but those of buffers that were read into, and what
// is the host's of the ring.
func FuzzBlock(f *testing.F) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 40 {
		b := make([]byte, 300)
		for i := range b {
			b[i] = byte(r.Uint32())
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, data []byte) { fuzzBlock(t, data) })
}

func fuzzBlock(t *testing.T, data []byte) {
	in := fuzzInput(data)
	g := newRingGuest(t, 200, newStrict(t))
	g.mapRW(scratch, 8*pageSize)
	g.touch()
	for i := range uint64(64) { // segments for those who point here
		s := in.segment()
		g.vm.space.copyOut(scratch+i*16, bytesOf(&s))
	}
	ring := g.vm.block.rings[0]
	base := uint64(g.vm.tables.slot(uint64(hypercall.BlockRingGVA), false).load().frame()) << 12
	w, err := g.vm.walk()
	if err != nil {
		t.Fatal(err)
	}
	before := bytes.Clone(g.vm.mem.data)
	for n := 0; len(in) > 0 && n < 40; n++ {
		q := in.request()
		g.put(q)
		copy(before[base:], g.vm.mem.data[base:][:20480]) // what the guest has written
		want, touched := judge(w, before, q)
		slot := uint64(ring.prod % hypercall.BlockRingSize)
		g.settle()
		if got := loadWords(&g.ring.Responses[slot]).Result; got != -int64(want) && !overlaps(touched, base) {
			t.Fatalf("%+v: %d, want %d", q, got, -int64(want))
		}
		touched = append(touched, [2]uint64{base + 64, base + 128}, [2]uint64{base + 20480 + slot*16, base + 20480 + slot*16 + 16})
		if at, ok := changed(before, g.vm.mem.data, touched); ok {
			t.Fatalf("%+v: byte %#x changed from %#x to %#x", q, at, before[at], g.vm.mem.data[at])
		}
		if overlaps(touched[:len(touched)-2], base) { // the guest has spoilt its own indexes
			return
		}
	}
	if n := len(g.vm.mem.extra); n != 0 {
		t.Errorf("%d frames are still pinned", n)
	}
}

func overlaps(list [][2]uint64, base uint64) bool {
	for _, r := range list {
		if r[0] < base+uint64(ringPages)*pageSize && r[1] > base {
			return true
		}
	}
	return false
}

// changed finds a byte that differs outside of ranges, which it evens out.
func changed(before, after []byte, ranges [][2]uint64) (at int, ok bool) {
	for _, r := range ranges {
		copy(before[r[0]:r[1]], after[r[0]:r[1]])
	}
	if bytes.Equal(before, after) {
		return 0, false
	}
	for before[at] == after[at] {
		at++
	}
	return at, true
}

// TestBlockFlips: requests that change while the host looks at them. What is used is
// what was checked: the disk sees no transfer that no check may let through, and the
// memory that may not be written stays as it was.
func TestBlockFlips(t *testing.T) {
	g := newRingGuest(t, 300, newStrict(t))
	g.mapRW(scratch, 8*pageSize)
	readOnly := []uint64{testText, testROM, uint64(hypercall.StartInfoGVA)}
	var before [][]byte
	for _, at := range readOnly {
		before = append(before, g.bytes(at, 4096))
	}
	stop := make(chan bool)
	var flipping sync.WaitGroup
	for seed := range uint64(2) {
		flipping.Go(func() {
			r := rand.New(rand.NewPCG(seed, 7))
			in := func() fuzzInput {
				b := make([]byte, 64)
				for i := range b {
					b[i] = byte(r.Uint32())
				}
				return b
			}
			for {
				select {
				case <-stop:
					return
				default:
				}
				b := in()
				q := b.request()
				to, from := words(&g.ring.Requests[r.IntN(8)]), words(&q)
				for i := range from {
					if r.IntN(2) == 0 {
						atomic.StoreUint64(&to[i], from[i])
					}
				}
			}
		})
	}
	for range 3000 {
		for range 8 { // all of the first 8 slots, and the next round the others
			g.prod++
		}
		atomic.StoreUint32(&g.ring.ReqProd, g.prod)
		g.settle()
		if err := g.vm.failure(); err != nil {
			break // a buffer was the ring
		}
	}
	close(stop)
	flipping.Wait()
	for i, at := range readOnly {
		if !bytes.Equal(g.bytes(at, 4096), before[i]) {
			t.Errorf("what is read-only at %#x has changed", at)
		}
	}
	if n := len(g.vm.mem.extra); n != 0 {
		t.Errorf("%d frames are still pinned", n)
	}
}
