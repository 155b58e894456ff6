package guests

import (
	"testing"

	"github.com/pvrun/pvrun/hypercall"
	"github.com/pvrun/pvrun/test/guests/asm"
)

// Bits of page-table entries and of CR4 (Intel SDM volume 3A, "4-Level Paging").
const (
	present  = 1 << 0
	writable = 1 << 1
	user     = 1 << 2
	accessed = 1 << 5
	dirty    = 1 << 6
	large    = 1 << 7
	global   = 1 << 8
	noExec   = 1 << 63

	cr0WP   = 1 << 16
	cr4PGE  = 1 << 7
	eferNXE = 1 << 11
	msrEFER = 0xc0000080
)

// A region of the address space with tables of its own, in memory where nothing
// is loaded: PT has the first 2 MiB of it.
const (
	region  = 1 << 39
	tablePT = asm.Pool
	tablePD = asm.Pool + 0x1000
	tablePP = asm.Pool + 0x2000
	frameA  = asm.Pool + 0x10000
	frameB  = asm.Pool + 0x11000
	largeA  = asm.Pool + 0x200000
	largeB  = asm.Pool + 0x400000

	inA, inB, inLargeA, inLargeB = 0xaaaa, 0xbbbb, 0xa11a, 0xb11b
)

// phys is where the guest sees a physical address.
func phys(a uint64) uint64 { return uint64(hypercall.DirectMapGVA) + a }

// withRegion has the tables in place, and both frames filled.
func withRegion() *bare {
	b := newBare()
	put := func(a, v uint64) { b.code.Store(phys(a), v) }
	put(tablePD, tablePT|present|writable|user)
	put(tablePP, tablePD|present|writable|user)
	b.code.SetEntry(region, 4, tablePP|present|writable|user)
	put(frameA, inA)
	put(frameB, inB)
	put(largeA+0x5000, inLargeA)
	put(largeB+0x5000, inLargeB)
	put(largeA+0x9000, inLargeA)
	put(largeB+0x9000, inLargeB)
	return b
}

// page sets the entry of the region's i-th page.
func (b *bare) page(i, v uint64) { b.code.Store(phys(tablePT)+8*i, v) }

// TestTrapInvalidate: what the guest has changed in its tables and told the
// processor of is what it gets, for every change and way to tell.
func TestTrapInvalidate(t *testing.T) {
	for name, tell := range map[string]func(c *asm.Code){
		"INVLPG":           func(c *asm.Code) { c.Invlpg(region + 8) },
		"CR3":              func(c *asm.Code) { c.Flush() },
		"CR4.PGE":          func(c *asm.Code) { c.FromCR(4).Raw(0x48, 0x35, cr4PGE, 0, 0, 0).ToCR(4) },
		"through the IRET": func(c *asm.Code) { c.Invlpg(region).Raw(0xcd, 0x99) },
	} {
		t.Run(name, func(t *testing.T) {
			b := withRegion()
			b.image.Handlers[0x99] = new(asm.Code).Iretq()
			change := func(v uint64) { b.page(0, v); tell(b.code) }
			b.load("nothing yet", fault(14, 0, region), region)
			b.page(0, frameA|present|writable)
			b.load("present, which nobody needs to be told", inA, region)
			change(frameB | present | writable)
			b.load("another frame", inB, region)
			change(frameA | present)
			b.load("read only", inA, region)
			b.store("written", fault(14, 3, region), region, 1)
			change(frameA | present | writable)
			b.store("writable", asm.NoFault, region, inA)
			b.load("what was written", inA, region)
			change(frameA | present)
			b.store("read only once more", fault(14, 3, region), region, 1)
			change(0)
			b.load("gone", fault(14, 0, region), region)
			change(frameB | present | 1<<51)
			b.load("with a reserved bit", fault(14, 9, region), region)
			change(frameB | present)
			b.load("and back", inB, region)
			b.run(t)
		})
	}
}

// TestTrapGlobal: global pages survive CR3 writes while CR4.PGE is set, and
// nothing else.
func TestTrapGlobal(t *testing.T) {
	b := withRegion()
	pge := func() { b.code.FromCR(4).Raw(0x48, 0x35, cr4PGE, 0, 0, 0).ToCR(4) }
	pge()
	b.page(0, frameA|present|global)
	b.page(1, frameA|present)
	b.load("global", inA, region)
	b.load("not global", inA, region+0x1000)
	b.page(0, frameB|present|global)
	b.page(1, frameB|present)
	b.code.Flush()
	b.load("global, after CR3", inA, region)
	b.load("not global, after CR3", inB, region+0x1000)
	b.code.Invlpg(region)
	b.load("global, after INVLPG", inB, region)
	b.page(0, frameA|present|global)
	pge()
	b.load("global, after CR4.PGE", inA, region)
	b.page(0, frameB|present|global)
	b.code.Flush()
	b.load("marked global without CR4.PGE, after CR3", inB, region)
	b.run(t)
}

// TestTrapLarge: pages of 2 MiB and 1 GiB, of which INVLPG means all, whichever
// part it names.
func TestTrapLarge(t *testing.T) {
	const a, g = region + 2<<20, region + 1<<30
	b := withRegion()
	put := func(at, v uint64) { b.code.Store(phys(at), v) }
	put(tablePD+8, largeA|present|writable|large)
	b.load("2 MiB", inLargeA, a+0x5000)
	put(tablePD+8, largeB|present|writable|large)
	b.code.Invlpg(a + 0x12345)
	b.load("another one", inLargeB, a+0x5000)
	b.load("another page of it", inLargeB, a+0x9000)
	put(tablePD+8, tablePT|present|writable)
	b.page(5, frameA|present)
	b.page(9, frameB|present)
	b.code.Invlpg(a)
	b.load("now of small pages", inA, a+0x5000)
	b.load("and another", inB, a+0x9000)
	b.load("and one that is not there", fault(14, 0, a), a)
	put(tablePD+8, largeA|present|large)
	b.code.Invlpg(a + 0x9000)
	b.load("large again, told by a small page's address", inLargeA, a+0x9000)
	b.load("a page that was not there, which nobody needs to be told", inLargeA, a+0x9000)
	b.code.Invlpg(a + 0x5000)
	put(tablePD+8, largeB|present|large)
	b.code.Invlpg(a + 0x5000)
	b.load("what was small, gone with the large one", inLargeB, a+0x9000)
	put(tablePD+8, largeA|1<<13|present|large)
	b.code.Invlpg(a)
	b.load("2 MiB with a reserved bit", fault(14, 9, a), a)

	put(tablePP+8, present|writable|large)
	b.load("1 GiB", inA, g+frameA)
	b.load("1 GiB, elsewhere", inLargeA, g+largeA+0x5000)
	put(tablePP+8, 0)
	b.code.Invlpg(g)
	b.load("1 GiB, told by a part that was not touched", fault(14, 0, g+frameA), g+frameA)
	b.load("and elsewhere", fault(14, 0, g+largeA+0x5000), g+largeA+0x5000)
	b.run(t)
}

// TestTrapAccessedDirty: the flags as the guest finds them.
func TestTrapAccessedDirty(t *testing.T) {
	const flags = accessed | dirty
	b := withRegion()
	is := func(name string, level int, want uint64) {
		b.result(name, want, func(c *asm.Code) { c.GetEntry(region, level).AndAX(flags) })
	}
	b.page(0, frameA|present|writable)
	is("untouched", 1, 0)
	b.load("read", inA, region)
	for level := range 4 {
		is("read", level+1, accessed)
	}
	b.store("written", asm.NoFault, region, inA)
	is("written", 1, flags)
	is("written", 2, accessed)
	for range 2 {
		b.page(0, frameA|present|writable)
		b.code.Invlpg(region)
		is("cleared", 1, 0)
		b.store("written at once", asm.NoFault, region, inA)
		is("written at once", 1, flags)
	}
	b.page(0, frameA|present|writable|accessed)
	b.code.Flush()
	b.load("read", inA, region)
	is("not dirty", 1, accessed)
	b.store("written", asm.NoFault, region, inA)
	is("dirty", 1, flags)
	b.page(0, frameA|present)
	b.code.Invlpg(region)
	b.store("refused", fault(14, 3, region), region, 1)
	is("a write that was refused", 1, 0)
	b.run(t)
}

// TestTrapPermissions: CR0.WP and EFER.NXE as the guest sets them.
func TestTrapPermissions(t *testing.T) {
	b := withRegion()
	b.page(0, frameA|present)
	b.page(1, frameA|present|noExec)
	b.store("WP", fault(14, 3, region), region, 1)
	b.code.FromCR(0).AndAX(^uint64(cr0WP)).ToCR(0)
	b.store("no WP", asm.NoFault, region, inA)
	b.result("dirty", dirty, func(c *asm.Code) { c.GetEntry(region, 1).AndAX(dirty) })
	b.code.FromCR(0).OrAX(cr0WP).ToCR(0)
	b.store("WP again", fault(14, 3, region), region, 1)
	b.try("no execution", fault(14, 0x11, region+0x1000), func(c *asm.Code) { c.JmpTo(region + 0x1000) })
	b.load("read", inA, region+0x1000)
	b.run(t)
}

// TestTrapBadTables: tables that show themselves, and ones that are not there.
func TestTrapBadTables(t *testing.T) {
	const slot, far = 5, 6 << 39 // of the root: itself, and nothing
	self := uint64(slot<<39 | slot<<30 | slot<<21 | slot<<12)
	b := withRegion()
	b.code.FromCR(3).OrAX(present|writable).MovReg(asm.RBX, asm.RAX)
	b.code.Entry(slot<<39, 4).Raw(0x48, 0x89, 0x18) // mov [rax], rbx
	b.result("the root, in itself", 0, func(c *asm.Code) {
		c.FromCR(3).OrAX(present|writable|accessed|dirty).MovReg(asm.RBX, asm.RAX)
		c.Load(self+8*slot).OrAX(accessed|dirty).Raw(0x48, 0x31, 0xd8) // xor rax, rbx
	})
	entry := uint64(slot<<39 | region>>9)
	b.store("an entry, written through the root", asm.NoFault, entry, frameB|present)
	b.load("what it maps", inB, region)
	b.store("another", asm.NoFault, entry, frameA|present)
	b.code.Invlpg(region)
	b.load("what that maps", inA, region)
	b.store("itself, away", asm.NoFault, self+8*slot, 0)
	b.code.Invlpg(self)
	b.load("the root is there no more", fault(14, 0, self), self)
	for level := 4; level > 1; level-- {
		b.code.SetEntry(far, 4, tablePP|0x4000|present|writable)
		b.code.Store(phys(tablePP+0x4000), tablePP+0x5000|present|writable)
		b.code.Store(phys(tablePP+0x5000), tablePP+0x6000|present|writable)
		for _, at := range []uint64{64 << 20, 1 << 35} {
			b.code.SetEntry(far, level, at|present|writable).Flush()
			b.load("a table beyond memory", fault(14, 9, far), far)
			b.store("written", fault(14, 11, far), far, 1)
		}
		b.code.SetEntry(far, level, tablePP|present|1<<51).Flush()
		b.load("a reserved bit", fault(14, 9, far), far)
	}
	b.run(t)
}

// TestTrapVast touches 10 GiB of addresses with one frame behind them all, so
// that the shadow has to begin anew again and again.
func TestTrapVast(t *testing.T) {
	const pp, pd, size = tablePP + 0x4000, tablePP + 0x5000, 10 << 30
	const base = 7 << 39
	fill := func(c *asm.Code, at, v uint64) { // mov rdi; mov rax; mov ecx, 512; rep stosq
		c.Mov(asm.RDI, phys(at)).Mov(asm.RAX, v).Mov(asm.RCX, 512).Raw(0xfc, 0xf3, 0x48, 0xab)
	}
	b := withRegion()
	fill(b.code, tablePT, frameA|present|writable)
	fill(b.code, pd, tablePT|present|writable)
	fill(b.code, pp, pd|present|writable)
	b.code.SetEntry(base, 4, pp|present|writable)
	for range 2 {
		b.result("sum", size>>21*inA, func(c *asm.Code) {
			c.Mov(asm.RBX, base).Mov(asm.RSI, 0).Mov(asm.RDX, 1<<21+1<<12)
			c.Times(size>>21-1, func(c *asm.Code) { c.Raw(0x48, 0x03, 0x33, 0x48, 0x01, 0xd3) }) // add rsi, [rbx]; add rbx, rdx
			c.Load(base).Raw(0x48, 0x01, 0xc6).MovReg(asm.RAX, asm.RSI)
		})
	}
	b.store("through the last", asm.NoFault, base+size-4096, inB)
	b.load("seen through the first", inB, base)
	b.run(t)
}
