package hv

import (
	"errors"
	"fmt"
	"runtime/debug"

	"github.com/pvrun/pvrun/hv/engine"
)

// HostError is something that the host could not do.
type HostError struct {
	Op  string
	Err error
}

func (e *HostError) Error() string { return e.Op + ": " + e.Err.Error() }
func (e *HostError) Unwrap() error { return e.Err }

// ImageError is an image that cannot run here. Err says why: an
// *image.Error, or one of the file system.
type ImageError struct {
	Path string
	Err  error
}

func (e *ImageError) Error() string { return e.Path + ": " + e.Err.Error() }
func (e *ImageError) Unwrap() error { return e.Err }

// GuestFault is a machine that ended because of what its guest did outside
// what its program could answer for: an exception with events masked, an exit
// that no guest should cause, memory that is not there.
type GuestFault struct {
	Reason string      // one line
	Regs   engine.Regs // as they were
}

func (e *GuestFault) Error() string { return "guest fault: " + e.Reason }

// Defect is a panic of pvrun's own while it answered a guest. It ends that
// machine and no other; it is never how something is handled.
type Defect struct {
	Value any
	Stack []byte
}

func (e *Defect) Error() string { return fmt.Sprintf("defect in pvrun: %v", e.Value) }

// fail ends the machine with an error; it does nothing where there is one. Any
// goroutine may call it.
func (vm *VM) fail(err error) {
	if vm.failed.CompareAndSwap(nil, &err) {
		vm.stop.Store(true)
		vm.wake()
	}
}

// rescue turns a panic of our own into the end of this machine.
func (vm *VM) rescue() {
	if r := recover(); r != nil {
		vm.fail(&Defect{r, debug.Stack()})
	}
}

// failure is what has ended the machine beside the vCPU's thread, if something has.
func (vm *VM) failure() error {
	if p := vm.failed.Load(); p != nil {
		return *p
	}
	return nil
}

// ErrMemory is wrapped by New's error when Config.Memory cannot hold the image.
var ErrMemory = errors.New("not enough memory for the machine")

var errTooSmall = fmt.Errorf("%w: give it more (-m)", ErrMemory)

// vectorNames are the exceptions' names (Intel SDM volume 3A, "Exception and
// Interrupt Reference").
var vectorNames = map[uint8]string{
	0: "#DE divide error", 1: "#DB debug", 2: "NMI", 3: "#BP breakpoint", 4: "#OF overflow",
	5: "#BR bound range", 6: "#UD invalid opcode", 7: "#NM device not available",
	8: "#DF double fault", 10: "#TS invalid TSS", 11: "#NP segment not present",
	12: "#SS stack fault", 13: "#GP general protection", 14: "#PF page fault",
	16: "#MF x87 error", 17: "#AC alignment check", 18: "#MC machine check", 19: "#XM SIMD error",
}

func exceptionText(e engine.Exit) string {
	name := vectorNames[e.Vector]
	if name == "" {
		name = fmt.Sprintf("exception %d", e.Vector)
	}
	if e.Vector == 14 {
		return fmt.Sprintf("%s at %#x (error code %#x)", name, e.CR2, e.Error)
	}
	return fmt.Sprintf("%s (error code %#x)", name, e.Error)
}
