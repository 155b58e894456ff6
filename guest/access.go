package guest

import "github.com/pvrun/pvrun/hypercall"

// What a program passes to the kernel is looked at before it is touched: a fault
// in the kernel would end the machine.

// writable is whether the program may read and write n bytes.
func writable(addr, n uintptr) bool {
	if h := &regions.hit; addr >= h.start && addr < h.end && n <= h.end-addr {
		return true
	}
	return accessible(addr, n, protRead|protWrite)
}

// readable is whether the program may read n bytes.
func readable(addr, n uintptr) bool {
	if h := &regions.hit; addr >= h.start && addr < h.end && n <= h.end-addr {
		return true
	}
	return accessible(addr, n, protRead)
}

// mayRead and mayWrite allow for a pointer that is nil.
func mayRead(addr, n uintptr) bool  { return addr == 0 || readable(addr, n) }
func mayWrite(addr, n uintptr) bool { return addr == 0 || writable(addr, n) }

func accessible(addr, n uintptr, prot uint8) bool {
	const stack = uintptr(hypercall.BootStackTop) - hypercall.BootStackSize
	end := addr + n
	switch {
	case end < addr:
		return false
	case addr >= code.data && end <= uintptr(Info().ImageEnd):
		return true
	case prot == protRead && addr >= code.text && end <= uintptr(Info().ImageEnd):
		return true
	case addr >= stack && end <= uintptr(hypercall.BootStackTop):
		return true
	}
	return inRegions(addr, end, prot)
}

// inRegions remembers a region that may be read and written: that is where most
// pointers lead.
func inRegions(addr, end uintptr, prot uint8) bool {
	for addr < end {
		i := search(addr)
		if i == regions.n {
			return false
		}
		r := all()[i]
		if r.start > addr || r.prot&prot != prot || r.reserved && r.file == noFile {
			return false
		}
		if !r.reserved && r.prot == protRead|protWrite {
			regions.hit.start, regions.hit.end = r.start, r.end
		}
		addr = r.end
	}
	return true
}
