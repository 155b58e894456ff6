package hv

import (
	"errors"
	"math"
	"syscall"

	"github.com/pvrun/pvrun/hypercall"
)

// hostMap shows a file in the guest's address space, shared with everybody else
// who has it mapped or open.
func (vm *VM) hostMap(h *hostHandle, a *hypercall.HostFileArgs) hypercall.Status {
	if vm.shadow != nil || vm.engine.SharedMemory() {
		return hypercall.ENODEV
	}
	m, s := h.mapping(a)
	if s != 0 {
		return s
	}
	vm.tables.mu.Lock()
	defer vm.tables.mu.Unlock()
	if err := vm.openWindow(); err != nil {
		return mapStatus(err)
	}
	return vm.tables.mapFile(m)
}

// fileMapping is a mapping that was asked for and may be.
type fileMapping struct {
	pageRange
	bits     entry
	h        *hostHandle
	off      int64
	writable bool   // the handle is
	pages    uint64 // that the file has from off on
}

// mapping checks the arguments, in the order in which the paging calls do.
func (h *hostHandle) mapping(a *hypercall.HostFileArgs) (m fileMapping, s hypercall.Status) {
	flags := hypercall.MapFlag(a.Flags)
	m = fileMapping{h: h, off: a.Offset, writable: h.access == hypercall.HostFileRDWR}
	if m.pageRange, m.bits, s = request(uint64(a.Buf), a.Length, flags); s != 0 {
		return m, s
	}
	st, err := h.f.Stat()
	switch {
	case flags&hypercall.MapLazy != 0 || a.Offset%pageSize != 0 || a.Offset > math.MaxInt64-int64(m.end-m.start):
		return m, hypercall.EINVAL
	case h.access == hypercall.HostFileWRONLY || m.bits&pteWrite != 0 && !m.writable:
		return m, hypercall.EACCES
	case err != nil:
		return m, mapStatus(err)
	case !st.Mode().IsRegular():
		return m, hypercall.ENODEV
	}
	if left := st.Size() - a.Offset; left > 0 {
		m.pages = uint64(left-1)/pageSize + 1
	}
	return m, 0
}

// openWindow makes the window when the first file is mapped.
func (vm *VM) openWindow() (err error) {
	if vm.files.win == nil {
		vm.files.win, err = newWindow(vm.mem, vm.physBits(), vm.giveMemory)
		vm.tables.win = vm.files.win
	}
	return err
}

// mapFile does what can fail first: what was mapped there stays if it does.
func (t *pageTables) mapFile(m fileMapping) hypercall.Status {
	if s := t.each(m.pageRange, false, refuseFinal); s != 0 {
		return s
	}
	if tablesFor(m.pageRange.pages()) > uint64(t.mem.spare()) {
		return hypercall.ENOMEM
	}
	area, err := t.win.take(frame(m.pageRange.pages()))
	if err != nil {
		return mapStatus(err)
	}
	area.start, area.shown = m.start, min(m.pages, m.pageRange.pages())
	area.writes = m.bits&pteWrite != 0
	withFD(m.h.f, func(fd int) { err = showFile(t.win.run(area.first, area.n), fd, m.off, area.writes) })
	if err == nil {
		err = t.place(m, area)
	}
	if err != nil {
		t.abandon(area)
		return mapStatus(err)
	}
	return 0
}

// place makes the entries, present as far as the file goes.
func (t *pageTables) place(m fileMapping, area *area) error {
	if s := t.unmap(m.pageRange); s != 0 {
		return syscall.Errno(s)
	}
	kind := pteFile
	if !m.writable {
		kind |= pteFixed
	}
	s := t.each(m.pageRange, true, func(a uint64, e *entry) hypercall.Status {
		i := (a - m.start) / pageSize
		v := entry((area.first + frame(i)).gpa()) | kind | m.bits
		if i >= m.pages || m.bits&ptePresent == 0 {
			v = v&^ptePresent | pteLazy
		}
		e.store(v)
		return 0
	})
	if s != 0 {
		return syscall.Errno(s)
	}
	return nil
}

// abandon gives an area back that was not mapped, or not as a whole.
func (t *pageTables) abandon(a *area) {
	t.each(pageRange{a.start, a.start + uint64(a.n)*pageSize}, false, func(_ uint64, e *entry) hypercall.Status {
		if e != nil && e.load()&pteFile != 0 && t.win.of(e.load()) == a {
			t.clear(e)
		}
		return 0
	})
	a.live, t.win.empty = 0, true
	_ = t.invalidate() // what the host refuses now is tried again with the next call
}

// mapStatus is an error of the host's as this call has it.
func mapStatus(err error) hypercall.Status {
	var errno syscall.Errno
	if !errors.As(err, &errno) {
		return hypercall.EIO
	}
	return hypercall.Status(errno)
}

// noPage is a mapped file that has become shorter than what the guest touches, or
// whose page the host cannot have for another reason.
func (c *vcpu) noPage() error {
	found, err := c.vm.tables.distrust()
	switch {
	case err != nil:
		return &HostError{"unmap files", err}
	case !found:
		return c.fault("the host has no page for the machine's memory")
	}
	return nil
}
