package hv

import (
	"errors"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/pvrun/pvrun/hv/proc"
	"github.com/pvrun/pvrun/hypercall"
	"golang.org/x/sys/unix"
)

// Stats is what a machine did, as `pvrun run --stats` writes it. It is
// complete when Run has returned. Of a machine that has only been invoked it is what
// there was so far, all lives of one that was rewound together.
type Stats struct {
	Mode    string `json:"mode"`    // "pv" or "trap"
	Engine  string `json:"engine"`  // "kvm" or "proc"
	Backend string `json:"backend"` // the kernel module behind /dev/kvm; with "proc", "seccomp"

	Exits  ExitStats           `json:"exits"`
	Block  BlockStats          `json:"block"`
	Net    NetStats            `json:"net"`
	KVM    map[string][]uint64 `json:"kvm,omitempty"`  // the kernel's own, unaltered
	Proc   map[string][]uint64 `json:"proc,omitempty"` // the process engine's own
	TimeNS TimeStats           `json:"time_ns"`
	Memory MemoryStats         `json:"memory"`

	ExitCode int `json:"exit_code"` // 128+n when signal n ended the program
}

// ExitStats counts returns of the vCPU to user space.
type ExitStats struct {
	Total      uint64            `json:"total"`                  // KVM_RUN returns
	BeforeMain uint64            `json:"before_main"`            // of these, before main.main
	ByReason   map[string]uint64 `json:"by_reason"`              // sums to Total
	HandlerNS  map[string]uint64 `json:"handler_ns"`             // time spent answering, by reason
	Multicall  map[string]uint64 `json:"in_multicall,omitempty"` // calls inside multicalls: no exits
}

// BlockStats count what the rings of disks and shared folders have seen; all are 0 in
// trap mode.
type BlockStats struct {
	Requests     uint64 `json:"requests"`      // taken from the rings
	Inline       uint64 `json:"inline"`        // of these, when the guest blocked
	Waited       uint64 `json:"waited"`        // of these, left to the pool
	Completions  uint64 `json:"completions"`   // answers
	ReadBytes    uint64 `json:"read_bytes"`    // that were asked for
	WrittenBytes uint64 `json:"written_bytes"` // likewise
	Doorbells    uint64 `json:"doorbells"`     // that have woken the worker
	Polls        uint64 `json:"polls"`         // looks of the worker's that found nothing
	Events       uint64 `json:"events"`        // raised for answers
	LateEvents   uint64 `json:"late_events"`   // of these, after a guest that ran was given time
}

// NetStats count what the rings of all NICs have seen; in trap mode, where there are
// none, only packets and bytes. Received (Rx) is what the guest gets.
type NetStats struct {
	RxPackets  uint64 `json:"rx_packets"`
	RxBytes    uint64 `json:"rx_bytes"`
	TxPackets  uint64 `json:"tx_packets"`
	TxBytes    uint64 `json:"tx_bytes"`
	RxDropped  uint64 `json:"rx_dropped"`  // that the link could not give
	TxDropped  uint64 `json:"tx_dropped"`  // that the link did not take
	BadPackets uint64 `json:"bad_packets"` // of both ways, dropped since they made no sense
	RingFull   uint64 `json:"ring_full"`   // times that the guest had left no room to receive
	Doorbells  uint64 `json:"doorbells"`   // that have woken a worker
	Wakeups    uint64 `json:"wakeups"`     // of workers, for whatever reason
	Polls      uint64 `json:"polls"`       // looks of theirs that found nothing
	Events     uint64 `json:"events"`      // raised for packets, room and the link
	LateEvents uint64 `json:"late_events"` // of these, after a guest that ran was given time
}

// TimeStats are durations in ns.
type TimeStats struct {
	Create int64 `json:"create"`  // machine
	Load   int64 `json:"load"`    // image
	ToMain int64 `json:"to_main"` // from the first entry to main.main; 0 if never reached
	Run    int64 `json:"run"`     // first entry to end
	Total  int64 `json:"total"`
}

// MemoryStats are sizes in bytes.
type MemoryStats struct {
	Guest        int64 `json:"guest_bytes"`         // the machine's memory
	GuestTouched int64 `json:"guest_touched_bytes"` // of it, backed by host memory at the end
	HostRSS      int64 `json:"host_rss_bytes"`      // the whole host process at the end
}

// counters is where Stats is collected. Only the vCPU's thread writes it.
type counters struct {
	exits, before uint64
	reasons       map[string]*counter // of a bounded set of names
	nested        [hypercall.CallEnd]uint64

	create, load, run, toMain time.Duration
	final                     Stats
}

type counter struct {
	n  uint64
	ns int64
}

// exitTimer measures the answer to one exit.
type exitTimer struct {
	c  *counters
	at int64
}

func (c *counters) begin(vm *VM) exitTimer {
	c.exits++
	if atomic.LoadUint64(&vm.shared.MainTSC) == 0 {
		c.before++
	}
	return exitTimer{c, vm.clock.now()}
}

func (t exitTimer) end(reason string, now int64) {
	k := t.c.reasons[reason]
	if k == nil {
		if t.c.reasons == nil {
			t.c.reasons = map[string]*counter{}
		}
		k = &counter{}
		t.c.reasons[reason] = k
	}
	k.n++
	k.ns += now - t.at
}

// Reasons that are not named after a call or an instruction.
const (
	reasonPage      = "fault.page"
	reasonException = "fault.exception"
)

// callReasons are made once: a name is looked up at every exit.
var callReasons = func() (names [hypercall.CallEnd]string) {
	for c := range hypercall.CallEnd {
		names[c] = "hypercall." + c.String()
	}
	return names
}()

func callReason(call hypercall.Call) string {
	if call >= hypercall.CallEnd {
		call = 0
	}
	return callReasons[call]
}

func (c *counters) inMulticall(call hypercall.Call) {
	if call < hypercall.CallEnd {
		c.nested[call]++
	}
}

// Stats returns what the machine has done. Call it after Run, or between two Invokes; of a
// machine that was closed it tells what it did the last time.
func (vm *VM) Stats() Stats {
	if !vm.ran.Load() && vm.kick.state.Load() != closed {
		vm.stats.finish(vm, Exit{}, nil)
	}
	s := vm.stats.final
	s.Mode, s.Engine, s.Backend = vm.cfg.Mode.String(), vm.engine.Name(), vm.backend()
	return s
}

func (c *counters) finish(vm *VM, exit Exit, err error) {
	s := &c.final
	s.Exits = ExitStats{Total: c.exits, BeforeMain: c.before, ByReason: map[string]uint64{}, HandlerNS: map[string]uint64{}}
	for name, k := range c.reasons {
		s.Exits.ByReason[name], s.Exits.HandlerNS[name] = k.n, uint64(k.ns)
	}
	for i, n := range c.nested {
		if n > 0 {
			if s.Exits.Multicall == nil {
				s.Exits.Multicall = map[string]uint64{}
			}
			s.Exits.Multicall[hypercall.Call(i).String()] = n
		}
	}
	if tsc := atomic.LoadUint64(&vm.shared.MainTSC); tsc != 0 {
		c.toMain = min(c.run, time.Duration(max(0, vm.clock.at(tsc)-vm.clock.begun)))
	}
	s.TimeNS = TimeStats{
		Create: c.create.Nanoseconds(), Load: c.load.Nanoseconds(), Run: c.run.Nanoseconds(),
		ToMain: c.toMain.Nanoseconds(), Total: (c.create + c.load + c.run).Nanoseconds(),
	}
	s.ExitCode = exitCode(exit, err)
	s.Block, s.Net = vm.block.stats(), vm.net.stats()
	if vm.cfg.Mode == hypercall.ModeTrap {
		s.Net = vm.cables.stats()
	}
	s.Memory.Guest = vm.cfg.Memory
	if vm.cfg.CollectKVMStats && vm.cpu.hw != nil {
		if vm.engine == proc.Engine {
			s.Proc = vm.cpu.hw.KernelStats()
		} else {
			s.KVM = vm.cpu.hw.KernelStats()
		}
		s.Memory.GuestTouched, s.Memory.HostRSS = vm.boot.mem.touched(), hostRSS()+vm.mem.inFileOnly()
	}
}

// Exit codes for what is not the program's own end (docs/README, "Exit codes").
const (
	CodeTimeout    = 124
	CodeHostError  = 125
	CodeGuestFault = 126
)

func exitCode(exit Exit, err error) int {
	var fault *GuestFault
	switch {
	case errors.As(err, &fault):
		return CodeGuestFault
	case err != nil:
		return CodeHostError
	case exit.Signal != 0:
		return 128 + exit.Signal
	}
	return exit.Code
}

func (vm *VM) backend() string {
	if vm.engine == proc.Engine {
		return "seccomp"
	}
	return Backend()
}

// Backend names the kernel module behind /dev/kvm: kvm_intel, kvm_amd,
// kvm_pvm, or "unknown".
func Backend() string {
	for _, name := range []string{"kvm_intel", "kvm_amd", "kvm_pvm"} {
		if _, err := os.Stat("/sys/module/" + name); err == nil {
			return name
		}
	}
	return "unknown"
}

// touched counts the machine's pages that the host has backed, in bytes.
func (m *memory) touched() int64 {
	vec := make([]byte, len(m.data)>>pageShift)
	if mincore(m.data, vec) != nil {
		return 0
	}
	n := int64(0)
	for _, v := range vec {
		n += int64(v & 1)
	}
	return n << pageShift
}

// inFileOnly is how many bytes of a shared memory only the other process has touched: they
// do not count as resident here.
func (m *memory) inFileOnly() int64 {
	var st unix.Stat_t
	if m.inFile == 0 || unix.Fstat(m.file, &st) != nil {
		return 0
	}
	return max(0, st.Blocks*512-residentShared())
}

// OwnMemory is how many bytes of the host's memory the machine has that no other has: the
// pages that were written. No Run or Invoke is under way.
func (vm *VM) OwnMemory() (bytes int64) {
	list, err := vm.mem.written()
	if err != nil {
		return 0
	}
	for _, x := range list {
		bytes += int64(x.Pages) << pageShift
	}
	return bytes
}

// residentShared is what the process has of memory that it shares, in bytes
// (proc_pid_status(5), RssShmem).
func residentShared() (bytes int64) {
	b, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(b)) {
		if text, ok := strings.CutPrefix(line, "RssShmem:"); ok {
			kib, _ := strconv.ParseInt(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(text), "kB")), 10, 64)
			return kib << 10
		}
	}
	return 0
}

// hostRSS is the process's resident memory, in bytes (proc_pid_statm(5)).
func hostRSS() int64 {
	b, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		return 0
	}
	f := strings.Fields(string(b))
	if len(f) < 2 {
		return 0
	}
	n, _ := strconv.ParseInt(f[1], 10, 64)
	return n * int64(unix.Getpagesize())
}
