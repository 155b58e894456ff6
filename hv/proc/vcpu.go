package proc

import (
	"fmt"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/pvrun/pvrun/hv/engine"
	"github.com/pvrun/pvrun/hypercall"
	"golang.org/x/sys/unix"
)

// VCPU is the child as a virtual CPU.
type VCPU struct {
	m      *Machine
	c      *child
	tables tables
	regs   engine.Regs
	fs, gs uint64
	flags  uint32 // for the stub
	list   []command
	tsc    engine.TSC

	missing uint64 // a page fault that the machine above was told of; 0: none
	code    uint64 // its error code
	stuck   stuck
	// failures to map memory, one after the other
	failures int

	kicked  atomic.Bool
	running atomic.Bool // it is the child's turn, or about to be
	asked   time.Time   // when it was first asked to come out, and has not yet
	tick    ticker
	pace    pace
	counts  counts
}

// NewVCPU sets up the machine's one vCPU.
func (m *Machine) NewVCPU(id int, boot engine.Boot) (engine.VCPU, error) {
	v := &VCPU{m: m, c: m.child, tables: tables{m.mem.Data, boot.Root}, gs: uint64(boot.GSBase), flags: flagBases}
	v.regs.RFLAGS = 2
	v.tsc.Hz = tscHz()
	v.pace.second = v.tsc.Hz
	return v, nil
}

func (v *VCPU) Regs() *engine.Regs { return &v.regs }

// RegsChanged does nothing: the registers go to the child at each Run.
func (v *VCPU) RegsChanged() {}

// FromHypercallPage is true: there is no other way to call. Guest code that jumps into
// the gate goes on in the hypercall page all the same.
func (v *VCPU) FromHypercallPage() bool { return true }

func (v *VCPU) Bases() (fs, gs uint64) { return v.fs, v.gs }

func (v *VCPU) SetBases(fs, gs uint64) {
	v.fs, v.gs = fs, gs
	v.flags |= flagBases
}

// SetRoot changes the page tables.
func (v *VCPU) SetRoot(root hypercall.GPA) {
	v.tables.root = root
	v.m.tlb.flush()
}

// SetSyscallEntry does nothing: a SYSCALL is exception 6.
func (v *VCPU) SetSyscallEntry(hypercall.GVA) error { return nil }

// Bits of the registers that guest code runs with (Intel SDM volume 3A, "Control
// Registers"; volume 4, IA32_EFER).
const (
	cr0      = 1<<0 | 1<<1 | 1<<4 | 1<<5 | 1<<16 | 1<<18 | 1<<31 // PE, MP, ET, NE, WP, AM, PG
	cr4      = 1<<5 | 1<<9 | 1<<10 | 1<<16                       // PAE, OSFXSR, OSXMMEXCPT, FSGSBASE
	cr4XSAVE = 1 << 18
	efer     = 1<<8 | 1<<10 | 1<<11 // LME, LMA, NXE
)

func (v *VCPU) ControlRegisters() (_, _, _, xcr0 uint64) {
	return cr0, cr4 | cr4XSAVE, efer, xgetbv()
}

func (v *VCPU) TSC() engine.TSC { return v.tsc }

// counts is what the engine has done.
type counts struct {
	turns, calls, faults, fills, commands uint64
}

// KernelStats are the engine's own counts: turns of the child's that ended, of these
// calls and signals, page faults that were no affair of the machine above, system calls
// that the child was told to make, and the child's CPU time, ns.
func (v *VCPU) KernelStats() map[string][]uint64 {
	n := &v.counts
	return map[string][]uint64{
		"exits": {n.turns}, "calls": {n.calls}, "signals": {n.faults}, "page_fills": {n.fills}, "child_calls": {n.commands},
		"cpu_ns": {v.c.cpuTime()},
	}
}

// Close does nothing: the machine's does.
func (v *VCPU) Close() error { return nil }

// Kick makes a Run that is under way, or the next one, return Interrupted.
func (v *VCPU) Kick() {
	v.kicked.Store(true)
	if v.running.Load() {
		v.c.signal(kickSignal)
	}
}

// Run lets guest code run until it comes out.
func (v *VCPU) Run() (engine.Exit, error) {
	v.running.Store(true)
	defer v.running.Store(false)
	if err := v.fillMissing(); err != nil {
		return *err, nil
	}
	for {
		if v.kicked.Swap(false) {
			return engine.Exit{Reason: engine.Interrupted}, nil
		}
		v.enter()
		if e := v.wait(); e != nil {
			return *e, nil
		}
		if e, out := v.exit(); out {
			return e, nil
		}
	}
}

// enter hands registers, changed mappings and the turn to the child.
func (v *VCPU) enter() {
	v.list = v.m.tlb.commands(v.list[:0])
	ctl := v.c.ctl
	ctl.putRegs(&v.regs)
	ctl.store64(ctlFS, v.fs)
	ctl.store64(ctlGS, v.gs)
	ctl.store32(ctlFlags, v.flags)
	ctl.putCommands(v.list)
	v.flags = 0
	v.counts.commands += uint64(len(v.list))
	ctl.store32(ctlSpin, v.pace.start(v.c))
	ctl.give()
}

// wait waits until the child is done. An exit is for one that has ended, or that does
// not come out.
func (v *VCPU) wait() *engine.Exit {
	defer v.pace.stop()
	if v.pace.look(v.c.ctl) {
		v.asked = time.Time{}
		return nil
	}
	for !v.c.ctl.mine() {
		now := time.Now()
		if v.tick.due(now) {
			v.pace.tick(v.c)
			v.c.signal(kickSignal)
			if v.asked.IsZero() {
				v.asked = now
			}
		}
		v.c.ctl.wait(v.tick.left(now))
		switch {
		case v.c.ctl.mine():
		case v.c.ended():
			return v.gone("the guest's process has ended: " + v.c.how())
		case !v.asked.IsZero() && time.Since(v.asked) > patience:
			v.c.signal(syscall.SIGKILL)
			return v.gone("the guest does not let itself be interrupted")
		}
	}
	v.asked = time.Time{}
	return nil
}

// patience is how long guest code may run on that was to come out: it can hold signals
// back by a frame of its own to return from.
var patience = 5 * time.Second

func (v *VCPU) gone(detail string) *engine.Exit {
	return &engine.Exit{Reason: engine.Internal, Detail: detail}
}

// exit looks at why the child has stopped. out is false when that was the engine's own
// affair.
func (v *VCPU) exit() (e engine.Exit, out bool) {
	ctl := v.c.ctl
	v.counts.turns++
	ctl.getRegs(&v.regs)
	v.fs, v.gs = ctl.load64(ctlFS), ctl.load64(ctlGS)
	if failed := ctl.load64(ctlFailed); failed != 0 {
		ctl.store64(ctlFailed, 0)
		v.m.tlb.flush() // what was to be mapped is faulted in again
		if v.failures++; v.failures > maxFailures {
			return *v.gone(fmt.Sprintf("the guest's memory cannot be mapped: %v", syscall.Errno(-failed))), true
		}
	}
	switch reason := ctl.load32(ctlReason); reason {
	case reasonCall:
		v.counts.calls++
		v.stuck, v.failures = stuck{}, 0
		v.regs.RIP = uint64(hypercall.HypercallGVA) + pageReturn
		return engine.Exit{Reason: engine.Hypercall}, true
	case reasonKicked:
		v.kicked.Store(false)
		return engine.Exit{Reason: engine.Interrupted}, true
	case reasonSignal:
		v.counts.faults++
		return v.signal()
	case reasonStub:
		return *v.gone(fmt.Sprintf("signal %d at %#x in the engine's own code", ctl.load32(ctlSignal), v.regs.RIP)), true
	default:
		return *v.gone(fmt.Sprintf("the guest's process speaks of reason %d", reason)), true
	}
}

// maxFailures is how often in a row the child may fail to map memory.
const maxFailures = 100

// signal is a signal that guest code got.
func (v *VCPU) signal() (e engine.Exit, out bool) {
	ctl := v.c.ctl
	sig, code := ctl.load32(ctlSignal), int32(ctl.load32(ctlCode))
	switch {
	case sig == kickSignal, code <= 0: // somebody's kill
		v.kicked.Store(false)
		return engine.Exit{Reason: engine.Interrupted}, true
	case sig == uint32(unix.SIGSYS):
		return v.systemCall(ctl.load64(ctlAddr)), true
	case sig == uint32(unix.SIGILL) && ctl.load64(ctlTrap) != vectorInvalid:
		return v.systemCall(0), true // one that seccomp does not see: uretprobe
	}
	vector := ctl.load64(ctlTrap)
	switch {
	case vector == vectorPageFault:
		return v.pageFault(ctl.load64(ctlCR2), ctl.load64(ctlError), sig)
	case vector >= vectors:
		return *v.gone(fmt.Sprintf("exception %d", vector)), true
	}
	e = engine.Exit{Reason: engine.Exception, Vector: uint8(vector)}
	if engine.PushesError(e.Vector) {
		e.Error = ctl.load64(ctlError) & 0xffff
	}
	return e, true
}

const (
	vectorInvalid   = 6
	vectorPageFault = 14
	vectors         = 32
)

// systemCall is one of guest code's own, which seccomp has kept from the kernel. On a
// machine SYSCALL is #UD with the address of the instruction; RCX and R11 have changed
// here. A call of the vsyscall page is a page fault, and what it has popped was RIP.
func (v *VCPU) systemCall(after uint64) engine.Exit {
	const vsyscall, size = 0xffff_ffff_ff60_0000, 0x1000
	if after-vsyscall < size {
		v.regs.RIP = after
		v.regs.RSP -= 8
		return engine.Exit{Reason: engine.Exception, Vector: vectorPageFault, Error: 4 | faultExecute, CR2: after}
	}
	v.regs.RIP -= 2
	return engine.Exit{Reason: engine.Exception, Vector: vectorInvalid}
}

// pageFault maps the page that was touched if the guest's tables allow the access.
func (v *VCPU) pageFault(a, code uint64, sig uint32) (e engine.Exit, out bool) {
	code &= faultWrite | 4 | faultExecute
	entry := uint64(0)
	if a < guestEnd {
		entry = v.tables.entry(a)
	}
	if !allows(entry, code) {
		v.stuck = stuck{}
		v.missing, v.code = a, code
		return engine.Exit{Reason: engine.Exception, Vector: vectorPageFault, Error: code | entry&faultPresent, CR2: a}, true
	}
	if sig == uint32(unix.SIGBUS) || v.stuck.tooOften(a, v.regs.RIP) {
		return engine.Exit{Reason: engine.NoPage}, true
	}
	if fault := v.fill(a, entry, false); fault != nil {
		return *fault, true
	}
	v.counts.fills++
	return engine.Exit{}, false
}

// fillMissing maps the page of the last page fault that the machine above was told of,
// if it has provided one: the guest would touch it again.
func (v *VCPU) fillMissing() *engine.Exit {
	a := v.missing
	if v.missing = 0; a == 0 || a >= guestEnd {
		return nil
	}
	if entry := v.tables.entry(a); allows(entry, v.code) {
		return v.fill(a, entry, true)
	}
	return nil
}

// providedInAdvance is how many pages whoever answers a page fault provides without
// knowing that they will be touched. Where there are more they have memory already.
const providedInAdvance = 16

// fill has the child map a page and its neighbours. They are provided when they have
// just come.
func (v *VCPU) fill(a, entry uint64, provided bool) *engine.Exit {
	t := v.m.tlb
	t.mu.Lock()
	run := v.tables.run(a, entry, t.knows)
	t.mu.Unlock()
	at := entry&pteAddr - uint64(engine.MemoryBase) - (a/pageSize-run.first)*pageSize
	if end := at + run.n*pageSize; end < at || end > uint64(v.m.mem.Shared) {
		return v.gone(fmt.Sprintf("page table entry %#x of %#x", entry, a))
	}
	t.fill(uint32(at/pageSize), run, protection(entry), provided && run.n > providedInAdvance)
	return nil
}

// stuck notices one access that faults without end.
type stuck struct {
	addr, rip uint64
	times     int
}

func (s *stuck) tooOften(addr, rip uint64) bool {
	if addr != s.addr || rip != s.rip {
		*s = stuck{addr: addr, rip: rip}
	}
	s.times++
	return s.times > 1000
}
