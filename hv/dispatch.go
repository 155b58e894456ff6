package hv

import (
	"crypto/rand"
	"encoding/binary"
	"strconv"

	"github.com/pvrun/pvrun/hypercall"
)

// callArgs are a hypercall's arguments, copied from the registers once.
type callArgs [6]uint64

// hypercall answers the call that the vCPU's registers describe.
func (c *pvGuest) hypercall(call hypercall.Call) (Exit, error) {
	r := c.hw.Regs()
	if !c.hw.FromHypercallPage() {
		return Exit{}, c.fault("hypercall from outside the hypercall page")
	}
	a := callArgs{r.RDI, r.RSI, r.RDX, r.R10, r.R8, r.R9}
	var result int64
	var leave error // the loop
	switch call {
	case hypercall.CallExit:
		return Exit{Code: int(a[0] & 0xff), Signal: int(a[0] >> 8 & 0x7f)}, errDone
	case hypercall.CallCrash:
		return Exit{}, c.fault("%s", c.vm.crashText(a))
	case hypercall.CallBlock:
		if leave = c.block(int64(a[0])); leave != nil && leave != errIdle {
			return Exit{}, leave
		}
	case hypercall.CallSuspend:
		var rests bool
		if result, rests = c.vm.suspend(a[0]); rests {
			return Exit{}, errAtRest
		}
	case hypercall.CallSetUpcall:
		result = c.setUpcall(a)
	case hypercall.CallMulticall:
		result = c.vm.multicall(a)
	case hypercall.CallRespond:
		s := c.vm.messages.respond(a)
		result = failed(s)
		if s == 0 {
			leave = errResponded
		}
	case hypercall.CallStream:
		var over bool
		if result, over = c.vm.streams.call(a); over {
			leave = errResponded
		}
	default:
		result = c.vm.dispatch(call, a)
	}
	r.RAX = uint64(result)
	c.hw.RegsChanged()
	return Exit{}, leave
}

// dispatch answers the calls that neither end the machine, nor wait, nor
// concern one vCPU. It needs no vCPU.
func (vm *VM) dispatch(call hypercall.Call, a callArgs) int64 {
	t := vm.tables
	switch call {
	case hypercall.CallConsoleWrite:
		return vm.consoleWrite(a)
	case hypercall.CallConsoleRead:
		return vm.consoleRead(a)
	case hypercall.CallMap:
		return failed(t.doMap(a[0], a[1], hypercall.MapFlag(a[2])))
	case hypercall.CallUnmap:
		return failed(t.doUnmap(a[0], a[1]))
	case hypercall.CallProtect:
		return failed(t.doProtect(a[0], a[1], hypercall.MapFlag(a[2])))
	case hypercall.CallDiscard:
		return failed(t.doDiscard(a[0], a[1]))
	case hypercall.CallAlias:
		return failed(t.doAlias(a[0], a[1], hypercall.MapFlag(a[2]), a[3]))
	case hypercall.CallEntropy:
		return vm.entropy(a)
	case hypercall.CallHostFile:
		vm.filesMu.Lock()
		defer vm.filesMu.Unlock()
		vm.block.called()
		return vm.hostFile(a)
	case hypercall.CallDoorbell:
		if vm.block != nil {
			return vm.doorbell(&vm.block.bell, call)
		}
	case hypercall.CallNetDoorbell:
		if vm.net != nil {
			return vm.doorbell(&vm.net.bell, call)
		}
	}
	return failed(hypercall.ENOSYS)
}

// bindAfter is how many calls a doorbell takes before it is bound in the host's kernel.
// To end soon after that is to wait for the kernel, for the time of some hundred calls.
const bindAfter = 100

// doorbell answers one that has not ended in the host's kernel.
func (vm *VM) doorbell(b *bell, call hypercall.Call) int64 {
	b.ring()
	if b.called++; b.called == bindAfter {
		_ = vm.machine.Doorbell(b.fd, uint8(call)) // if it fails, calls will do
	}
	return 0
}

func failed(s hypercall.Status) int64 { return -int64(s) }

func (vm *VM) entropy(a callArgs) int64 {
	if a[1] > hypercall.MaxEntropy {
		return failed(hypercall.EINVAL)
	}
	b := make([]byte, a[1])
	if _, err := rand.Read(b); err != nil {
		return failed(hypercall.EIO)
	}
	if s := vm.space.copyOut(a[0], b); s != 0 {
		return failed(s)
	}
	return int64(len(b))
}

// suspend is the point at which a machine may be snapshotted: rests says that this one
// is. Another goes on with a fresh start-info page. No packet is under way meanwhile: what
// is in the rings of NICs is in guest memory, and the link's other side keeps the rest.
func (vm *VM) suspend(moment uint64) (result int64, rests bool) {
	if !vm.restsAt(moment) {
		return failed(hypercall.EINVAL), false
	}
	if vm.moment = hypercall.Ready(moment); vm.resting {
		return 0, true
	}
	defer vm.net.rest()()
	if err := vm.renewStartInfo(); err != nil {
		return failed(hypercall.EIO), false
	}
	vm.clock.adjust()
	copy(vm.mem.page(vm.start.frame), bytesOf(&vm.start.info))
	return hypercall.SuspendContinued, false
}

// restsAt says whether the guest may come to rest at a moment: one of those that it was
// told of, or 0 unless it is for one of them that the machine has been booted.
func (vm *VM) restsAt(moment uint64) bool {
	asked := vm.start.info.Ready
	if moment == 0 {
		return !vm.resting || asked == 0
	}
	return moment&(moment-1) == 0 && moment&uint64(asked) != 0
}

// crashText is the guest's own account of its end, made fit to print.
func (vm *VM) crashText(a callArgs) string {
	b := make([]byte, min(a[1], hypercall.MaxCrash))
	if vm.space.copyIn(b, a[0]) != 0 {
		return "the guest gave up and its reason cannot be read"
	}
	q := strconv.QuoteToASCII(string(b))
	return "the guest gave up: " + q[1:len(q)-1]
}

const entrySize = 64 // of a hypercall.MulticallEntry

// multicall does an array of calls. Each entry is copied once.
func (vm *VM) multicall(a callArgs) int64 {
	if a[1] > hypercall.MaxMulticall {
		return failed(hypercall.EINVAL)
	}
	le := binary.LittleEndian
	for i := range a[1] {
		if vm.stop.Load() {
			return int64(i) // each entry may be long; nobody reads the result
		}
		var b [entrySize]byte
		at := a[0] + i*entrySize
		if s := vm.space.copyIn(b[:], at); s != 0 {
			return failed(s)
		}
		var args callArgs
		for j := range args {
			args[j] = le.Uint64(b[8+8*j:])
		}
		le.PutUint64(b[56:], uint64(vm.inMulticall(hypercall.Call(le.Uint64(b[:])), args)))
		if s := vm.space.copyOut(at+56, b[56:]); s != 0 {
			return failed(s)
		}
	}
	return int64(a[1])
}

func (vm *VM) inMulticall(call hypercall.Call, a callArgs) int64 {
	switch call {
	case hypercall.CallMulticall, hypercall.CallBlock, hypercall.CallExit,
		hypercall.CallCrash, hypercall.CallSetUpcall, hypercall.CallSuspend,
		hypercall.CallRespond, hypercall.CallStream:
		return failed(hypercall.EINVAL)
	}
	vm.stats.inMulticall(call)
	return vm.dispatch(call, a)
}

func (c *pvGuest) setUpcall(a callArgs) int64 {
	var u hypercall.UpcallArgs
	if s := c.vm.space.copyIn(bytesOf(&u), a[0]); s != 0 {
		return failed(s)
	}
	for _, at := range []hypercall.GVA{u.Entry, u.Stack, u.CriticalStart, u.CriticalEnd, u.Restart, u.Syscall} {
		if at >= 1<<47 {
			return failed(hypercall.EINVAL)
		}
	}
	if err := c.hw.SetSyscallEntry(u.Syscall); err != nil {
		return failed(hypercall.EIO)
	}
	c.upcall = u
	return 0
}
