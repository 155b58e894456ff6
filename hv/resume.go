package hv

import (
	"crypto/rand"
	"errors"
	"fmt"

	"github.com/pvrun/pvrun/hypercall"
)

const (
	defaultHostname = "pvrun"
	// maxHostname is the room for one that a clone is given (gethostname(2)).
	maxHostname = 64
)

// contractPages are the frames of the contract's pages.
type contractPages struct {
	hypercall, shared, vcpu, start, queue frame

	rings []frame       // the first one's of each NIC
	nics  hypercall.GVA // what start info tells of NICs; 0: nothing
}

// contractPages finds them by their addresses.
func (s *Snapshot) contractPages() (p contractPages, err error) {
	t := &pageTables{mem: s.base, root: s.state.Root}
	for _, want := range []struct {
		at   hypercall.GVA
		bits entry
		to   *frame
	}{
		{hypercall.HypercallGVA, 0, &p.hypercall},
		{hypercall.SharedInfoGVA, pteWrite | pteNX, &p.shared},
		{hypercall.VCPUInfoGVA, pteWrite | pteNX, &p.vcpu},
		{hypercall.StartInfoGVA, pteNX, &p.start},
		{hypercall.MessageGVA, pteNX, &p.queue},
	} {
		if want.to == &p.queue && !s.state.Messages {
			continue
		}
		const all = ptePresent | pteUser | pteWrite | pteNX
		e := t.slot(uint64(want.at), false)
		if e == nil || e.load()&all != ptePresent|pteUser|want.bits {
			return p, fmt.Errorf("there is no page at %#x as there should be", want.at)
		}
		*want.to = e.load().frame()
	}
	if p.rings, err = s.findRings(); err != nil {
		return p, err
	}
	p.nics, err = s.findNICInfo(p.start)
	return p, err
}

// findPages learns where the contract's pages are.
func (vm *VM) findPages() {
	p := &vm.from.pages
	vm.engine.HypercallPage(vm.mem.page(p.hypercall))
	vm.shared, vm.start.frame = vm.mem.sharedInfo(p.shared), p.start
	vm.vcpuPage = vm.mem.vcpuInfo(p.vcpu)
	if vm.cfg.Messages {
		vm.messages, vm.streams = &messages{vm: vm, frame: p.queue}, newStreams(vm)
	}
}

// resume makes the processor and the clock those of the snapshot, and the start of a
// new life of it.
func (vm *VM) resume() error {
	r := &vm.from.state
	if old, ok := vm.cpu.guest.(*pvGuest); !ok || old.upcall.Syscall != r.Upcall.Syscall {
		if err := vm.hw.SetSyscallEntry(r.Upcall.Syscall); err != nil {
			return &HostError{"resume", err}
		}
	}
	vm.cpu.guest = &pvGuest{vcpu: vm.cpu, info: vm.vcpuPage, upcall: r.Upcall}
	vm.cpu.again = stuck{}
	vm.resetVCPU()
	vm.clock.resume(vm.hw.TSC(), &vm.shared.Clock, r.Clock)
	if m := vm.messages; m != nil {
		*m = messages{vm: vm, frame: m.frame, queue: vm.mem.messageQueue(m.frame), prod: r.Prod}
		m.taken = m.prod - hypercall.MessageSlots // the least that can be
		vm.streams.reset(r.Last)
	}
	vm.moment = r.Moment
	return vm.newLife()
}

func (vm *VM) resetVCPU() {
	r := &vm.from.state
	*vm.hw.Regs() = r.Regs
	vm.hw.Regs().RAX = hypercall.SuspendResumed
	vm.hw.Regs().RFLAGS = flagsClean
	vm.hw.RegsChanged()
	vm.hw.SetBases(r.FS, r.GS)
}

// newLife fills in start info what no two lives may share.
func (vm *VM) newLife() error {
	info := vm.mem.startInfo(vm.start.frame)
	vm.start.info = *info
	if err := vm.renewStartInfo(); err != nil {
		return &HostError{"resume", err}
	}
	rand.Read(vm.start.info.InstanceID[:])
	vm.start.info.Generation = vm.from.lives.Add(1)
	vm.describeConsole()
	if err := errors.Join(vm.rename(), vm.tellNICs()); err != nil {
		return &HostError{"resume", err}
	}
	*info = vm.start.info
	return nil
}

// rename gives the machine its own name, in the room of the one that it had.
func (vm *VM) rename() error {
	if len(vm.cfg.Hostname) > maxHostname {
		return fmt.Errorf("host name of %d bytes; %d are the most", len(vm.cfg.Hostname), maxHostname)
	}
	at := uint64(vm.start.info.Hostname.Addr)
	if at < uint64(hypercall.StartInfoGVA) || at > uint64(hypercall.StartInfoGVA)+hypercall.MaxStartInfo-maxHostname {
		return errors.New("start info has no room for a host name")
	}
	vm.start.info.Hostname.Len = uint64(len(vm.cfg.Hostname))
	return vm.writeStart(at, append([]byte(vm.cfg.Hostname), 0))
}

// writeStart writes into the pages of start info.
func (vm *VM) writeStart(at uint64, b []byte) error {
	for len(b) > 0 {
		page, s := vm.tables.pageAt(at, false)
		if s != 0 {
			return errors.New("start info is not all there")
		}
		n := copy(page, b)
		at, b = at+uint64(n), b[n:]
	}
	return nil
}
