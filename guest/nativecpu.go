package guest

import (
	"unsafe"

	"github.com/pvrun/pvrun/hypercall"
)

// The processor's tables on a bare machine (Intel SDM volume 3A, "Protected-Mode
// Memory Management", "Interrupt and Exception Handling").

// Vectors beyond the exceptions.
const (
	vectorPIC      = 0x20 // and 15 more
	vectorTimer    = 0x30
	vectorSpurious = 0xff

	lastStub = vectorTimer + 1 // of the spurious vector
)

const (
	vectorPageFault = 14

	// withError are the exceptions that push an error code (Intel SDM volume 3A,
	// "Exceptions and Interrupts").
	withError = 1<<8 | 1<<10 | 1<<11 | 1<<12 | 1<<13 | 1<<14 | 1<<17 | 1<<21 | 1<<29 | 1<<30
	// fatalVectors end the machine wherever they come up: NMI, double fault,
	// machine check.
	fatalVectors = 1<<2 | 1<<8 | 1<<18

	flagIF = 1 << 9
)

// Selectors beyond BootCS and BootSS, and descriptors (Intel SDM volume 3A,
// "Segment Descriptors", "TSS Descriptor in 64-bit Mode").
const (
	selectorTSS = 0x18

	descriptorCode = 0x00af_9b00_0000_ffff // 64-bit, accessed
	descriptorData = 0x00cf_9300_0000_ffff
	descriptorTSS  = 0x0000_8900_0000_0000 // available
	gateInterrupt  = 0x8e
	trapIST        = 1
)

// taskState is the 64-bit TSS, of which only one stack is used ("64-Bit Task
// State Segment"). Its fields are not aligned.
type taskState [26]uint32

// gateEntry is an interrupt gate ("64-Bit Mode IDT").
type gateEntry struct{ lo, hi uint64 }

// tablePointer is what LGDT and LIDT read: 16 bits of limit and the base, at the
// end of 16 bytes.
type tablePointer struct {
	_     [6]byte
	limit uint16
	base  uintptr
}

func (p *tablePointer) operand() uintptr { return uintptr(unsafe.Pointer(&p.limit)) }

// The tables are the processor's from loadTables on.
var (
	gdt     [5]uint64
	idt     [256]gateEntry
	tss     taskState
	gdtAddr tablePointer
	idtAddr tablePointer
)

// trapState is what the trap's assembly and Go parts tell each other.
type trapState struct {
	addr, code uintptr // of a page fault
	state      uintptr // XSAVE area, 64-byte aligned
	frame      uintptr // of a fatal trap: vector, error, RIP, CS, RFLAGS, RSP, SS
	busy       bool    // the Go part runs: nothing may trap
	done       bool    // the page has come
}

var (
	lastTrap  trapState
	trapSaved [maxState + 64]byte
)

// Assembly; see native_amd64.s.
func in8(port uint16) uint8
func in32(port uint16) uint32
func out8(port uint16, v uint8)
func out32(port uint16, v uint32)
func inBytes(port uint16, to, n uintptr)
func outBytes(port uint16, from, n uintptr)
func inWords(port uint16, to, n uintptr)
func outWords(port uint16, from, n uintptr)
func writeMSR(index uint32, v uint64)
func readCR3() uint64
func writeCR3(v uint64)
func setCR4(bits uint64)
func invalidatePage(addr uintptr)
func loadTables(gdt, idt uintptr, tr uint16)
func random() (v uint64, ok bool)
func zeroPage(at uintptr)
func halt() uint64
func findStubs() uintptr

// interruptGate is an interrupt gate to a handler that runs on the trap stack.
func interruptGate(to uintptr) gateEntry {
	at := uint64(to)
	return gateEntry{
		lo: at&0xffff | hypercall.BootCS<<16 | trapIST<<32 | gateInterrupt<<40 | at>>16&0xffff<<48,
		hi: at >> 32,
	}
}

// tssDescriptor is the descriptor of a TSS, which takes two places.
func tssDescriptor(at uintptr) (lo, hi uint64) {
	const limit = uint64(unsafe.Sizeof(taskState{})) - 1
	base := uint64(at)
	lo = limit | base&0xff_ffff<<16 | descriptorTSS | base>>24&0xff<<56
	return lo, base >> 32
}

// setTrapStack says where the stack of the gates begins ("64-Bit Task State
// Segment", IST1), and that there is no I/O permission map.
func (t *taskState) setTrapStack(top uintptr) {
	t[9], t[10] = uint32(top), uint32(uint64(top)>>32)
	t[25] = uint32(unsafe.Sizeof(*t)) << 16
}

// initProcessor makes the tables and gives them to the processor.
func initProcessor() {
	gdt[hypercall.BootCS/8], gdt[hypercall.BootSS/8] = descriptorCode, descriptorData
	gdt[selectorTSS/8], gdt[selectorTSS/8+1] = tssDescriptor(uintptr(unsafe.Pointer(&tss)))
	tss.setTrapStack((uintptr(unsafe.Pointer(&cpu0.trapStack)) + trapStackSize) &^ 15)
	lastTrap.state = (uintptr(unsafe.Pointer(&trapSaved)) + 63) &^ 63
	stubs := findStubs()
	for v := range uintptr(lastStub) {
		idt[v] = interruptGate(stubs + 8*v)
	}
	idt[vectorSpurious] = interruptGate(stubs + 8*lastStub)
	gdtAddr.limit, gdtAddr.base = uint16(unsafe.Sizeof(gdt)-1), uintptr(unsafe.Pointer(&gdt))
	idtAddr.limit, idtAddr.base = uint16(unsafe.Sizeof(idt)-1), uintptr(unsafe.Pointer(&idt))
	loadTables(gdtAddr.operand(), idtAddr.operand(), selectorTSS)
}

// Model-specific registers (Intel SDM volume 4).
const (
	msrEFER  = 0xc000_0080
	msrSTAR  = 0xc000_0081
	msrLSTAR = 0xc000_0082
	msrFMASK = 0xc000_0084

	eferStart = 0xd00 // LME, LMA and NXE, as the contract has it
	eferSCE   = 1
)

// initSyscall has SYSCALL enter at rawGate with interrupts disabled.
func initSyscall() {
	const clears = flagIF | 1<<8 | 1<<10 | 1<<18 // TF, DF and AC
	writeMSR(msrSTAR, hypercall.BootCS<<32)
	writeMSR(msrLSTAR, uint64(code.rawGate))
	writeMSR(msrFMASK, clears)
	writeMSR(msrEFER, eferStart|eferSCE)
}

// trapFatal is for what must not happen: an exception in the kernel, or one that
// nobody can go on from.
func trapFatal() {
	f := (*[7]uintptr)(unsafe.Pointer(lastTrap.frame))
	var w textWriter
	w.text("trap ")
	w.hex(f[0])
	w.text(" in the kernel: error ")
	w.hex(f[1])
	w.text(", RIP ")
	w.hex(f[2])
	w.text(", RSP ")
	w.hex(f[5])
	w.text(", RFLAGS ")
	w.hex(f[4])
	w.text(", CR2 ")
	w.hex(lastTrap.addr)
	w.crash()
}

// textWriter makes a crash's text without memory of its own.
type textWriter struct {
	buf [256]byte
	n   int
}

func (w *textWriter) text(s string) {
	for i := 0; i < len(s) && w.n < len(w.buf); i++ {
		w.buf[w.n] = s[i]
		w.n++
	}
}

func (w *textWriter) hex(v uintptr) {
	const digits = "0123456789abcdef"
	w.text("0x")
	shift := 60
	for shift > 0 && v>>shift == 0 {
		shift -= 4
	}
	for ; shift >= 0 && w.n < len(w.buf); shift -= 4 {
		w.buf[w.n] = digits[v>>shift&15]
		w.n++
	}
}

func (w *textWriter) decimal(v uint64) {
	var d [20]byte
	n := len(d)
	for n == len(d) || v > 0 {
		n--
		d[n] = '0' + byte(v%10)
		v /= 10
	}
	for _, c := range d[n:] {
		if w.n < len(w.buf) {
			w.buf[w.n] = c
			w.n++
		}
	}
}

func (w *textWriter) crash() {
	hostCall(hypercall.CallCrash, uintptr(unsafe.Pointer(&w.buf)), uintptr(w.n), 0, 0, 0, 0)
}
