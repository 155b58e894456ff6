package guest

import "unsafe"

// thread is one of the runtime's Ms. It is a schedulable context and holds no
// Go pointers: links are addresses, so that storing one needs no write barrier.
type thread struct {
	frame frame
	leave uintptr // leaveCall, leaveFull or leaveState
	userG uintptr // the runtime's g, while the thread is not running user code
	state uintptr // XSAVE area, 64-byte aligned

	id       int32
	run      runState
	next     uintptr // in the queue that run names
	sleeping bool    // in the list of sleepers
	later    uintptr // next sleeper
	deadline int64   // monotonic ns, while sleeping
	wait     waitKind
	addr     uintptr // futex; pipe: where to store
	events   uintptr // epoll: where to store; pipe: which
	max      int32   // how many, to store

	cpu    int64     // time that it had the vCPU, up to cpuTime.since
	timers timerList // that count its time

	signals  signalQueue
	mask     uint64 // signals it does not take
	altStack uintptr
	altSize  uintptr
	altFlags int32

	creds Credentials
}

type runState uint8

const (
	threadFree runState = iota
	threadRunnable
	threadRunning
	threadWaiting
)

// waitKind is what a waiting thread waits for besides its deadline.
type waitKind uint8

const (
	waitSleep waitKind = iota
	waitFutex
	waitEpoll
	waitPipe
)

// Threads live in chunks of memory, each with its XSAVE area behind it.
const (
	chunkThreads = 16
	maxChunks    = 640 // the runtime's own limit is 10,000 threads
	maxState     = 4096
	threadSize   = (unsafe.Sizeof(thread{}) + 63) &^ 63
	firstChunk   = chunkThreads * (threadSize + maxState)
)

// threads is owned by the vCPU: only its kernel code touches it.
var threads struct {
	chunks   [maxChunks]uintptr
	used     int     // chunks
	free     uintptr // list of free threads
	live     int
	stride   uintptr
	stateLen uintptr
	first    [firstChunk + 64]byte
}

func threadAt(p uintptr) *thread { return (*thread)(unsafe.Pointer(p)) }

func (t *thread) addrOf() uintptr { return uintptr(unsafe.Pointer(t)) }

// Assembly; see rt0_amd64.s.
func running() *thread
func setRunning(t *thread)

// initThreads learns how large an XSAVE area is and makes the first chunk.
func initThreads() {
	threads.stateLen = stateSize()
	if threads.stateLen > maxState {
		crash("extended state larger than the guest provides for")
	}
	threads.stride = threadSize + (threads.stateLen+63)&^63
	addChunk((uintptr(unsafe.Pointer(&threads.first)) + 63) &^ 63)
}

// hasXSAVE and stateMask are read by assembly: whether there is XSAVE, and the
// state components that it saves.
var (
	hasXSAVE  bool
	stateMask uint32
)

// tileState is AMX's components (Intel SDM volume 1, "State Components"). They
// are 8 KiB, and the Go compiler and its assembly do not use them.
const tileState = 1<<17 | 1<<18

// stateSize is the size of the extended state in bytes (Intel SDM volume 1,
// "Enumeration of CPU Support for XSAVE Instructions"). The first 512 bytes are
// FXSAVE's, the next 64 the header.
func stateSize() uintptr {
	const osxsave = 1 << 27
	if _, _, ecx, _ := cpuid(1, 0); ecx&osxsave == 0 {
		return 512
	}
	hasXSAVE, stateMask = true, xgetbv()&^tileState
	size := uint32(576)
	for i := uint32(2); i < 32; i++ {
		if stateMask&(1<<i) != 0 {
			n, at, _, _ := cpuid(0xd, i)
			size = max(size, at+n)
		}
	}
	return uintptr(size)
}

// xgetbv reads the low half of XCR0.
func xgetbv() uint32

func cpuid(leaf, index uint32) (eax, ebx, ecx, edx uint32)

func addChunk(at uintptr) {
	threads.chunks[threads.used] = at
	for i := chunkThreads - 1; i >= 0; i-- {
		t := threadAt(at + uintptr(i)*threads.stride)
		t.id = int32(threads.used*chunkThreads + i + 1)
		t.state = t.addrOf() + threadSize
		t.next = threads.free
		threads.free = t.addrOf()
	}
	threads.used++
}

// newThread returns a thread in state threadFree that the caller makes ready,
// or nil.
func newThread() *thread {
	if threads.free == 0 {
		if threads.used == maxChunks {
			return nil
		}
		at := kernelAlloc(chunkThreads * threads.stride)
		if at == 0 {
			return nil
		}
		addChunk(at)
	}
	t := threadAt(threads.free)
	threads.free = t.next
	threads.live++
	t.next, t.mask, t.altStack, t.altSize, t.altFlags = 0, 0, 0, 0, 2
	t.signals, t.timers, t.cpu = signalQueue{}, timerList{next: never}, 0
	t.sleeping = false
	return t
}

func freeThread(t *thread) {
	if timers.used > 0 {
		forgetTimers(t)
	}
	t.run = threadFree
	t.next = threads.free
	threads.free = t.addrOf()
	threads.live--
}

// threadByID is the live thread of that number, or nil.
func threadByID(id int32) *thread {
	i := int(id) - 1
	if i < 0 || i >= threads.used*chunkThreads {
		return nil
	}
	t := threadAt(threads.chunks[i/chunkThreads] + uintptr(i%chunkThreads)*threads.stride)
	if t.run == threadFree {
		return nil
	}
	return t
}

// eachThread calls f for the live threads until it returns true.
func eachThread(f func(t *thread) bool) {
	for id := int32(1); id <= int32(threads.used*chunkThreads); id++ {
		if t := threadByID(id); t != nil && f(t) {
			return
		}
	}
}

// clone starts a thread that runs from where its parent's CALL returns, on a
// stack of its own. TLS needs nothing: -8(FS) belongs to whoever runs, and
// the child stores its g there.
func clone(t *thread, stack uintptr) int64 {
	c := newThread()
	if c == nil {
		return -eAGAIN
	}
	c.frame = t.frame
	c.frame.rax, c.frame.rsp, c.frame.rflags = 0, stack, 2
	c.leave = leaveFull
	c.userG = 0
	c.mask, c.creds = t.mask, t.creds
	makeRunnable(c)
	return int64(c.id)
}
