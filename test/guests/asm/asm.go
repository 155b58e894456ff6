// Package asm makes images by hand for tests: machine code, a page or two of
// data and a note, with nothing of Go inside.
package asm

import (
	"encoding/binary"
	"os"
	"path/filepath"
	"testing"

	"github.com/pvrun/pvrun/hypercall"
)

// Reg is a general register, by its number in an instruction.
type Reg byte

// The general registers (Intel SDM volume 2, "Register Encoding").
const (
	RAX Reg = iota
	RCX
	RDX
	RBX
	RSP
	RBP
	RSI
	RDI
	R8
	R9
	R10
	R11
	R12
	R13
	R14
	R15
)

// Where an image's parts are.
const (
	Text      = 0x400000
	Data      = 0x600000
	DataSize  = 64 << 10
	Upcall    = Text + 0x8000 // the handler that Begin registers
	UpStack   = Data + DataSize - 16
	Results   = Data + 0x1000 // what Try and Result store
	textPages = 16
)

// Code is machine code under construction.
type Code struct{ B []byte }

var le = binary.LittleEndian

// Raw appends instruction bytes.
func (c *Code) Raw(b ...byte) *Code { c.B = append(c.B, b...); return c }

// Mov is MOV r, imm64. Clobbers nothing else.
func (c *Code) Mov(r Reg, v uint64) *Code {
	c.Raw(0x48|byte(r>>3), 0xb8|byte(r&7))
	c.B = le.AppendUint64(c.B, v)
	return c
}

// MovReg is MOV to, from.
func (c *Code) MovReg(to, from Reg) *Code {
	return c.Raw(0x48|byte(from>>3)<<2|byte(to>>3), 0x89, 0xc0|byte(from&7)<<3|byte(to&7))
}

var argRegs = [...]Reg{RDI, RSI, RDX, R10, R8, R9}

// Hypercall calls the host; the result is in RAX. Clobbers R11.
func (c *Code) Hypercall(nr hypercall.Call, args ...uint64) *Code {
	for i, v := range args {
		c.Mov(argRegs[i], v)
	}
	return c.Mov(RAX, uint64(nr)).CallPage()
}

// CallPage calls the hypercall page with the registers as they are.
func (c *Code) CallPage() *Code {
	return c.Mov(R11, uint64(hypercall.HypercallGVA)).Raw(0x41, 0xff, 0xd3) // call r11
}

// Load is MOV RAX, [addr]. Clobbers R11.
func (c *Code) Load(addr uint64) *Code { return c.Mov(R11, addr).Raw(0x49, 0x8b, 0x03) }

// Store is MOV [addr], v. Clobbers RAX and R11.
func (c *Code) Store(addr, v uint64) *Code {
	return c.Mov(RAX, v).Mov(R11, addr).Raw(0x49, 0x89, 0x03)
}

// Store32 is a store of 32 bits. Clobbers RAX and R11.
func (c *Code) Store32(addr, v uint64) *Code {
	return c.Mov(RAX, v).Mov(R11, addr).Raw(0x41, 0x89, 0x03)
}

// JmpTo is JMP addr. Clobbers R11.
func (c *Code) JmpTo(addr uint64) *Code { return c.Mov(R11, addr).Raw(0x41, 0xff, 0xe3) }

// Result appends RAX to the results.
func (c *Code) Result() *Code {
	return c.Raw(0x49, 0x89, 0x07, 0x49, 0x83, 0xc7, 0x08) // mov [r15], rax; add r15, 8
}

// NoFault is what Try stores when nothing faults and RAX was not set.
const NoFault = 0x600d

// Try does what f emits. The result is RAX, which begins as NoFault, or the
// fault as [Fault] makes it.
func (c *Code) Try(f func(c *Code)) *Code {
	c.Raw(0x4c, 0x8d, 0x35, 0, 0, 0, 0) // lea r14, [rip+…]
	from := len(c.B)
	c.Mov(RAX, NoFault)
	f(c)
	c.Result()
	le.PutUint32(c.B[from-4:], uint32(len(c.B)-from))
	return c
}

// TryRaw is Try for instruction bytes.
func (c *Code) TryRaw(b ...byte) *Code { return c.Try(func(c *Code) { c.Raw(b...) }) }

// Fault is the result of a Try that faulted: its vector, error code and, for
// a page fault, the low 48 bits of the address.
func Fault(vector, code uint8, addr uint64) uint64 {
	return 1<<63 | uint64(vector)<<56 | uint64(code)<<48 | addr&(1<<48-1)
}

// Exit ends the machine.
func (c *Code) Exit(code uint64) *Code { return c.Hypercall(hypercall.CallExit, code) }

// Finish writes the results to stdout and ends the machine with code 0.
func (c *Code) Finish() *Code {
	c.MovReg(RDX, R15).Mov(RSI, Results).Raw(0x48, 0x29, 0xf2) // sub rdx, rsi
	c.Mov(RDI, 1).Mov(RAX, uint64(hypercall.CallConsoleWrite)).CallPage()
	return c.Exit(0)
}

// Spin is a loop without end.
func (c *Code) Spin() *Code { return c.Raw(0xeb, 0xfe) }

// Begin makes R15 point to the results, registers the handler at Upcall and
// unmasks events.
func (c *Code) Begin() *Code {
	return c.Mov(R15, Results).SetUpcall(hypercall.UpcallArgs{Entry: Upcall, Stack: UpStack}).Unmask()
}

// SetUpcall registers an upcall, by way of the first words of the data.
func (c *Code) SetUpcall(u hypercall.UpcallArgs) *Code {
	for i, v := range []hypercall.GVA{u.Entry, u.Stack, u.CriticalStart, u.CriticalEnd, u.Restart, u.Syscall} {
		c.Store(Data+8*uint64(i), uint64(v))
	}
	return c.Hypercall(hypercall.CallSetUpcall, Data)
}

// Offsets in a vCPU's page.
const (
	Mask     = uint64(hypercall.VCPUInfoGVA)
	Pending  = Mask + 4
	Deadline = Mask + 8
)

// Unmask lets events and exceptions in.
func (c *Code) Unmask() *Code { return c.Store32(Mask, 0) }

// Handler is what Begin registers: it stores the fault as a result and goes on
// at R14, where Try left it.
func Handler() *Code {
	c := new(Code)
	page := uint64(hypercall.VCPUInfoGVA)
	c.Load(page+48).MovReg(RBX, RAX)                 // vector
	c.Raw(0x48, 0xc1, 0xe3, 0x08)                    // shl rbx, 8
	c.Load(page+56).Raw(0x0f, 0xb6, 0xc0)            // error code; movzx eax, al
	c.Raw(0x48, 0x09, 0xc3)                          // or rbx, rax
	c.Raw(0x48, 0xc1, 0xe3, 0x30)                    // shl rbx, 48
	c.Load(page + 64)                                // CR2
	c.Raw(0x48, 0xc1, 0xe0, 0x10)                    // shl rax, 16
	c.Raw(0x48, 0xc1, 0xe8, 0x10)                    // shr rax, 16
	c.Raw(0x48, 0x09, 0xd8)                          // or rax, rbx
	c.Raw(0x48, 0x0f, 0xba, 0xe8, 0x3f)              // bts rax, 63
	return c.Result().Unmask().Raw(0x41, 0xff, 0xe6) // jmp r14
}

// Image is an image to write.
type Image struct {
	Code    *Code
	Handler *Code // nil: Handler()
	Data    []byte
	Version uint32 // of the ABI; 0: the current one
	Net     bool   // it says that it can use NICs
}

// Write makes the file in the test's own folder and returns its name.
func (img Image) Write(t testing.TB) string {
	t.Helper()
	if img.Handler == nil {
		img.Handler = Handler()
	}
	if img.Version == 0 {
		img.Version = hypercall.Version
	}
	if len(img.Code.B) > Upcall-Text || len(img.Data) > DataSize {
		t.Fatalf("%d bytes of code, %d of data: too much", len(img.Code.B), len(img.Data))
	}
	name := filepath.Join(t.TempDir(), "image")
	if err := os.WriteFile(name, img.bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
	return name
}

func (img Image) bytes() []byte {
	const textAt, dataAt, textSize = 0x1000, 0x1000 + textPages*0x1000, textPages * 0x1000
	b := make([]byte, dataAt+DataSize)
	copy(b, "\x7fELF\x02\x01\x01")
	le.PutUint16(b[16:], 2)
	le.PutUint16(b[18:], 62)
	le.PutUint64(b[24:], Text)
	le.PutUint64(b[32:], 64)
	le.PutUint16(b[54:], 56)
	le.PutUint16(b[56:], 3)
	note := img.note()
	header := func(i int, typ, flags uint32, off, addr, size uint64) {
		h := b[64+56*i:]
		le.PutUint32(h, typ)
		le.PutUint32(h[4:], flags)
		le.PutUint64(h[8:], off)
		le.PutUint64(h[16:], addr)
		le.PutUint64(h[32:], size)
		le.PutUint64(h[40:], size)
	}
	header(0, 1, 5, textAt, Text, textSize)
	header(1, 1, 6, dataAt, Data, DataSize)
	header(2, 4, 4, 0x200, 0, uint64(len(note)))
	copy(b[0x200:], note)
	for i := range b[textAt:dataAt] {
		b[textAt+i] = 0xcc // INT3
	}
	copy(b[textAt:], img.Code.B)
	copy(b[textAt+Upcall-Text:], img.Handler.B)
	copy(b[dataAt:], img.Data)
	return b
}

func (img Image) note() []byte {
	b := le.AppendUint32(nil, 6)
	b = le.AppendUint32(b, 24)
	b = le.AppendUint32(b, hypercall.NoteType)
	b = append(b, "pvrun\x00\x00\x00"...)
	b = le.AppendUint32(b, img.Version)
	b = le.AppendUint32(b, 0)
	b = le.AppendUint64(b, uint64(hypercall.FeatureConsole))
	usable := hypercall.FeatureConsole | hypercall.FeatureTrapMode
	if img.Net {
		usable |= hypercall.FeatureNet
	}
	return le.AppendUint64(b, uint64(usable))
}
