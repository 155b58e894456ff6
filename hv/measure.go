package hv

import (
	"runtime"
	"slices"
	"time"

	"github.com/pvrun/pvrun/hv/engine"
	"github.com/pvrun/pvrun/hv/kvm"
	"github.com/pvrun/pvrun/hv/proc"
	"github.com/pvrun/pvrun/hypercall"
	"golang.org/x/sys/unix"
)

// Costs are what guest code costs on this host, in ns. Those that the process engine does
// not have are 0.
type Costs struct {
	RingZeroNS   float64 `json:"ring0_instruction_ns,omitempty"` // one instruction at CPL 0
	UserNS       float64 `json:"cpl3_instruction_ns"`            // the same at CPL 3
	KernelExitNS float64 `json:"kernel_exit_ns,omitempty"`       // a doorbell, which the kernel answers
	ExitNS       float64 `json:"exit_ns"`                        // a hypercall, out and back
	FaultNS      float64 `json:"page_fault_ns"`                  // a page fault of guest code, to the host and back
	PageNS       float64 `json:"first_touch_ns"`                 // first write to a page
}

// Measure runs a few instructions in a machine of its own, with KVM, and times them. It
// takes some tens of milliseconds.
func Measure() (Costs, error) {
	return measure(kvm.Engine, func(m *meter) []func(*Costs) error {
		return []func(*Costs) error{m.exits, m.doorbells, m.faults, m.pages, m.user, m.ringZero}
	})
}

// MeasureProcess is Measure with the process engine.
func MeasureProcess() (Costs, error) {
	return measure(proc.Engine, func(m *meter) []func(*Costs) error {
		return []func(*Costs) error{m.exits, m.faults, m.pages, m.user}
	})
}

func measure(e engine.Engine, steps func(*meter) []func(*Costs) error) (Costs, error) {
	runtime.LockOSThread() // which a vCPU wants
	defer runtime.UnlockOSThread()
	m, err := newMeter(e)
	if err != nil {
		return Costs{}, err
	}
	defer m.close()
	var c Costs
	for _, step := range steps(m) {
		if err := step(&c); err != nil {
			return Costs{}, err
		}
	}
	return c, nil
}

// meter is a machine without an image.
type meter struct {
	vm  VM
	cpu engine.VCPU
}

const (
	meterCode  hypercall.GVA = 0x400000
	meterData  hypercall.GVA = 0x800000
	meterPages               = 256
	meterBell                = 0xb0 // the hypercall that is a doorbell
)

func newMeter(e engine.Engine) (*meter, error) {
	m := &meter{}
	m.vm.engine, m.vm.cfg.Memory = e, 4<<20
	if err := m.create(); err != nil {
		m.close()
		return nil, err
	}
	return m, nil
}

func (m *meter) create() (err error) {
	if m.vm.mem, err = m.vm.newPVMemory(); err != nil {
		return err
	}
	if m.vm.machine, err = m.vm.engine.New(m.vm.engineMemory()); err != nil {
		return err
	}
	if m.vm.tables, err = newPageTables(m.vm.mem); err != nil {
		return err
	}
	m.vm.boot = loader{m.vm.mem, m.vm.tables}
	system, _ := m.vm.mem.takeRun(m.vm.engine.SystemPages())
	if err = m.vm.tables.mapSystem(m.vm.engine, system); err != nil {
		return err
	}
	first, ok := m.vm.mem.takeRun(meterPages)
	if !ok {
		return errTooSmall
	}
	if err = m.vm.tables.mapFrames(meterData, first, meterPages, pteWrite|pteNX); err != nil {
		return err
	}
	_, code, err := m.vm.place(meterCode, pageSize, pteFinal)
	if err != nil {
		return err
	}
	if err := m.vm.loadHypercallPage(); err != nil {
		return err
	}
	if err := m.vm.loadBootStack(); err != nil {
		return err
	}
	copy(code[codeExit:], []byte{0xff, 0xd3, 0xeb, 0xfc})                                                              // call rbx; jmp back
	copy(code[codeCount:], []byte{0xff, 0xc9, 0x75, 0xfc, 0xff, 0xd3})                                                 // dec ecx; jnz back; call rbx
	copy(code[codeTouch:], []byte{0xc6, 0x07, 1, 0x48, 0x81, 0xc7, 0, 0x10, 0, 0, 0xff, 0xc9, 0x75, 0xf2, 0xff, 0xd3}) // mov byte [rdi], 1; add rdi, 4096; dec ecx; jnz; call rbx
	copy(code[codeBells:], []byte{0xb0, meterBell, 0xff, 0xd3, 0xff, 0xc9, 0x75, 0xfa, 0xb0, 0, 0xff, 0xd3})           // mov al, meterBell; call rbx; dec ecx; jnz; mov al, 0; call rbx
	m.cpu, err = m.vm.machine.NewVCPU(0, engine.Boot{
		Root: m.vm.tables.root.gpa(), System: m.vm.mem.run(system, m.vm.engine.SystemPages()), HostTSC: rdtsc,
	})
	return err
}

// Offsets of the programs in the code page.
const (
	codeExit  = 0
	codeCount = 64
	codeTouch = 128
	codeBells = 192
)

func (m *meter) close() {
	if m.cpu != nil {
		_ = m.cpu.Close()
	}
	if m.vm.machine != nil {
		_ = m.vm.machine.Close()
	}
	if m.vm.mem != nil {
		_ = m.vm.mem.close()
	}
}

// enter runs a program until it exits and returns how long that took.
func (m *meter) enter(offset int, count uint64) (time.Duration, error) {
	r := m.cpu.Regs()
	r.RIP, r.RDI, r.RCX = uint64(meterCode)+uint64(offset), uint64(meterData), count
	r.RBX, r.RSP = uint64(hypercall.HypercallGVA), uint64(hypercall.BootStackTop)
	m.cpu.RegsChanged()
	return m.run()
}

func (m *meter) run() (time.Duration, error) {
	for {
		start := time.Now()
		e, err := m.cpu.Run()
		took := time.Since(start)
		switch {
		case err != nil:
			return 0, err
		case e.Reason == engine.Hypercall:
			return took, nil
		case e.Reason != engine.Interrupted:
			return 0, &GuestFault{Reason: exitText(e), Regs: *m.cpu.Regs()}
		}
	}
}

func (m *meter) exits(c *Costs) error {
	const n = 200
	if _, err := m.enter(codeExit, 0); err != nil {
		return err
	}
	var all [n]time.Duration
	for i := range all {
		var err error
		if all[i], err = m.run(); err != nil {
			return err
		}
	}
	slices.Sort(all[:])
	c.ExitNS = float64(all[n/2].Nanoseconds()) // the rest is subtracted by it
	return nil
}

func (m *meter) doorbells(c *Costs) error {
	const n = 200
	bell, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		return err
	}
	defer unix.Close(bell)
	if err := m.vm.machine.Doorbell(bell, meterBell); err != nil {
		return err
	}
	took, err := m.enter(codeBells, n)
	c.KernelExitNS = max(0, float64(took.Nanoseconds())-c.ExitNS) / n
	return err
}

// faults has one instruction fault again and again.
func (m *meter) faults(c *Costs) error {
	const n = 100
	r := m.cpu.Regs()
	r.RIP, r.RDI, r.RCX = uint64(meterCode)+codeTouch, uint64(meterData)-pageSize, 1
	m.cpu.RegsChanged()
	start := time.Now()
	for left := n; left > 0; {
		switch e, err := m.cpu.Run(); {
		case err != nil:
			return err
		case e.Reason == engine.Exception && e.Vector == vectorPageFault:
			left--
		case e.Reason != engine.Interrupted:
			return &GuestFault{Reason: exitText(e), Regs: *m.cpu.Regs()}
		}
	}
	c.FaultNS = float64(time.Since(start).Nanoseconds()) / n
	return nil
}

func (m *meter) pages(c *Costs) error {
	took, err := m.enter(codeTouch, meterPages)
	c.PageNS = max(0, float64(took.Nanoseconds())-c.ExitNS) / meterPages
	return err
}

// count times instructions, two a turn.
func (m *meter) count(c *Costs, turns uint64) (float64, error) {
	took, err := m.enter(codeCount, turns)
	return max(0, float64(took.Nanoseconds())-c.ExitNS) / float64(2*turns), err
}

func (m *meter) user(c *Costs) (err error) {
	c.UserNS, err = m.count(c, 10_000_000)
	return err
}

func (m *meter) ringZero(c *Costs) (err error) {
	if err := m.cpu.(*kvm.VCPU).EnterRingZero(); err != nil {
		return err
	}
	const few, more = 1000, 100_000
	c.RingZeroNS, err = m.count(c, few)
	if err == nil && c.RingZeroNS*2*few < 20*c.ExitNS { // not interpreted: so few are nothing beside an exit
		c.RingZeroNS, err = m.count(c, more)
	}
	return err
}
