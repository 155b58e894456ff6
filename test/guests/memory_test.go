package guests

import (
	"fmt"
	"testing"

	"github.com/pvrun/pvrun/hv"
	"github.com/pvrun/pvrun/hypercall"
	"github.com/pvrun/pvrun/test/guests/asm"
)

func hyper(nr uint64) hypercall.Call { return hypercall.Call(nr) }

const (
	callMap      = uint64(hypercall.CallMap)
	callUnmap    = uint64(hypercall.CallUnmap)
	callProtect  = uint64(hypercall.CallProtect)
	callDiscard  = uint64(hypercall.CallDiscard)
	callAlias    = uint64(hypercall.CallAlias)
	callMulti    = uint64(hypercall.CallMulticall)
	callEntropy  = uint64(hypercall.CallEntropy)
	rd, rw, lazy = uint64(hypercall.MapRead), uint64(hypercall.MapRead | hypercall.MapWrite), uint64(hypercall.MapLazy)
	exec         = uint64(hypercall.MapExec)
	page         = uint64(4096)

	eacces = -int64(hypercall.EACCES)
	einval = -int64(hypercall.EINVAL)
	enomem = -int64(hypercall.ENOMEM)
	efault = -int64(hypercall.EFAULT)
	enosys = -int64(hypercall.ENOSYS)

	reserved  = uint64(hypercall.ReservedGVA)
	hyperPage = uint64(hypercall.HypercallGVA)
	startPage = uint64(hypercall.StartInfoGVA)
)

// pf is a page fault: bits 1 (the page was there), 2 (write), 4 (user), 16
// (execute) of the error code.
func pf(code uint8, addr uint64) uint64 { return asm.Fault(14, code, addr) }

const free = uint64(0x10_0000_0000) // addresses that nobody uses

// TestWriteXorExecute asks for forbidden mappings by call and by access.
func TestWriteXorExecute(t *testing.T) {
	s := newSteps()
	s.call("map executable", eacces, callMap, free, page, rd|exec)
	s.call("map writable and executable", eacces, callMap, free, page, rw|exec)
	s.call("map with an unknown flag", einval, callMap, free, page, 1<<40)
	s.call("protect text writable", eacces, callProtect, asm.Text, page, rw)
	s.call("protect text read-only", eacces, callProtect, asm.Text, page, rd)
	s.call("protect text away", eacces, callProtect, asm.Text, page, 0)
	s.call("protect data executable", eacces, callProtect, asm.Data, page, rd|exec)
	s.call("unmap text", eacces, callUnmap, asm.Text, page)
	s.call("unmap all", eacces, callUnmap, uint64(hypercall.MinGVA), 1<<36)
	s.call("map over text", eacces, callMap, asm.Text, page, rw)
	s.call("map over the end of text", eacces, callMap, asm.Text+15*page, 2*page, rw)
	s.call("alias text", eacces, callAlias, free, page, rw, asm.Text)
	s.call("alias text to read", eacces, callAlias, free, page, rd, asm.Text)
	s.call("alias over text", eacces, callAlias, asm.Text, page, rd, asm.Data)
	s.call("alias to execute", eacces, callAlias, free, page, rd|exec, asm.Data)
	s.call("discard text", 0, callDiscard, asm.Text, page)
	s.store("write to text", pf(7, asm.Text), asm.Text, 1)
	s.try("execute data", pf(0x15, asm.Data+0x500), func(c *asm.Code) { c.JmpTo(asm.Data + 0x500) })
	s.call("map readable", 0, callMap, free, page, rd)
	s.try("execute it", pf(0x15, free), func(c *asm.Code) { c.JmpTo(free) })
	s.try("execute the stack", pf(0x15, uint64(hypercall.BootStackTop)-8), func(c *asm.Code) { c.JmpTo(uint64(hypercall.BootStackTop) - 8) })
	s.run(t, hv.Config{})
}

// TestForeignMemory reaches for page 0, the contract's range, the kernel half
// and addresses that are none.
func TestForeignMemory(t *testing.T) {
	s := newSteps()
	for _, at := range []uint64{0, page, uint64(hypercall.MinGVA) - page, reserved, hyperPage, startPage,
		uint64(hypercall.SharedInfoGVA), uint64(hypercall.VCPUInfoGVA), 1<<47 - page, 1 << 47, 0xffff_8000_0000_0000, ^page + 1} {
		name := fmt.Sprintf(" %#x", at)
		s.call("map"+name, einval, callMap, at, page, rw)
		s.call("unmap"+name, einval, callUnmap, at, page)
		s.call("protect"+name, einval, callProtect, at, page, rw)
		s.call("discard"+name, einval, callDiscard, at, page)
		s.call("alias to"+name, einval, callAlias, at, page, rw, asm.Data)
		s.call("alias from"+name, einval, callAlias, free, page, rw, at)
	}
	s.call("map up to the reserved range and into it", einval, callMap, reserved-page, 2*page, rw)
	s.call("map to the end of the numbers", einval, callMap, free, ^free+1, rw)
	s.load("read page 0", pf(4, 0), 0)
	s.store("write page 0", pf(6, 8), 8, 1)
	s.try("execute page 0", pf(0x14, 0), func(c *asm.Code) { c.JmpTo(0) })
	s.store("write the hypercall page", pf(7, hyperPage), hyperPage, 1)
	s.store("write start info", pf(7, startPage), startPage, 1)
	s.load("read start info", hypercall.StartMagic, startPage)
	s.load("read the GDT", pf(5, 0x8000_0000_0000), 0xffff_8000_0000_0000)
	s.anyCode()
	s.store("write the IDT", pf(7, 0x8000_0000_1000), 0xffff_8000_0000_1000, 1)
	s.anyCode()
	s.try("execute the stubs", pf(0x15, 0x8000_0000_4000), func(c *asm.Code) { c.JmpTo(0xffff_8000_0000_4000) })
	s.anyCode()
	s.load("read a non-canonical address", asm.Fault(13, 0, 0), 1<<47)
	s.try("jump to a non-canonical address", asm.Fault(13, 0, 0), func(c *asm.Code) { c.JmpTo(1 << 63) })
	s.load("read after the shared page", pf(4, uint64(hypercall.BootStackTop)), uint64(hypercall.BootStackTop))
	s.run(t, hv.Config{})
}

// TestLivePageTables looks at changes of mappings from inside: touch, change,
// look again. It fails on kvm_pvm when nothing invalidates what the vCPU
// knows.
func TestLivePageTables(t *testing.T) {
	s := newSteps()
	for round := range uint64(6) {
		liveRound(s, free+round*16*page, round)
	}
	s.run(t, hv.Config{})
}

func liveRound(s *steps, a, round uint64) {
	b, c := a+4*page, a+8*page
	ok := func(nr uint64, args ...uint64) { s.call(fmt.Sprint(hyper(nr), " in round ", round), 0, nr, args...) }
	write := func(at, v uint64) { s.store(fmt.Sprintf("write %d", v), asm.NoFault, at, v) }

	ok(callMap, a, page, rw)
	write(a, 1)
	ok(callUnmap, a, page)
	s.load("read after unmap", pf(4, a), a)
	ok(callMap, b, page, rw) // most likely the frame that a had
	write(b, 2)
	s.load("read after unmap, frame in use again", pf(4, a), a)
	ok(callMap, a, page, rw)
	s.load("read a fresh page", 0, a)
	write(a, 3)
	s.load("its neighbour in memory", 2, b)

	ok(callProtect, a, page, rd)
	s.store("write after protect", pf(7, a), a, 4)
	s.load("read after protect", 3, a)
	ok(callProtect, a, page, 0)
	s.load("read after protecting away", pf(4, a), a)
	ok(callProtect, a, page, rw)
	s.load("read after protecting back", 3, a)
	write(a, 5)

	ok(callAlias, c, page, rw, a)
	s.load("read an alias", 5, c)
	write(c, 6)
	s.load("read what the alias wrote", 6, a)
	ok(callAlias, a, page, rw, b) // another frame where a present one was
	s.load("read after remap", 2, a)
	s.load("the other alias", 6, c)
	ok(callMap, a, page, rw)
	s.load("read after map over map", 0, a)
	write(a, 7)
	s.load("the frame that was there", 2, b)
	ok(callProtect, c, page, rd)
	s.store("write a read-only alias", pf(7, c), c, 8)
	ok(callDiscard, a, page)
	s.load("read after discard", 0, a)
	ok(callUnmap, c, page)
	s.load("read an unmapped alias", pf(4, c), c)

	ok(callMap, c, 2*page, rw|lazy)
	s.load("first touch of lazy memory", 0, c+page)
	write(c+page, 9)
	ok(callProtect, c, 2*page, 0)
	s.load("lazy memory protected away", pf(4, c+page), c+page)
	s.load("and where it was not touched", pf(4, c), c)
	ok(callUnmap, c, 2*page)
	ok(callMap, c, 2*page, 0)
	s.load("memory that nobody may touch", pf(4, c), c)
	ok(callProtect, c, 2*page, rd)
	s.load("and now reads", 0, c)
	ok(callUnmap, c, 2*page)
	ok(callMap, c, 2*page, 0)
	ok(callUnmap, c, 2*page)
}

// TestLivePageTablesMany changes many pages with one call.
func TestLivePageTablesMany(t *testing.T) {
	const n = 600
	s := newSteps()
	touch := func(name string, result func(a uint64) uint64) {
		for _, i := range []uint64{0, 1, 7, 300, 511, 512, n - 1} {
			s.load(fmt.Sprint(name, " ", i), result(free+i*page), free+i*page)
		}
	}
	s.call("map", 0, callMap, free, n*page, rw)
	for i := range uint64(n) {
		s.code.Store(free+i*page, i+1)
	}
	value := func(a uint64) uint64 { return (a-free)/page + 1 }
	gone := func(a uint64) uint64 { return pf(4, a) }
	touch("written", value)
	s.call("protect away", 0, callProtect, free, n*page, 0)
	touch("protected away", gone)
	s.call("protect back", 0, callProtect, free, n*page, rd)
	touch("protected back", value)
	s.store("write one", pf(7, free+page), free+page, 1)
	s.call("unmap", 0, callUnmap, free, n*page)
	touch("unmapped", gone)
	s.call("map again", 0, callMap, free, n*page, rd)
	touch("fresh", func(uint64) uint64 { return 0 })
	s.run(t, hv.Config{})
}
