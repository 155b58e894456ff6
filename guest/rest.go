package guest

import (
	"sync/atomic"
	"unsafe"

	"github.com/pvrun/pvrun/hypercall"
)

// Coming to rest. Somebody outside the kernel stops the world and then calls [Rest]:
// a goroutine whose program has become ready, or the one that sysmon wakes when the
// host has asked. Sysmon is there in any program, and looks for the wish in each of its
// rounds, so no goroutine has to wait for it.
var (
	restWanted  atomic.Uint32  // the host asks
	sysmonFutex atomic.Uintptr // where sysmon sleeps while all else does; 0 before
	rests       atomic.Uint64
	restMoment  atomic.Uint32 // that was reached; 0: none
	lives       atomic.Uint64
)

// RestWanted is whether the host has asked the machine to come to rest and it has not
// yet.
func RestWanted() bool { return restWanted.Load() != 0 }

// SysmonSleeps tells of a futex on which sysmon may sleep for long.
func SysmonSleeps(futex uintptr) { sysmonFutex.Store(futex) }

// Rests is how often the machine has come to rest: each time it may have gone on more
// than once. What is random and was drawn before must not be used after.
func Rests() uint64 { return rests.Load() }

// Lives is how often the machine has gone on as another one: each time its rings are new,
// and its network is another.
func Lives() uint64 { return lives.Load() }

// OnRest is called when the machine has come to rest, with the world still stopped, if
// the library's door is there.
var OnRest func()

// RestFor notes why the machine comes to rest next: for a moment that the program has
// reached.
func RestFor(moment hypercall.Ready) { restMoment.Store(uint32(moment)) }

// Rest suspends the machine, and fills seed with random bytes of this life when it goes
// on. The caller has stopped the world and runs on a system stack.
func Rest(seed *[64]byte) { Gate(sysRest, uintptr(unsafe.Pointer(seed)), 0, 0, 0, 0, 0) }

// wantRest notes the host's wish and sees to it that sysmon looks.
func wantRest() {
	if Info().Features&hypercall.FeatureSuspend == 0 {
		return
	}
	restWanted.Store(1)
	if futex := sysmonFutex.Load(); futex != 0 {
		futexWakeUp(futex, 1)
	}
}

// mayNotSleep is whether a futex is the one of a sysmon that has to look first.
func mayNotSleep(futex uintptr) bool { return restWanted.Load() != 0 && futex == sysmonFutex.Load() }

// rest is the point at which the host may take a snapshot. Each other thread is inside
// the kernel, or where an event has interrupted it.
func rest(seed *[64]byte) int64 {
	if !writable(uintptr(unsafe.Pointer(seed)), unsafe.Sizeof(*seed)) {
		return -eFAULT
	}
	restWanted.Store(0)
	charge(running(), monotonic())
	drainRings()
	r := call(hypercall.CallSuspend, uintptr(restMoment.Swap(0)), 0, 0, 0)
	freshState()
	cpuTime.since = monotonic()
	rests.Add(1)
	if r == hypercall.SuspendResumed {
		renewNets()
		lives.Add(1)
	}
	*seed = Info().Entropy // which is fresh: to ask for more would be an exit in each life
	notify(FDRest, epollIn)
	return r
}

// initialState is an XSAVE area in which all components are as the processor starts
// with them: FXSAVE's part and the header.
var initialState [512 + 64 + 64]byte

// Offsets in an FXSAVE area, and what Linux starts a program with (Intel SDM volume 1,
// "FXSAVE Area").
const (
	fxFCW, initialFCW     = 0, 0x37f
	fxMXCSR, initialMXCSR = 24, 0x1f80
)

// freshState makes the extended state that of a fresh processor, and data segments null:
// what they hold may be of the life before. A KVM that runs the guest at CPL 3 of the host
// leaves the selectors alone.
func freshState() {
	nullSegments()
	at := (uintptr(unsafe.Pointer(&initialState)) + 63) &^ 63
	*(*uint16)(unsafe.Pointer(at + fxFCW)) = initialFCW
	*(*uint32)(unsafe.Pointer(at + fxMXCSR)) = initialMXCSR
	restoreState(at)
}

// nullSegments makes the selectors of DS, ES, FS and GS null. Bases stay.
func nullSegments()

// restoreState takes all components of the extended state from an area.
func restoreState(at uintptr)
