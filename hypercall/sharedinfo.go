package hypercall

import "unsafe"

// SharedInfo is the page at SharedInfoGVA, which both sides write.
type SharedInfo struct {
	Clock ClockInfo

	// Signals has bit n-1 set for each signal n that the host passes on. The
	// host sets bits and then EventSignal; the guest takes them by exchange.
	Signals uint64

	// MainTSC is the guest's TSC when main.main was about to run; 0 before.
	// The guest stores it once, the host only reports it.
	MainTSC uint64

	// MessagesTaken is how many messages the guest has taken out of the
	// [MessageQueue], ever. The guest stores it.
	MessagesTaken uint32
	Pad           uint32
}

// ClockInfo turns the guest's TSC into time. The host writes it under Seq
// (odd while it writes); a reader repeats until Seq is even and unchanged.
//
//	monotonic ns = NSBase + ((TSC-TSCBase)*Mult)>>32
//	wall-clock ns since 1970 = monotonic ns + WallOffset
type ClockInfo struct {
	Seq        uint32
	Pad        uint32
	TSCBase    uint64
	NSBase     uint64
	Mult       uint64 // ns per TSC tick, 32.32 fixed point
	WallOffset int64
}

// Event is the number of an event channel: a bit of VCPUInfo.Pending.
type Event uint32

const (
	EventTimer      Event = 0 // VCPUInfo.Deadline has passed
	EventSignal     Event = 1 // SharedInfo.Signals has a new bit
	EventConsoleIn  Event = 2 // CallConsoleRead is worth another try
	EventConsoleOut Event = 3 // CallConsoleWrite is worth another try
	EventSuspend    Event = 4 // the host asks for CallSuspend
	EventBlock      Event = 5 // a BlockRing has responses
	EventNet        Event = 6 // a NetRings has packets or room, or its link changed
	EventMessage    Event = 7 // the MessageQueue has a message
)

// VCPUInfo is a vCPU's own page, at its GS base. The guest writes Mask and
// Deadline and takes Pending by exchange; the host sets bits of Pending and,
// on an upcall, Mask and the fields from RIP on.
type VCPUInfo struct {
	Mask     uint32 // 1: no upcalls now
	Pending  uint32 // bit n: event n has happened
	Deadline int64  // monotonic ns of the next EventTimer; Forever for none.
	// A running guest is told within one tick, a blocked one by the
	// deadline of its CallBlock.
	Self GVA // this page's own address, stored by the host

	RIP    uint64 // of the interrupted code
	RSP    uint64
	RFLAGS uint64
	Vector uint64 // exception vector, or VectorEvent
	Error  uint64 // the exception's error code, 0 where it has none
	CR2    uint64 // page faults: the address
}

// VCPUPrivate is the offset in a vCPU's page from which on it is the guest's
// own; the host neither reads nor writes there.
const VCPUPrivate = 256

// VectorEvent is VCPUInfo.Vector when no exception but an event is delivered.
const VectorEvent = 256

// TickNS is the host's timer tick, in ns: how late EventTimer may reach a
// guest that does not block. It is a little more than 10 ms so that a sleep of
// 10 ms begun at one tick, as Go's sysmon does, is over at the next.
const TickNS = 10_200_000

var (
	_ = [1]struct{}{}[unsafe.Sizeof(ClockInfo{})-40]
	_ = [1]struct{}{}[unsafe.Sizeof(SharedInfo{})-64]
	_ = [1]struct{}{}[unsafe.Sizeof(VCPUInfo{})-72]
)
