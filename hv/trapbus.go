package hv

import "github.com/pvrun/pvrun/hv/emulate"

// The virtual CPU's way to what is outside of it: trapGuest is its emulate.Bus.

func (g *trapGuest) ReadMemory(a uint64, b []byte, kind emulate.Access, cpl uint8) *emulate.Exception {
	code := uint64(0)
	if kind == emulate.Execute && g.shadow.guest.nxe {
		code = faultExecute
	}
	return g.copyPages(a, b, code, cpl, func(b, page []byte) int { return copy(b, page) })
}

func (g *trapGuest) WriteMemory(a uint64, b []byte, cpl uint8) *emulate.Exception {
	return g.copyPages(a, b, faultWrite, cpl, func(b, page []byte) int { return copy(page, b) })
}

func (g *trapGuest) copyPages(a uint64, b []byte, code uint64, cpl uint8, move func(b, page []byte) int) *emulate.Exception {
	if cpl == 3 {
		code |= faultUser
	}
	for len(b) > 0 {
		page, fault, err := g.shadow.guest.page(a, code)
		switch {
		case err != nil:
			g.failed = g.refuse(err, a)
			fallthrough
		case page == nil:
			return &emulate.Exception{Vector: vectorPageFault, Error: fault, HasError: true, CR2: a}
		}
		n := move(b, page)
		b, a = b[n:], a+uint64(n)
	}
	return nil
}

func (g *trapGuest) In(port uint16, size int) uint32     { return g.pc.bus.In(port, size) }
func (g *trapGuest) Out(port uint16, size int, v uint32) { g.pc.bus.Out(port, size, v) }

func (g *trapGuest) ReadMSR(index uint32) (uint64, bool)  { return g.pc.apic.ReadMSR(index) }
func (g *trapGuest) WriteMSR(index uint32, v uint64) bool { return g.pc.apic.WriteMSR(index, v) }
func (g *trapGuest) TaskPriority() uint8                  { return g.pc.apic.TaskPriority() }
func (g *trapGuest) SetTaskPriority(v uint8)              { g.pc.apic.SetTaskPriority(v) }

func (g *trapGuest) InvalidatePage(a uint64) { g.note(g.shadow.invalidatePage(a)) }

// FlushTLB also takes over what the walk of the guest's tables depends on.
func (g *trapGuest) FlushTLB(global bool) {
	t := &g.shadow.guest
	t.cr3, t.wp, t.nxe = g.cpu.CR3, g.cpu.CR0&cr0WP != 0, g.cpu.EFER&eferNXE != 0
	g.note(g.shadow.flush(global || g.cpu.CR4&cr4PGE == 0))
}

// Bits of CR0, CR4 and EFER.
const (
	cr0WP   = 1 << 16
	cr0AM   = 1 << 18
	cr4PGE  = 1 << 7
	eferNXE = 1 << 11
)

func (g *trapGuest) Bases() (fs, gs uint64) { return g.hw.Bases() }
func (g *trapGuest) SetBases(fs, gs uint64) { g.hw.SetBases(fs, gs) }
func (g *trapGuest) CPLChanged()            { g.hw.SetRoot(g.shadow.root(g.cpu.CPL)) }

// note keeps the first error of the host's own until the instruction is done.
func (g *trapGuest) note(err error) {
	if err != nil && g.failed == nil {
		g.failed = &HostError{"invalidate translations", err}
	}
}
