package emulate

import (
	"fmt"

	"github.com/pvrun/pvrun/hv/engine"
)

// core is a virtual processor with its registers and what it reaches.
type core struct {
	c   *CPU
	r   *engine.Regs
	bus Bus
}

// step is the emulation of one instruction.
type step struct {
	core
	in       instruction
	fault    Exception
	start    uint64 // RIP of the instruction
	next     uint64 // RIP of the one after it
	keepRF   bool
	entering bool // a handler, which clears TF
	progress bool // string I/O: finished iterations count, whatever comes
	res      Result
}

// operation is what an instruction does. It finds RIP after the instruction.
// The exception that it returns stands in place of its effects: registers and
// the virtual processor are put back, so that only the Bus has to be told last.
type operation struct {
	name  string
	do    func(*step) *Exception
	level level
}

// level says who may: at other virtual CPLs it is #GP(0).
type level int

const (
	everyone level = iota
	kernel         // CPL 0
	ioLevel        // CPL at most IOPL
)

// Step emulates the instruction at RIP, which has raised the exception fault on
// the real processor; after #BP the caller has put RIP back to it. code are the
// bytes there, copied once, at most 15 and fewer only when the next page is not
// there; for a place that was patched they are the original ones. An instruction
// that is neither privileged nor sensitive gives fault back for the guest, as the
// real processor said it.
func (c *CPU) Step(r *engine.Regs, code []byte, fault Exception, bus Bus) Result {
	s := &step{core: core{c, r, bus}, fault: fault, start: r.RIP}
	if e := s.decode(code); e != nil || s.in.what.do == nil {
		if e == nil {
			e = s.original()
		}
		return Result{Name: nameOther, Exception: e}
	}
	s.next = s.start + uint64(s.in.length)
	s.res.Name = s.in.what.name

	registers, cpu := *r, *c
	stepping := r.RFLAGS&flagTF != 0
	r.RIP = s.next
	c.Shadow = false
	if e := s.perform(); e != nil || s.res.Refused != "" {
		s.res.Exception = e
		*c = cpu
		if !s.progress {
			*r = registers
		}
		r.RIP = s.start
		return s.res
	}
	s.finish(stepping)
	return s.res
}

// decode reads more of the guest's code when there is too little of it.
func (s *step) decode(code []byte) *Exception {
	in, ok := decode(code)
	if !ok && len(code) < maxLength && s.fault.Vector != vectorUD {
		more := make([]byte, maxLength-len(code))
		at := s.start + uint64(len(code))
		if !canonicalSpan(at, uint64(len(more))) {
			return nil
		}
		if e := s.bus.ReadMemory(at, more, Execute, s.c.CPL); e != nil {
			return e
		}
		in, ok = decode(append(append([]byte(nil), code...), more...))
	}
	if ok {
		s.in = in
	}
	return nil
}

func (s *step) perform() *Exception {
	switch {
	case s.in.lock:
		return undefined()
	case s.in.what.level == kernel && s.c.CPL != 0, s.in.what.level == ioLevel && s.c.CPL > s.c.IOPL:
		return gp(0)
	}
	return s.in.what.do(s)
}

// finish ends an instruction that has taken place. A single step is due when
// TF was set before it; entering a handler, or SYSCALL with TF in its mask,
// takes it away.
func (s *step) finish(stepping bool) {
	if !s.keepRF {
		s.r.RFLAGS &^= flagRF
	}
	if !stepping || s.entering && s.r.RFLAGS&flagTF == 0 {
		return
	}
	s.c.DR[6] |= dr6BS
	s.res.After = &Exception{Vector: vectorDB}
}

// original is the exception that the real processor raised.
func (s *step) original() *Exception {
	e := s.fault
	return &e
}

// refuse ends the machine.
func (s *step) refuse(why string) *Exception {
	s.res.Refused = fmt.Sprintf("%s at %#x: %s", s.in.text(), s.start, why)
	return nil
}
