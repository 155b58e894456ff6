package kvm

import (
	"encoding/binary"

	"github.com/pvrun/pvrun/hv/engine"
	"github.com/pvrun/pvrun/hypercall"
)

// inFlight says whether an exception of guest code is on its way: held by KVM
// for the next entry, or delivered, with the stub not yet at its OUT.
//
// KVM tells of none of INT3's, for the interface has no room for the instruction's
// length (Linux, arch/x86/kvm/x86.c, kvm_vcpu_ioctl_x86_get_vcpu_events). All that
// shows is the vector of the exception that it has held last. arrived sees to it that
// this is INT3's only as long as the exception is on its way.
func (v *VCPU) inFlight() bool {
	events := v.run.events()
	return events[eventsInjected] != 0 || events[eventsPending] != 0 ||
		events[eventsVector] == vectorBreakpoint || v.run.sregs().cs.dpl == 0
}

// arrived makes KVM forget INT3's vector, since an exception has come out: this one,
// or another in its place.
func (v *VCPU) arrived() {
	events := v.run.events()
	if events[eventsVector] != vectorBreakpoint {
		return
	}
	clear(events) // its flags too: what has one stays as it is
	*v.run.u64(runDirtyRegs) |= syncEvents
}

// exception takes the interrupted registers from the frame that the CPU pushed
// on the ring-0 stack (Intel SDM volume 3A, "64-Bit Mode Stack Frame") and
// puts the vCPU back to CPL 3.
func (v *VCPU) exception(vector uint8) engine.Exit {
	top := uint64(stackTop)
	if vector == vectorNMI || vector == vectorDoubleFault || vector == vectorMachine {
		top = stackTop2
	}
	frame := v.sys[pageStack*hypercall.PageSize+top-48:][:48]
	le := binary.LittleEndian
	e := engine.Exit{Reason: engine.Exception, Vector: vector}
	if engine.PushesError(vector) {
		e.Error = le.Uint64(frame)
	}
	s := v.run.sregs()
	if vector == vectorPageFault {
		e.CR2 = s.cr2
	}
	r := v.run.regs()
	r.RIP, r.RFLAGS, r.RSP = le.Uint64(frame[8:]), le.Uint64(frame[24:]), le.Uint64(frame[32:])
	v.sregs.fs.base, v.sregs.gs.base = s.fs.base, s.gs.base
	v.sregs.cr2 = s.cr2
	*s = v.sregs
	*v.run.u64(runDirtyRegs) = syncRegs | syncSregs
	v.arrived()
	return e
}
