package guest

import (
	"sync/atomic"
	"unsafe"

	"github.com/pvrun/pvrun/hypercall"
)

// native does an operation on a bare machine, with interrupts disabled.
func native(nr hypercall.Call, a1, a2, a3, a4 uintptr) int64 {
	switch nr {
	case hypercall.CallExit:
		for i := range uarts {
			uarts[i].drain()
		}
		out32(hypercall.ControlPort, uint32(a1))
	case hypercall.CallBlock:
		waitForInterrupt(int64(a1))
		return 0
	case hypercall.CallConsoleWrite:
		return uartWrite(a1, a2, a3)
	case hypercall.CallConsoleRead:
		return uartRead(a1, a2)
	case hypercall.CallMap:
		return -int64(paging.doMap(a1, a2, hypercall.MapFlag(a3)))
	case hypercall.CallUnmap:
		return -int64(paging.doUnmap(a1, a2))
	case hypercall.CallProtect:
		return -int64(paging.doProtect(a1, a2, hypercall.MapFlag(a3)))
	case hypercall.CallDiscard:
		return -int64(paging.doDiscard(a1, a2))
	case hypercall.CallAlias:
		return -int64(paging.doAlias(a1, a2, hypercall.MapFlag(a3), a4))
	case hypercall.CallEntropy:
		return entropy(a1, a2)
	}
	return -int64(hypercall.ENOSYS)
}

// initNative makes a bare machine what the kernel expects of a host.
func initNative(si *hypercall.StartInfo) {
	initProcessor()
	initPaging(si)
	initSyscall()
	initAPIC()
	initPIC(1<<irqCOM1 | 1<<irqCOM2 | 1<<hypercall.ControlIRQ | nicLines)
	initClock()
}

// cr4PGE is the flag that keeps global pages (Intel SDM volume 3A, "Control
// Registers"). Setting it makes the processor forget all that it knew.
const cr4PGE = 1 << 7

func initPaging(si *hypercall.StartInfo) {
	paging.setGlobal(code.text&^(pageSize-1), uintptr(si.ImageEnd))
	paging.setGlobal(uintptr(hypercall.DirectMapGVA), uintptr(hypercall.DirectMapGVA)+uintptr(si.MemBytes))
	setCR4(cr4PGE)
}

// initClock fills the clock's part of the shared page, which here is nobody
// else's.
func initClock() {
	c := &Shared().Clock
	c.Mult = calibrate(measure).nsPerTick()
	wall := readRTC()
	c.TSCBase = rdtsc()
	c.WallOffset = wall * 1e9
}

// waitForInterrupt halts until an interrupt comes, or the time.
func waitForInterrupt(deadline int64) {
	if vcpuPage().Pending != 0 || deadline <= monotonic() {
		return
	}
	if deadline < never {
		armTimer(deadline)
	}
	interrupted(halt())
}

// interrupted makes an interrupt the event that the kernel knows.
func interrupted(vector uint64) {
	pending := uint32(0)
	switch vector {
	case vectorTimer:
		timerInterrupted()
		pending = 1 << hypercall.EventTimer
	case vectorPIC + irqCOM1:
		pending = uarts[0].interrupted()
	case vectorPIC + irqCOM2:
		pending = uarts[1].interrupted()
	case vectorPIC + hypercall.ControlIRQ:
		takeSignals()
		pending = 1 << hypercall.EventSignal
	default:
		if vector -= vectorPIC + hypercall.NE2000IRQ; vector < hypercall.MaxNICs {
			notify(FDNet, epollIn)
			pending = 1 << hypercall.EventNet
		}
	}
	vcpuPage().Pending |= pending
}

// takeSignals reads the signals that the host passes on. The line rises again
// only after it has been down, and it was if there was nothing in the second half.
func takeSignals() {
	for {
		low := uint64(in32(hypercall.ControlPort))
		high := uint64(in32(hypercall.ControlPort + 4))
		atomic.OrUint64(&Shared().Signals, low|high<<32)
		if high == 0 {
			return
		}
	}
}

// hasRandom is whether the processor has RDRAND (Intel SDM volume 2, "CPUID").
var hasRandom bool

func entropy(to, n uintptr) int64 {
	const rdrand = 1 << 30
	if !hasRandom {
		if _, _, ecx, _ := cpuid(1, 0); ecx&rdrand == 0 {
			crash("this processor has no RDRAND, and a bare machine no other source of random bytes")
		}
		hasRandom = true
	}
	switch {
	case n > hypercall.MaxEntropy:
		return -eINVAL
	case !paging.bring(to, n, faultWrite):
		return -eFAULT
	}
	for done := uintptr(0); done < n; done += 8 {
		v, ok := randomWord()
		if !ok {
			return -int64(hypercall.EIO)
		}
		for i := range min(n-done, 8) {
			setByteAt(to+done+i, byte(v>>(8*i)))
		}
	}
	return int64(n)
}

// randomWord tries as often as the manual says (Intel SDM volume 1, "RDRAND").
func randomWord() (v uint64, ok bool) {
	for range 10 {
		if v, ok = random(); ok {
			return v, true
		}
	}
	return 0, false
}

func byteAt(a uintptr) byte       { return *(*byte)(unsafe.Pointer(a)) }
func setByteAt(a uintptr, v byte) { *(*byte)(unsafe.Pointer(a)) = v }
