package guest

import "github.com/pvrun/pvrun/hypercall"

// exception turns a fault of the running thread into its signal.
func exception(t *thread, vector uint64) {
	p := vcpuPage()
	info := sigInfo{signo: sigSEGV, code: siKernel}
	switch vector {
	case 0:
		info = sigInfo{signo: sigFPE, code: fpeIntDiv, pidOrAddr: uint64(t.frame.rip)}
	case 16, 19:
		info = sigInfo{signo: sigFPE, code: fpeFltInv, pidOrAddr: uint64(t.frame.rip)}
	case 1:
		info = sigInfo{signo: sigTRAP, code: trapTrace, pidOrAddr: uint64(t.frame.rip)}
	case 3:
		info = sigInfo{signo: sigTRAP, code: siKernel}
	case vectorInvalidOpcode:
		info = sigInfo{signo: sigILL, code: illIllOpn, pidOrAddr: uint64(t.frame.rip)}
	case 17:
		info = sigInfo{signo: sigBUS, code: busAdrAln}
	case 14:
		info = sigInfo{signo: sigSEGV, code: segvMapErr, pidOrAddr: p.CR2}
		if p.Error&faultPresent != 0 {
			info.code = segvAccErr
		}
	}
	force(t, info)
}

// force delivers a signal that cannot wait: a thread that has blocked or
// ignored it dies of it.
func force(t *thread, info sigInfo) {
	sig := info.signo
	if t.mask&bit(sig) != 0 || actions[sig].handler <= sigIgnore {
		Hypercall(hypercall.CallExit, uintptr(sig)<<8, 0, 0, 0, 0, 0)
	}
	deliver(t, sig, info, true)
}
