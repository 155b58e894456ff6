package guest

import "unsafe"

// The calls on signals.

func dispatchSignal(t *thread, nr uintptr, f *frame) int64 {
	switch nr {
	case sysRtSigaction:
		if !mayRead(f.rsi, unsafe.Sizeof(sigaction{})) || !mayWrite(f.rdx, unsafe.Sizeof(sigaction{})) {
			return -eFAULT
		}
		return setAction(int32(f.rdi), (*sigaction)(unsafe.Pointer(f.rsi)), (*sigaction)(unsafe.Pointer(f.rdx)))
	case sysRtSigprocmask:
		if !mayRead(f.rsi, 8) || !mayWrite(f.rdx, 8) {
			return -eFAULT
		}
		return setMask(t, int32(f.rdi), (*uint64)(unsafe.Pointer(f.rsi)), (*uint64)(unsafe.Pointer(f.rdx)))
	case sysRtSigreturn:
		sigreturn(t)
		return 0
	case sysSigaltstack:
		if !mayRead(f.rdi, unsafe.Sizeof(stackT{})) || !mayWrite(f.rsi, unsafe.Sizeof(stackT{})) {
			return -eFAULT
		}
		return setAltStack(t, (*stackT)(unsafe.Pointer(f.rdi)), (*stackT)(unsafe.Pointer(f.rsi)))
	case sysRtSigpending:
		if !writable(f.rdi, 8) {
			return -eFAULT
		}
		*(*uint64)(unsafe.Pointer(f.rdi)) = (t.signals.pending | processSignals.pending) & t.mask
		return 0
	case sysKill:
		return kill(int32(f.rdi), int32(f.rsi))
	case sysTkill:
		return killThread(int32(f.rdi), int32(f.rsi))
	}
	if int32(f.rdi) != processID {
		return -eSRCH
	}
	return killThread(int32(f.rsi), int32(f.rdx))
}

func kill(pid, sig int32) int64 {
	switch {
	case sig < 0 || sig > signals:
		return -eINVAL
	case pid != processID && pid != 0 && pid != -1 && pid != -processID:
		return -eSRCH
	case sig != 0:
		raiseProcess(bit(sig))
	}
	return 0
}

func killThread(id, sig int32) int64 {
	t := threadByID(id)
	switch {
	case t == nil:
		return -eSRCH
	case sig < 0 || sig > signals:
		return -eINVAL
	case sig != 0:
		raiseThread(t, sig)
	}
	return 0
}
