package guests

import (
	"bytes"
	"testing"
	"time"
	"unsafe"

	"github.com/pvrun/pvrun/hv"
	"github.com/pvrun/pvrun/hv/disk"
	"github.com/pvrun/pvrun/hypercall"
	"github.com/pvrun/pvrun/test/guests/asm"
)

// Addresses in the first ring.
const (
	ring      = uint64(hypercall.BlockRingGVA)
	ringProd  = ring + uint64(unsafe.Offsetof(hypercall.BlockRing{}.ReqProd))
	ringEvent = ring + uint64(unsafe.Offsetof(hypercall.BlockRing{}.RspEvent))
	ringTaken = ring + uint64(unsafe.Offsetof(hypercall.BlockRing{}.RspCons))
	ringDone  = ring + uint64(unsafe.Offsetof(hypercall.BlockRing{}.RspProd))
	ringReqs  = ring + uint64(unsafe.Offsetof(hypercall.BlockRing{}.Requests))
	ringRsps  = ring + uint64(unsafe.Offsetof(hypercall.BlockRing{}.Responses))
	ringEnd   = ring + uint64(unsafe.Sizeof(hypercall.BlockRing{}))

	buffer    = asm.Data + 0x8000 // of a guest; 0x4000 bytes that it may use
	someBytes = 4096

	erofs      = -int64(hypercall.EROFS)
	eopnotsupp = -int64(hypercall.EOPNOTSUPP)
)

// blockGuest is a guest with a disk, whose events stay masked: it makes requests,
// one after the other, and stores their results.
type blockGuest struct {
	steps
	made uint64 // requests
}

func newBlockGuest() *blockGuest {
	return &blockGuest{steps: steps{code: new(asm.Code).Mov(asm.R15, asm.Results)}}
}

// put fills in the next request, without telling the host.
func (g *blockGuest) put(q hypercall.BlockRequest) {
	q.ID = 0x1000 + g.made
	at := ringReqs + g.made%hypercall.BlockRingSize*64
	for i, w := range (*[8]uint64)(unsafe.Pointer(&q)) {
		g.code.Store(at+8*uint64(i), w)
	}
	g.made++
}

// submit tells the host of all that was put, and waits until it has answered.
func (g *blockGuest) submit() {
	g.code.Store32(ringEvent, g.made).Store32(ringProd, g.made)
	g.wait(g.made)
}

// wait blocks until RspProd is n.
func (g *blockGuest) wait(n uint64) {
	c := g.code
	from := len(c.B)
	c.Hypercall(hypercall.CallBlock, hypercall.Forever).Store32(asm.Pending, 0)
	c.Mov(asm.R11, ringDone).Raw(0x41, 0x8b, 0x03)             // mov eax, [r11]
	c.Raw(0x3d, byte(n), byte(n>>8), byte(n>>16), byte(n>>24)) // cmp eax, n
	c.Raw(0x0f, 0x85).Raw(jumpBack(len(c.B)+4, from)...)       // jne from
	c.Store32(ringTaken, n)
}

func jumpBack(at, to int) []byte {
	d := uint32(to - at)
	return []byte{byte(d), byte(d >> 8), byte(d >> 16), byte(d >> 24)}
}

// do makes one request and expects its result.
func (g *blockGuest) do(name string, result int64, q hypercall.BlockRequest) {
	g.put(q)
	g.submit()
	slot := ringRsps + (g.made-1)%hypercall.BlockRingSize*16
	g.code.Load(slot).Result().Load(slot + 8).Result()
	g.want = append(g.want, want{name: name + ": ID", value: 0x1000 + g.made - 1}, want{name: name, value: uint64(result)})
}

func one(op hypercall.BlockOp, off, addr, n uint64) hypercall.BlockRequest {
	return hypercall.BlockRequest{Op: op, Count: 1, Offset: off, Length: n,
		Segments: [2]hypercall.BlockSegment{{Addr: hypercall.GVA(addr), Len: n}}}
}

func rangeOf(op hypercall.BlockOp, off, n uint64) hypercall.BlockRequest {
	return hypercall.BlockRequest{Op: op, Offset: off, Length: n}
}

func disks(list ...disk.Backend) (out []hv.Disk) {
	for _, b := range list {
		out = append(out, hv.Disk{Backend: b})
	}
	return out
}

// TestBlock: what each request does.
func TestBlock(t *testing.T) {
	m := disk.NewMemory(1 << 20)
	g := newBlockGuest()
	g.code.Store(buffer, 0x1122334455667788).Store(buffer+someBytes-8, 0x99)
	g.do("write", 0, one(hypercall.BlockWrite, 8192, buffer, someBytes))
	g.do("read elsewhere", 0, one(hypercall.BlockRead, 8192, buffer+someBytes+100, someBytes))
	g.load("its start", 0x1122334455667788, buffer+someBytes+100)
	g.load("its end", 0x99, buffer+someBytes+100+someBytes-8)
	g.do("two segments", 0, hypercall.BlockRequest{Op: hypercall.BlockWrite, Count: 2, Length: 512, Segments: [2]hypercall.BlockSegment{{Addr: buffer, Len: 8}, {Addr: buffer, Len: 504}}})
	g.do("flush", 0, rangeOf(hypercall.BlockFlush, 0, 0))
	g.do("zeroes", 0, rangeOf(hypercall.BlockWriteZeroes, 8192, 512))
	g.do("discard", 0, rangeOf(hypercall.BlockDiscard, 16384, 512))
	g.run(t, hv.Config{Disks: disks(m)})
	b := m.Bytes()
	if b[0] != 0x88 || b[8] != 0x88 || b[8192] != 0 || b[8192+someBytes-8] != 0x99 || b[16384] == 0 {
		t.Errorf("on the disk: % x, % x, % x", b[:16], b[8192:8200], b[16384:16392])
	}
}

// TestBlockBad: what each bad request is answered with.
func TestBlockBad(t *testing.T) {
	const size = 1 << 20
	m := disk.NewMemory(size)
	g := newBlockGuest()
	rd, wr := hypercall.BlockRead, hypercall.BlockWrite
	for _, op := range []hypercall.BlockOp{0, hypercall.BlockHostFile, hypercall.BlockOpEnd, 1 << 31} {
		g.do("operation", einval, one(op, 0, buffer, 512))
	}
	for _, q := range []hypercall.BlockRequest{
		one(rd, 0, buffer, 0), one(rd, 0, buffer, 511), one(rd, 1, buffer, 512), one(rd, size, buffer, 512),
		one(rd, size-512, buffer, 1024), one(rd, ^uint64(511), buffer, 1024), one(wr, 0, buffer, hypercall.MaxBlockBytes+512),
		one(rd, 0, buffer, ^uint64(511)), rangeOf(rd, 0, 512), rangeOf(hypercall.BlockDiscard, 0, 0),
		rangeOf(hypercall.BlockDiscard, 512, ^uint64(511)), rangeOf(hypercall.BlockFlush, 512, 0), one(hypercall.BlockDiscard, 0, buffer, 512),
		{Op: rd, Count: hypercall.MaxBlockSegments + 1, Length: 512}, {Op: rd, Count: 1 << 31, Length: 512},
		{Op: rd, Count: 2, Length: 512, Segments: [2]hypercall.BlockSegment{{Addr: buffer, Len: 512}, {Addr: buffer}}},
		{Op: rd, Count: 2, Length: 512, Segments: [2]hypercall.BlockSegment{{Addr: buffer, Len: 513}, {Addr: buffer, Len: ^uint64(0)}}},
		{Op: rd, Count: 1, Length: 1024, Segments: [2]hypercall.BlockSegment{{Addr: buffer, Len: 512}}},
	} {
		g.do("shape", einval, q)
	}
	for _, at := range []uint64{0, page, asm.Text, uint64(hypercall.HypercallGVA), startPage, asm.Text + 15*page + 1, free, 1<<47 - 512, 1 << 47, 1 << 63, ^uint64(0), ^uint64(511)} {
		g.do("read into what cannot be written", efault, one(rd, 0, at, 1024))
	}
	g.do("write from what can be read", 0, one(wr, 0, asm.Text, 1024))
	g.do("write across the end of the ring", efault, one(wr, 0, ringEnd-512, 1024))
	g.do("write from the kernel half", efault, one(wr, 0, 0xffff_8000_0000_0000, 1024))
	array := hypercall.BlockRequest{Op: rd, Count: 3, Length: 512}
	for _, at := range []hypercall.GVA{0, hypercall.GVA(free), hypercall.GVA(ringEnd - 16), 1<<47 - 8, ^hypercall.GVA(0) - 7} {
		array.Segments[0].Addr = at
		g.do("segments that are not there", efault, array)
	}
	array.Segments[0].Addr = buffer // three of length 0
	g.do("segments of nothing", einval, array)
	g.run(t, hv.Config{Disks: disks(m)})
}

// TestBlockArray: segments in an array that lies across a page's end.
func TestBlockArray(t *testing.T) {
	m := disk.NewMemory(1 << 20)
	m.WriteAt([][]byte{bytes.Repeat([]byte{7, 8, 9, 10}, 128)}, 0)
	at := uint64(buffer + 4096 - 16*5 - 8)
	g := newBlockGuest()
	for i := range uint64(8) {
		g.code.Store(at+16*i, buffer+0x2000+i*100).Store(at+16*i+8, 64)
	}
	g.do("read", 0, hypercall.BlockRequest{Op: hypercall.BlockRead, Count: 8, Length: 512, Segments: [2]hypercall.BlockSegment{{Addr: hypercall.GVA(at)}}})
	g.load("last segment", 0x0a0908070a090807, buffer+0x2000+7*100+56)
	g.load("behind it", 0, buffer+0x2000+7*100+64)
	g.run(t, hv.Config{Disks: disks(m)})
}

// TestBlockIndexes: a ReqProd that no guest may store ends the machine, whether
// the guest then rings, blocks or runs on.
func TestBlockIndexes(t *testing.T) {
	for _, prod := range []uint64{257, 1 << 31, 1<<32 - 1} {
		for name, then := range map[string]func(c *asm.Code){
			"ring":  func(c *asm.Code) { c.Hypercall(hypercall.CallDoorbell).Spin() },
			"block": func(c *asm.Code) { c.Hypercall(hypercall.CallBlock, hypercall.Forever).Spin() },
		} {
			t.Run(name, func(t *testing.T) {
				c := new(asm.Code).Store32(ringProd, prod)
				then(c)
				o := run(t, hv.Config{Image: asm.Image{Code: c}.Write(t), Disks: disks(disk.NewMemory(4096))}, limit)
				o.wantFault(t, "block ring 0: ReqProd")
			})
		}
	}
	t.Run("back", func(t *testing.T) {
		g := newBlockGuest()
		g.do("flush", 0, rangeOf(hypercall.BlockFlush, 0, 0))
		g.do("flush", 0, rangeOf(hypercall.BlockFlush, 0, 0))
		g.code.Store32(ringProd, 1).Hypercall(hypercall.CallDoorbell).Spin()
		o := run(t, hv.Config{Image: asm.Image{Code: g.code}.Write(t), Disks: disks(disk.NewMemory(4096))}, limit)
		o.wantFault(t, "block ring 0: ReqProd")
	})
}

// TestBlockReadOnly: what may not be changed, and what cannot be done.
func TestBlockReadOnly(t *testing.T) {
	g := newBlockGuest()
	g.do("read", 0, one(hypercall.BlockRead, 0, buffer, 512))
	g.do("write", erofs, one(hypercall.BlockWrite, 0, buffer, 512))
	g.do("discard", erofs, rangeOf(hypercall.BlockDiscard, 0, 512))
	g.do("zeroes", erofs, rangeOf(hypercall.BlockWriteZeroes, 0, 512))
	g.do("flush", 0, rangeOf(hypercall.BlockFlush, 0, 0))
	g.run(t, hv.Config{Disks: disks(limited{disk.NewMemory(4096), true})})
	g = newBlockGuest()
	g.do("discard", eopnotsupp, rangeOf(hypercall.BlockDiscard, 0, 512))
	g.do("zeroes", eopnotsupp, rangeOf(hypercall.BlockWriteZeroes, 0, 512))
	g.run(t, hv.Config{Disks: disks(limited{disk.NewMemory(4096), false})})
}

// limited is a disk that can do less.
type limited struct {
	*disk.Memory
	readOnly bool
}

func (l limited) ReadOnly() bool { return l.readOnly }
func (limited) CanDiscard() bool { return false }
func (limited) CanZero() bool    { return false }

// flipper changes descriptors and indexes for ever, by what RDTSC says, and rings.
//
//	again: rdtsc
//	       imul rax, rax, 0x1e3779b1
//	       add r12, rax
//	       mov rcx, r12
//	       and ecx, 0xff8
//	       mov [rbx+rcx+0x1000], r12    ; the requests
//	       mov rdx, r12
//	       shr rdx, 40
//	       and edx, r13d                ; how far ReqProd goes
//	       add [rbx], edx
//	       inc r14d
//	       test r14d, 0xff
//	       jne again
//	       mov eax, CallDoorbell
//	       call rbp
//	       jmp again
var flipper = []byte{
	0x0f, 0x31, 0x48, 0x69, 0xc0, 0xb1, 0x79, 0x37, 0x1e, 0x49, 0x01, 0xc4, 0x4c, 0x89, 0xe1,
	0x81, 0xe1, 0xf8, 0x0f, 0x00, 0x00, 0x4c, 0x89, 0xa4, 0x0b, 0x00, 0x10, 0x00, 0x00, 0x4c, 0x89, 0xe2,
	0x48, 0xc1, 0xea, 0x28, 0x44, 0x21, 0xea, 0x01, 0x13, 0x41, 0xff, 0xc6,
	0x41, 0xf7, 0xc6, 0xff, 0x00, 0x00, 0x00, 0x75, 0xcb, 0xb8, 0x13, 0x00, 0x00, 0x00, 0xff, 0xd5, 0xeb, 0xc2,
}

// TestBlockFlipping: a guest that writes what it likes where its requests are, while
// the host reads them.
func TestBlockFlipping(t *testing.T) {
	for _, step := range []uint64{1, 0xff} {
		c := new(asm.Code).Mov(asm.RBX, ring).Mov(asm.RBP, hyperPage).Mov(asm.R12, 1).Mov(asm.R13, step).Mov(asm.R14, 0).Raw(flipper...)
		o := run(t, hv.Config{Image: asm.Image{Code: c}.Write(t), Disks: disks(disk.NewMemory(1 << 20))}, 10*burst)
		if o.err == errTime {
			o.wantStopped(t)
		} else {
			o.wantFault(t, "block ring 0: ReqProd")
		}
	}
}

// TestBlockExit: a machine that ends, or is stopped, while requests are under way.
func TestBlockExit(t *testing.T) {
	slow := disk.Inject(disk.NewMemory(1<<20), func(disk.Op, int64, int64) error {
		time.Sleep(2 * time.Millisecond)
		return nil
	})
	for name, end := range map[string]func(g *blockGuest){
		"exit":  func(g *blockGuest) { g.code.Exit(7) },
		"fault": func(g *blockGuest) { g.code.Store(1<<40, 1) },
		"spin":  func(g *blockGuest) { g.code.Spin() },
		"block": func(g *blockGuest) { g.code.Hypercall(hypercall.CallBlock, hypercall.Forever).Exit(7) },
	} {
		g := newBlockGuest()
		for range 100 {
			g.put(one(hypercall.BlockRead, 0, buffer, 512))
		}
		g.code.Store32(ringEvent, 100).Store32(ringProd, 100).Hypercall(hypercall.CallDoorbell)
		end(g)
		within := limit
		if name == "spin" {
			within = burst
		}
		o := run(t, hv.Config{Image: asm.Image{Code: g.code}.Write(t), Disks: disks(slow)}, within)
		switch name {
		case "fault":
			o.wantFault(t, "#PF")
		case "spin":
			o.wantStopped(t)
		default:
			o.wantExit(t, 7)
		}
	}
}
