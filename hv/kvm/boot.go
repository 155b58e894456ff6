package kvm

import (
	"encoding/binary"

	"github.com/pvrun/pvrun/hv/engine"
	"github.com/pvrun/pvrun/hypercall"
)

// The machine's system pages: the only ones that ring 0 uses. They are mapped
// at engine.SystemGVA for the supervisor, in this order.
const (
	pageGDT = iota
	pageIDT
	pageTSS
	pageStack // ring 0; its lower half is for the vectors with their own stack
	pageStubs

	// SystemPages is how many frames NewVCPU wants.
	SystemPages
)

// Selectors in the GDT.
const (
	selKernelCode = 1 << 3
	selKernelData = 2 << 3
	selUserData   = 4<<3 | 3
	selUserCode   = 5<<3 | 3
	selTSS        = 6 << 3
	gdtEntries    = 8
)

const (
	// hypercallPort is the one port that CPL 3 may write.
	hypercallPort = 0xf0
	// exceptionPort + vector is where a stub reports that vector.
	exceptionPort = 0x40
	vectors       = 32

	tssSize   = 104 // Intel SDM volume 3A, "TSS Format in 64-bit Mode"
	ioMapSize = hypercallPort/8 + 1
	tssLimit  = tssSize + ioMapSize // one more byte of ones ends the map

	stubSize  = 4
	stackTop  = hypercall.PageSize
	stackTop2 = hypercall.PageSize / 2
)

func systemAddr(page int) uint64 { return engine.SystemGVA + uint64(page)*hypercall.PageSize }

// fillSystem writes the descriptor tables and stubs. sys is SystemPages pages.
func fillSystem(sys []byte) {
	page := func(i int) []byte { return sys[i*hypercall.PageSize:][:hypercall.PageSize] }
	fillGDT(page(pageGDT))
	fillTSS(page(pageTSS))
	fillIDT(page(pageIDT))
	fillStubs(page(pageStubs))
}

func fillGDT(b []byte) {
	le := binary.LittleEndian
	put := func(i int, v uint64) { le.PutUint64(b[8*i:], v) }
	put(1, 0x00af9b000000ffff) // ring 0 code, 64-bit
	put(2, 0x00cf93000000ffff) // ring 0 data
	put(4, 0x00cff3000000ffff) // ring 3 data
	put(5, 0x00affb000000ffff) // ring 3 code, 64-bit
	base := systemAddr(pageTSS)
	put(6, tssLimit|(base&0xffffff)<<16|0x89<<40|(base>>24&0xff)<<56)
	put(7, base>>32)
}

// fillTSS opens hypercallPort and no other (Intel SDM volume 1, "I/O
// Permission Bit Map").
func fillTSS(b []byte) {
	le := binary.LittleEndian
	le.PutUint64(b[4:], systemAddr(pageStack)+stackTop)   // RSP0
	le.PutUint64(b[36:], systemAddr(pageStack)+stackTop2) // IST1
	le.PutUint16(b[102:], tssSize)
	for i := tssSize; i <= tssLimit; i++ {
		b[i] = 0xff
	}
	b[tssSize+hypercallPort/8] &^= 1 << (hypercallPort % 8)
}

// Vectors whose handler needs a stack that works whatever went wrong.
const (
	vectorNMI         = 2
	vectorBreakpoint  = 3
	vectorDoubleFault = 8
	vectorPageFault   = 14
	vectorMachine     = 18
)

// fillIDT writes 64-bit interrupt gates (Intel SDM volume 3A, "64-Bit Mode
// IDT").
func fillIDT(b []byte) {
	le := binary.LittleEndian
	for v := range vectors {
		h := systemAddr(pageStubs) + uint64(v)*stubSize
		attr := uint64(0x8e) // present, DPL 0, interrupt gate
		if v == vectorBreakpoint {
			attr = 0xee // INT3 is for everyone
		}
		ist := uint64(0)
		if v == vectorNMI || v == vectorDoubleFault || v == vectorMachine {
			ist = 1
		}
		le.PutUint64(b[16*v:], h&0xffff|selKernelCode<<16|ist<<32|attr<<40|(h>>16&0xffff)<<48)
		le.PutUint64(b[16*v+8:], h>>32)
	}
}

// fillStubs writes one stub a vector: OUT to a port that names it. No register
// changes on the way.
func fillStubs(b []byte) {
	for v := range vectors {
		copy(b[v*stubSize:], []byte{0xe6, byte(exceptionPort + v), 0xeb, 0xfc}) // out imm8, al; jmp to it
	}
}

// HypercallPage is the code that the guest calls: OUT to the port, RET. The
// rest is HLT, which CPL 3 may not execute.
func HypercallPage(b []byte) {
	n := copy(b, []byte{0xe6, hypercallPort, 0xc3}) // out imm8, al; ret
	for i := n; i < len(b); i++ {
		b[i] = 0xf4
	}
}

// userSegments are the segments that guest code runs with.
func userSegments() (code, data segment) {
	code = segment{limit: 0xffffffff, selector: selUserCode, present: 1, typ: 11, dpl: 3, s: 1, l: 1, g: 1}
	data = segment{limit: 0xffffffff, selector: selUserData, present: 1, typ: 3, dpl: 3, s: 1, db: 1, g: 1}
	return code, data
}

// taskSegment is written anew each time: KVM hands TR back with the busy bit
// set, whatever it was. VT-x enters with no other (Intel SDM volume 3C, "Checks on
// Guest Segment Registers"), and KVM sees to it only when long mode begins. SVM takes
// either, but QEMU's emulation of it looks at the I/O bitmap of none that is busy.
func taskSegment() segment {
	typ := uint8(9)
	if hasVMX() {
		typ = 11
	}
	return segment{base: systemAddr(pageTSS), limit: tssLimit, selector: selTSS, typ: typ, present: 1}
}

// hasVMX says whether the host's processor has VT-x (Intel SDM volume 2, "CPUID").
func hasVMX() bool {
	_, _, ecx, _ := cpuid(1, 0)
	return ecx&(1<<5) != 0
}
