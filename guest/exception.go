package guest

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
		info = pageFault(uintptr(p.CR2), p.Error)
	}
	force(t, info)
}

// pageFault tells a hole from a page that may not be touched so, and both from
// one that a mapped file does not have.
func pageFault(addr uintptr, err uint64) sigInfo {
	info := sigInfo{signo: sigSEGV, code: segvMapErr, pidOrAddr: uint64(addr)}
	if err&faultPresent != 0 {
		info.code = segvAccErr
	}
	i := search(addr)
	if i == regions.n || all()[i].start > addr || inPool(all()[i]) {
		return info
	}
	need := uint8(protRead)
	if err&faultWrite != 0 {
		need = protWrite
	}
	info.code = segvAccErr
	if r := all()[i]; r.file == sharedFile && (r.prot&need != 0 || r.prot&protWrite != 0) {
		info.signo, info.code = sigBUS, busAdrErr
	}
	return info
}

// force delivers a signal that cannot wait: a thread that has blocked or
// ignored it dies of it.
func force(t *thread, info sigInfo) {
	sig := info.signo
	if t.mask&bit(sig) != 0 || actions[sig].handler <= sigIgnore {
		exitBySignal(sig)
	}
	deliver(t, sig, info, true)
}
