package hypercall

import "unsafe"

// StartMagic begins every start-info page: "pvrun\x00si".
const StartMagic uint64 = 0x6973_006e_7572_7670

// StartInfo is what the host tells a guest before its first instruction, at
// StartInfoGVA, read-only. The guest is entered at the image's entry point
// with RDI = StartInfoGVA, RSP = BootStackTop, GS base = its VCPUInfo and
// events masked. CallSuspend returns with a fresh one.
type StartInfo struct {
	Magic      uint64
	Version    uint32
	Mode       Mode
	Features   Feature // what the host offers
	MemBytes   uint64  // the machine's memory, page tables included
	FreeBytes  uint64  // of it, not given out when the guest starts
	Generation uint64  // grows by one for every life that a snapshot gets
	InstanceID [16]byte
	Entropy    [64]byte // random; used once
	ImageEnd   GVA      // first address after the image, page-aligned
	RootFS     Extent   // the newc archive in guest memory; Len 0 for none
	Args       Extent   // ArgCount NUL-terminated strings
	Env        Extent   // EnvCount NUL-terminated KEY=VALUE strings
	Dir        Extent   // first working directory, no NUL
	Hostname   Extent   // no NUL
	ArgCount   uint32
	EnvCount   uint32
	VCPUs      uint32
	Console    uint32 // ConsoleFlag bits
	Rows, Cols uint16 // of the terminal; 0 when unknown
	ShareCount uint32
	Shares     Extent // ShareCount structures [Share]: what CallHostFile works in
	FreeFrom   GPA    // ModeTrap: nothing was loaded from here up to MemBytes
	Disks      Extent // DiskCount structures [Disk]
	DiskCount  uint32
	NICCount   uint32
	FileRing   GVA    // a [BlockRing] for BlockHostFile; 0 for none
	NICs       Extent // NICCount structures [NIC]
	Messages   GVA    // a [MessageQueue]; 0 for none
	Ready      Ready  // when the guest shall call CallSuspend by itself, once
	ReadyPort  uint32 // with ReadyListen: the TCP port

	// ServicePort is the TCP port of 127.0.0.1 at which the guest takes connections for
	// the host: each becomes a stream, by StreamConnect. 0: none.
	ServicePort uint32
	Pad         uint32
}

// Extent is a run of bytes in the guest's address space.
type Extent struct {
	Addr GVA
	Len  uint64 // bytes
}

// Bits of StartInfo.Console.
const (
	ConsoleTTY0 = 1 << iota // stdin is a terminal
	ConsoleTTY1             // stdout is a terminal
	ConsoleTTY2             // stderr is a terminal
)

// Share is one folder that the host shares. Its place in StartInfo.Shares is
// its number in [HostFileArgs].
type Share struct {
	Path  Extent // where the guest shows it: absolute and clean, no NUL
	Flags uint64 // ShareWritable
}

// Ready is a set of moments, the first of which a guest takes for CallSuspend: its
// program is ready then.
type Ready uint32

const (
	ReadyMessage Ready = 1 << iota // the program waits for its first message
	ReadyListen                    // the program waits for a connection to a TCP port, ReadyPort
	ReadyCall                      // the program says so
	ReadyConnect                   // the program has connected to ServicePort, and the host has not heard of it
)

// Bits of Share.Flags.
const (
	ShareWritable = 1 // the folder may be changed
)

var (
	_ = [1]struct{}{}[unsafe.Sizeof(StartInfo{})-336]
	_ = [1]struct{}{}[unsafe.Sizeof(Share{})-24]
)
