package hv

import (
	"slices"
	"time"

	"github.com/pvrun/pvrun/hv/engine"
	"github.com/pvrun/pvrun/hv/kvm"
	"github.com/pvrun/pvrun/hypercall"
	"golang.org/x/sys/unix"
)

// Costs are what guest code costs on this host's KVM, in ns.
type Costs struct {
	RingZeroNS   float64 `json:"ring0_instruction_ns"` // one instruction at CPL 0
	UserNS       float64 `json:"cpl3_instruction_ns"`  // the same at CPL 3
	KernelExitNS float64 `json:"kernel_exit_ns"`       // a doorbell, which the kernel answers
	ExitNS       float64 `json:"exit_ns"`              // a hypercall, out and back
	FaultNS      float64 `json:"page_fault_ns"`        // a page fault of guest code, to the host and back
	PageNS       float64 `json:"first_touch_ns"`       // first write to a page
}

// Measure runs a few instructions in a machine of its own and times them. It takes some
// tens of milliseconds.
func Measure() (Costs, error) {
	m, err := newMeter()
	if err != nil {
		return Costs{}, err
	}
	defer m.close()
	var c Costs
	for _, step := range []func(*Costs) error{m.exits, m.doorbells, m.faults, m.pages, m.user, m.ringZero} {
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

func newMeter() (*meter, error) {
	m := &meter{}
	m.vm.engine = kvm.Engine
	if err := m.create(); err != nil {
		m.close()
		return nil, err
	}
	return m, nil
}

func (m *meter) create() (err error) {
	if m.vm.mem, err = newMemory(4 << 20); err != nil {
		return err
	}
	if m.vm.machine, err = m.vm.engine.New(engine.Memory{Data: m.vm.mem.data}); err != nil {
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
	copy(code[codeExit:], []byte{0xe6, 0xf0, 0xeb, 0xfc})                                                              // out 0xf0, al; jmp back
	copy(code[codeCount:], []byte{0xff, 0xc9, 0x75, 0xfc, 0xe6, 0xf0})                                                 // dec ecx; jnz back; out
	copy(code[codeTouch:], []byte{0xc6, 0x07, 1, 0x48, 0x81, 0xc7, 0, 0x10, 0, 0, 0xff, 0xc9, 0x75, 0xf2, 0xe6, 0xf0}) // mov byte [rdi], 1; add rdi, 4096; dec ecx; jnz; out
	copy(code[codeBells:], []byte{0xb0, meterBell, 0xe6, 0xf0, 0xff, 0xc9, 0x75, 0xfa, 0xb0, 0, 0xe6, 0xf0})           // mov al, meterBell; out 0xf0, al; dec ecx; jnz; mov al, 0; out
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
