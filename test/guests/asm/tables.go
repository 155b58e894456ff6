package asm

import (
	"testing"

	"github.com/pvrun/pvrun/hypercall"
)

// Where the tables of a guest in trap mode are in its data, and its stacks.
const (
	GDT       = Data + 0x4000
	IDT       = Data + 0x5000
	TSS       = Data + 0x6000
	Vars      = Data + 0x7000 // words of the test's own
	Stack0    = Data + 0xa000 // end of the stack for virtual CPL 0
	Stack1    = Data + 0xb000 // of IST1's
	UserStack = Data + 0xc000
	Pool      = 0x2000000 // physical address from which on nothing is loaded

	gdtr = GDT + 0x800
	idtr = GDT + 0x810

	common = Upcall + 0x1000 // where all vectors meet that have no handler
)

// Selectors. SYSRET wants the user's two in this order.
const (
	KernelCS = hypercall.BootCS
	KernelSS = hypercall.BootSS
	UserSS   = 0x20 | 3
	UserCS   = 0x28 | 3
	TaskSel  = 0x30
	tssSize  = 104
)

// Gate is an entry of the IDT.
type Gate struct {
	Trap bool // interrupts stay enabled
	DPL  byte
	IST  byte
	Gone bool // not present
}

// Bare is an image for trap mode: its own GDT, TSS and IDT, and all that an
// exception does is to become the result of a Try.
type Bare struct {
	Code     *Code
	Handlers map[byte]*Code // of vectors; they find the frame at RSP
	Gates    map[byte]Gate  // that are not interrupt gates with DPL 0
	Data     map[uint64][]byte
}

// Write makes the file in the test's own folder and returns its name.
func (b Bare) Write(t testing.TB) string {
	t.Helper()
	handlers, at := b.handlers()
	if len(handlers.B) > textPages*0x1000-(Upcall-Text) {
		t.Fatalf("%d bytes of handlers: too much", len(handlers.B))
	}
	data := make([]byte, DataSize)
	b.tables(data, at)
	for a, v := range b.Data {
		copy(data[a-Data:], v)
	}
	return Image{Code: b.Code, Handler: handlers, Data: data}.Write(t)
}

// At is where the handler of a vector of its own will be, or of a routine in
// place of one. All handlers are known.
func (b Bare) At(v byte) uint64 {
	_, at := b.handlers()
	return at[v]
}

// handlers is the code at Upcall, and where each vector's is.
func (b Bare) handlers() (c *Code, at [256]uint64) {
	c = new(Code)
	for v := range 256 {
		at[v] = Upcall + uint64(len(c.B))
		if !PushesError(byte(v)) {
			c.Raw(0x6a, 0) // push 0
		}
		c.Raw(0x68, byte(v), 0, 0, 0, 0xe9) // push vector; jmp common
		c.B = le.AppendUint32(c.B, uint32(common-Upcall-len(c.B)-4))
	}
	c.B = append(c.B, make([]byte, common-Upcall-len(c.B))...)
	becomeResult(c)
	for v := range 256 {
		if own := b.Handlers[byte(v)]; own != nil {
			at[v] = Upcall + uint64(len(c.B))
			c.Raw(own.B...)
		}
	}
	return c, at
}

// becomeResult stores what [Fault] makes of vector, error code and CR2, and
// goes on at R14 with the stack as it was.
func becomeResult(c *Code) {
	c.Pop(RBX).Pop(RAX).Raw(0x0f, 0xb6, 0xc0)                 // movzx eax, al
	c.Raw(0x48, 0x89, 0xda, 0x48, 0xc1, 0xe2, 0x08)           // mov rdx, rbx; shl rdx, 8
	c.Raw(0x48, 0x09, 0xc2, 0x48, 0xc1, 0xe2, 0x30)           // or rdx, rax; shl rdx, 48
	c.Raw(0x31, 0xc0, 0x83, 0xfb, 14)                         // xor eax, eax; cmp ebx, 14
	c.Unless(NotEqual, func(c *Code) { c.FromCR(2) })         //
	c.Raw(0x48, 0xc1, 0xe0, 0x10, 0x48, 0xc1, 0xe8, 0x10)     // shl rax, 16; shr rax, 16
	c.Raw(0x48, 0x09, 0xd0, 0x48, 0x0f, 0xba, 0xe8, 0x3f)     // or rax, rdx; bts rax, 63
	c.Raw(0x48, 0x81, 0x64, 0x24, 16, 0xff, 0xfe, 0xff, 0xff) // and qword [rsp+16], ^TF
	c.Result().Raw(0x4c, 0x89, 0x34, 0x24).Raw(0xfc).Iretq()  // mov [rsp], r14; cld
}

// PushesError says whether a vector's frame begins with an error code.
func PushesError(v byte) bool {
	switch v {
	case 8, 10, 11, 12, 13, 14, 17, 21:
		return true
	}
	return false
}

func (b Bare) tables(data []byte, at [256]uint64) {
	put := func(a, v uint64) { le.PutUint64(data[a-Data:], v) }
	put(GDT+8, 0x00af9b000000ffff)
	put(GDT+16, 0x00cf93000000ffff)
	put(GDT+0x20, 0x00cff3000000ffff)
	put(GDT+0x28, 0x00affb000000ffff)
	put(GDT+TaskSel, (tssSize-1)|TSS&0xffffff<<16|0x89<<40|TSS>>24<<56)
	put(TSS+4, Stack0)
	put(TSS+36, Stack1)
	le.PutUint16(data[TSS-Data+102:], tssSize)
	for v := range 256 {
		g := b.Gates[byte(v)]
		attr := uint64(0x8e) | uint64(g.DPL)<<5
		if g.Trap {
			attr |= 1
		}
		if g.Gone {
			attr &^= 0x80
		}
		put(IDT+16*uint64(v), at[v]&0xffff|KernelCS<<16|uint64(g.IST)<<32|attr<<40|at[v]>>16<<48)
	}
	table := func(a, base uint64, limit uint16) {
		le.PutUint16(data[a-Data:], limit)
		put(a+2, base)
	}
	table(gdtr, GDT, TaskSel+15)
	table(idtr, IDT, 4095)
}

// BeginBare loads the tables and makes R15 point to the results.
func (c *Code) BeginBare() *Code {
	c.Mov(R15, Results)
	c.Mov(RAX, gdtr).Raw(0x0f, 0x01, 0x10)
	c.Mov(RAX, idtr).Raw(0x0f, 0x01, 0x18)
	return c.Mov(RAX, TaskSel).Raw(0x0f, 0x00, 0xd8) // ltr ax
}

// GoUser goes on at virtual CPL 3 with what follows, interrupts as the flags say.
func (c *Code) GoUser(flags uint64) *Code {
	c.Mov(RAX, UserSS).Push(RAX).Mov(RAX, UserStack).Push(RAX)
	c.Mov(RAX, flags).Push(RAX).Mov(RAX, UserCS).Push(RAX)
	c.Raw(0x48, 0x8d, 0x05, 4, 0, 0, 0) // lea rax, [rip+…]
	c.Raw(0x50, 0x48, 0xcf)             // push rax; iretq
	return c.Raw(0x90)                  //
}

// AllowUser lets virtual CPL 3 have the image's text and data.
func (c *Code) AllowUser() *Code {
	const user = 1 << 2
	for a := uint64(Text); a < Text+textPages*0x1000; a += 0x1000 {
		c.Allow(a, user)
	}
	for a := uint64(Data); a < Data+DataSize; a += 0x1000 {
		c.Allow(a, user)
	}
	return c.Flush()
}
