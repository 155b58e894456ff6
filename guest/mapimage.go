package guest

import (
	"unsafe"

	"github.com/pvrun/pvrun/hypercall"
)

// mapImage makes of the loader's page tables the kernel's. What the loader has
// left out, zeros far into the image's variables, will come at first touch, but
// for variables of the kernel's own without which nothing can be touched.
//
// It is the first Go code on a bare machine and uses no variable before they are
// mapped.
func mapImage() {
	var c codeAddrs
	findCode(&c)
	si := Info()
	var t pageTables
	t.root = readCR3() &^ (pageSize - 1)
	t.ram.init(uintptr(hypercall.DirectMapGVA), uint64(si.FreeFrom), si.MemBytes)
	if !t.expect(c.data&^(pageSize-1), uintptr(si.ImageEnd)) || !t.mapOwn() {
		crash("no memory for the image's variables")
	}
	paging = t
}

// expect has zeroed memory come at first touch where nothing is mapped, and says
// whether there was memory for the tables.
func (t *pageTables) expect(start, end uintptr) bool {
	w := t.walk(pageRange{start, end})
	for _, e, ok := w.next(true); ok; _, e, ok = w.next(true) {
		if e == nil {
			return false
		}
		if *e == 0 {
			*e = pteLazy | pteWrite | pteUsed | pteNX
		}
	}
	return true
}

// mapOwn maps what the kernel uses until page faults reach it, and what answers
// them.
func (t *pageTables) mapOwn() bool {
	return t.fillVariable(unsafe.Pointer(&cpu0), unsafe.Sizeof(cpu0)) &&
		t.fillVariable(unsafe.Pointer(&bootTLS), unsafe.Sizeof(bootTLS)) &&
		t.fillVariable(unsafe.Pointer(&isNative), unsafe.Sizeof(isNative)) &&
		t.fillVariable(unsafe.Pointer(&code), unsafe.Sizeof(code)) &&
		t.fillVariable(unsafe.Pointer(&paging), unsafe.Sizeof(paging)) &&
		t.fillVariable(unsafe.Pointer(&gdt), unsafe.Sizeof(gdt)) &&
		t.fillVariable(unsafe.Pointer(&idt), unsafe.Sizeof(idt)) &&
		t.fillVariable(unsafe.Pointer(&tss), unsafe.Sizeof(tss)) &&
		t.fillVariable(unsafe.Pointer(&gdtAddr), unsafe.Sizeof(gdtAddr)) &&
		t.fillVariable(unsafe.Pointer(&idtAddr), unsafe.Sizeof(idtAddr)) &&
		t.fillVariable(unsafe.Pointer(&lastTrap), unsafe.Sizeof(lastTrap)) &&
		t.fillVariable(unsafe.Pointer(&trapSaved), unsafe.Sizeof(trapSaved)) &&
		t.fillVariable(unsafe.Pointer(&hasXSAVE), unsafe.Sizeof(hasXSAVE)) &&
		t.fillVariable(unsafe.Pointer(&stateMask), unsafe.Sizeof(stateMask))
}

// fillVariable maps the pages of a variable.
func (t *pageTables) fillVariable(v unsafe.Pointer, n uintptr) bool {
	at := uintptr(v)
	for p := at &^ (pageSize - 1); p < at+n; p += pageSize {
		if e := t.slot(p); !e.holds() && !t.fill(e, lazyBits(*e)) {
			return false
		}
	}
	return true
}
