package guest

import (
	"unsafe"

	"github.com/pvrun/pvrun/hypercall"
)

// cpu0 is the first vCPU's; bootTLS is the word at -8(FS) until the runtime
// names its own.
var (
	cpu0    cpu
	bootTLS [2]uintptr
)

func moveTLS(base uintptr)

func vcpuPage() *hypercall.VCPUInfo {
	return (*hypercall.VCPUInfo)(unsafe.Pointer(uintptr(hypercall.VCPUInfoGVA)))
}

// boot makes the kernel ready and prepares the first thread to enter the Go
// runtime as a Linux process would be entered.
func boot() {
	si := Info()
	if si.Magic != hypercall.StartMagic || si.Version != hypercall.Version ||
		si.Mode != hypercall.ModePV && si.Mode != hypercall.ModeTrap {
		crash("start-info page of another contract")
	}
	findCode(&code)
	if isNative {
		initNative(si)
	}
	offerClock()
	initMemory()
	initThreads()
	initPoller()
	if !isNative {
		initRings(si)
	}
	umask.Store(0o022)
	t := newThread()
	initCredentials(&t.creds)
	t.frame = frame{rip: code.entry, rsp: initialStack(si), rflags: 2}
	t.leave, t.run = leaveFull, threadRunning
	setRunning(t)
	cpuTime.since = monotonic()
	sliceEnd = cpuTime.since + timeSlice
	if !isNative {
		setUpcall()
	}
}

func setUpcall() {
	args := hypercall.UpcallArgs{
		Entry:         hypercall.GVA(code.upcall),
		Stack:         hypercall.GVA(kernelStackTop()),
		CriticalStart: hypercall.GVA(code.critical),
		CriticalEnd:   hypercall.GVA(code.criticalEnd),
		Restart:       hypercall.GVA(code.restart),
		Syscall:       hypercall.GVA(code.rawGate),
	}
	if call(hypercall.CallSetUpcall, uintptr(unsafe.Pointer(&args)), 0, 0, 0) != 0 {
		crash("the host refuses the upcall")
	}
}

func kernelStackTop() uintptr { return cpu0.g.stackHi }

// Entries of the auxiliary vector (getauxval(3)).
const (
	atNull   = 0
	atPagesz = 6
	atRandom = 25
)

// initialStack builds argc, argv, envp and the auxiliary vector (System V ABI,
// AMD64 supplement, "Initial Stack and Register State") and returns its
// address: at the end of the first stack, or in memory of its own when there
// are many strings.
func initialStack(si *hypercall.StartInfo) uintptr {
	words := uintptr(si.ArgCount) + uintptr(si.EnvCount) + 18
	top := uintptr(hypercall.BootStackTop)
	if words*8 > 16<<10 {
		const runtimeStack = 128 << 10 // the runtime takes 64 KiB below for g0
		n := pageUp(words*8) + runtimeStack
		at := kernelAlloc(n)
		if at == 0 {
			crash("no memory for arguments and environment")
		}
		top = at + n
	}
	sp := (top - words*8) &^ 15
	// The runtime wipes these bytes once it has used them.
	random := (*[2]uint64)(unsafe.Pointer(top - 16))
	*random = *(*[2]uint64)(unsafe.Pointer(&si.Entropy))
	w := stackWriter{sp}
	w.put(uintptr(si.ArgCount))
	w.strings(si.Args, si.ArgCount)
	w.put(0)
	w.strings(si.Env, si.EnvCount)
	w.put(0)
	w.put(atPagesz)
	w.put(hypercall.PageSize)
	w.put(atRandom)
	w.put(uintptr(unsafe.Pointer(random)))
	w.put(atNull)
	w.put(0)
	return sp
}

type stackWriter struct{ at uintptr }

func (w *stackWriter) put(v uintptr) {
	*(*uintptr)(unsafe.Pointer(w.at)) = v
	w.at += 8
}

// strings puts the addresses of n NUL-terminated strings.
func (w *stackWriter) strings(e hypercall.Extent, n uint32) {
	at := uintptr(e.Addr)
	for range n {
		w.put(at)
		for *(*byte)(unsafe.Pointer(at)) != 0 {
			at++
		}
		at++
	}
}

// crash ends the machine for a fault of the kernel's own.
func crash(text string) {
	hostCall(hypercall.CallCrash, uintptr(unsafe.Pointer(unsafe.StringData(text))), uintptr(len(text)), 0, 0, 0, 0)
}
