package hypercall

// Call is a hypercall number. It travels in RAX, the arguments in RDI, RSI,
// RDX, R10, R8 and R9, the result comes back in RAX: zero or a positive value,
// or minus a [Status]. No other register changes. 0 is reserved for ever.
type Call uint64

const (
	// CallExit ends the machine. (code uint8 | signal<<8): a program that a
	// signal killed passes the signal's number. Does not return.
	CallExit Call = 1
	// CallBlock waits until an event is pending or the monotonic clock has
	// reached deadline. (deadline int64 ns, Forever for none) Returns 0.
	// The only way to be idle.
	CallBlock Call = 2
	// CallConsoleWrite writes to the program's stdout (1) or stderr (2).
	// (fd, buf GVA, len bytes ≤ MaxConsole) Returns bytes taken, or EAGAIN;
	// then EventConsoleOut tells when to try again.
	CallConsoleWrite Call = 3
	// CallConsoleRead reads from the program's stdin. (buf GVA, len bytes)
	// Returns bytes, 0 at the end, or EAGAIN; then EventConsoleIn tells when.
	CallConsoleRead Call = 4
	// CallMap makes zeroed memory appear. (start GVA, len bytes, flags MapFlag)
	// Both page-aligned; what is mapped there is replaced. ENOMEM when the
	// machine's memory cannot hold it; EACCES for a forbidden permission.
	CallMap Call = 5
	// CallUnmap takes mappings and their memory away. (start GVA, len bytes)
	CallUnmap Call = 6
	// CallProtect changes the permissions of what is mapped.
	// (start GVA, len bytes, flags MapFlag) Holes are EINVAL and nothing is
	// changed. Permissions of pages that the image made executable are final.
	CallProtect Call = 7
	// CallDiscard keeps mappings and makes their memory zero, returning it to
	// the host. (start GVA, len bytes) Only writable pages; others stay.
	CallDiscard Call = 8
	// CallAlias maps the frames behind [source, source+len) once more.
	// (start GVA, len bytes, flags MapFlag, source GVA) The source must be
	// mapped whole and not executable.
	CallAlias Call = 9
	// CallSetUpcall registers where events and exceptions enter the guest.
	// (args GVA of UpcallArgs)
	CallSetUpcall Call = 10
	// CallEntropy fills a buffer with random bytes from the host.
	// (buf GVA, len bytes ≤ MaxEntropy) Returns bytes.
	CallEntropy Call = 11
	// CallSuspend tells the host that the guest has come to rest. (moment Ready)
	// moment is the one of StartInfo.Ready that was reached, or 0 when the host has
	// asked; EINVAL for another. It returns SuspendContinued on the machine that called
	// and SuspendResumed on one started from the snapshot; both have a fresh
	// start-info page.
	CallSuspend Call = 12
	// CallHostFile works on a file below a folder that the host shares.
	// (args GVA of HostFileArgs)
	CallHostFile Call = 13
	// CallMulticall does an array of calls in one exit.
	// (entries GVA of [n]MulticallEntry, n ≤ MaxMulticall) Each entry has its
	// own result; returns the number done.
	CallMulticall Call = 14
	// CallCrash ends the machine for a fault the guest found in itself.
	// (text GVA, len bytes ≤ MaxCrash) Does not return.
	CallCrash Call = 15

	CallSnapshot Call = 16 // reserved
	CallTrace    Call = 17 // reserved
	CallCoreDump Call = 18 // reserved

	// CallDoorbell tells the host that a BlockRing has requests. It returns at once,
	// and nothing that says anything.
	CallDoorbell Call = 19

	// CallNetDoorbell tells the host that a NetRings has packets, or room that it asked
	// to be told of. It returns at once, and nothing that says anything.
	CallNetDoorbell Call = 20

	// CallRespond ends the invocation that a [Message] has begun. (id uint64,
	// status, buf GVA, len bytes ≤ MaxMessage) status is MessageDone or
	// MessageFailed, then with the error's text. EINVAL when no such message is
	// under way. The machine may stand still from here on until the next message.
	CallRespond Call = 21

	// CallStream does something with a stream. (id uint64, op StreamOp, buf GVA,
	// len bytes) StreamOp says what comes back. EINVAL when no such stream is under way.
	CallStream Call = 22

	CallEnd Call = 23 // one past the last number
)

var callNames = [CallEnd]string{
	"", "exit", "block", "console_write", "console_read", "map", "unmap", "protect",
	"discard", "alias", "set_upcall", "entropy", "suspend", "host_file", "multicall",
	"crash", "snapshot", "trace", "core_dump", "doorbell", "net_doorbell",
	"respond", "stream",
}

// String is the call's name as `--stats` and docs/abi.md spell it.
func (c Call) String() string {
	if c == 0 || c >= CallEnd {
		return "unknown"
	}
	return callNames[c]
}

// Limits that the host enforces on one call.
const (
	MaxConsole   = 1 << 20 // bytes of one CallConsoleRead or CallConsoleWrite
	MaxEntropy   = 4096    // bytes of one CallEntropy
	MaxMulticall = 512     // entries of one CallMulticall
	MaxCrash     = 1024    // bytes of one CallCrash
	MaxPath      = 4096    // bytes of a path in HostFileArgs
)

// Forever is the deadline of a CallBlock that only an event ends.
const Forever = 1<<63 - 1

// Results of CallSuspend.
const (
	SuspendContinued = 0
	SuspendResumed   = 1
)

// MapFlag is a set of permissions and wishes of the paging calls. A mapping
// without MapRead cannot be touched. Write and execute together are EACCES,
// and so is execute in every call: only the image's own text is executable.
type MapFlag uint64

const (
	MapRead  MapFlag = 1 << iota
	MapWrite         // implies MapRead
	MapExec          // refused; here so that the refusal can be asked for
	MapLazy          // CallMap: take memory at first touch, promise none

	MapFlagsKnown = MapRead | MapWrite | MapExec | MapLazy
)
