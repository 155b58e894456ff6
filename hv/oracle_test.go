package hv

import (
	"encoding/binary"
	"fmt"
)

// oracle reads a guest's tables as the manual tells, and nothing else (Intel SDM
// volume 3A, "4-Level Paging").
type oracle struct {
	mem      []byte
	cr3      uint64
	physBits int
	wp, nxe  bool
}

// grant is what the tables say of an address.
type grant struct {
	addr                   uint64 // physical
	write, user, exec      bool
	dirty, global, present bool
}

func (o *oracle) word(at uint64) uint64 {
	if at+8 > uint64(len(o.mem)) {
		return ^uint64(0)
	}
	return binary.LittleEndian.Uint64(o.mem[at:])
}

func (o *oracle) look(a uint64) grant {
	g := grant{write: true, user: true, exec: true}
	table := o.cr3 &^ 0xfff
	for _, shift := range []int{39, 30, 21, 12} {
		v := o.word(table + a>>shift&511*8)
		if v&1 == 0 || o.isReserved(v, shift) {
			return grant{}
		}
		g.write = g.write && v&2 != 0
		g.user = g.user && v&4 != 0
		g.exec = g.exec && v>>63 == 0
		next := v & (1<<52 - 1) &^ 0xfff
		if shift == 12 || shift != 39 && v&0x80 != 0 {
			size := uint64(1) << shift
			g.addr, g.present = next&^(size-1)|a&(size-1), true
			g.dirty, g.global = v&0x40 != 0, v&0x100 != 0
			return g
		}
		table = next
	}
	return grant{}
}

func (o *oracle) isReserved(v uint64, shift int) bool {
	high := uint64(1<<52-1) &^ (1<<o.physBits - 1)
	switch {
	case v&high != 0 || v>>63 != 0 && !o.nxe:
		return true
	case shift == 39:
		return v&0x80 != 0
	case shift == 12 || v&0x80 == 0:
		return false
	}
	return v&(1<<shift-1)>>13 != 0 // bit 12 is PAT
}

// checkShadow proves that the shadow grants nothing that the guest's tables do
// not, nothing outside the guest's memory, no code but text and no writing to it.
func checkShadow(vm *VM) error {
	s := vm.shadow
	o := &oracle{mem: vm.phys.data, cr3: s.guest.cr3, physBits: s.guest.physBits, wp: s.guest.wp, nxe: s.guest.nxe}
	for view, t := range s.views {
		var bad error
		each(vm.mem.data, uint64(t.root)<<12, 39, 0, func(a, v uint64) {
			if bad == nil {
				bad = checkEntry(vm, o, view == 1, a, v)
			}
		})
		if bad != nil {
			return fmt.Errorf("view %d: %w", view, bad)
		}
	}
	return nil
}

// each calls f for all that a hardware walk of tables in mem finds in the lower
// half. Addresses in entries are the engine's, from 4 GiB on.
func each(mem []byte, table uint64, shift int, base uint64, f func(a, v uint64)) {
	for i := range uint64(512) {
		v := binary.LittleEndian.Uint64(mem[table+8*i:])
		a := base | i<<shift
		if v&1 == 0 || shift == 39 && i >= 256 {
			continue
		}
		if shift == 12 {
			f(a, v)
			continue
		}
		each(mem, v&(1<<52-1)&^0xfff-1<<32, shift-9, a, f)
	}
}

func checkEntry(vm *VM, o *oracle, user bool, a, v uint64) error {
	g := o.look(a)
	phys := v&(1<<52-1)&^0xfff - 1<<32
	text := vm.shadow.guest.text.has(frame(phys >> 12))
	canWrite, canExec := v&2 != 0, v>>63 == 0
	switch {
	case !g.present:
		return fmt.Errorf("%#x is mapped, the guest has nothing there", a)
	case g.addr&^0xfff != phys:
		return fmt.Errorf("%#x leads to %#x, the guest says %#x", a, phys, g.addr)
	case phys >= uint64(len(vm.phys.data)):
		return fmt.Errorf("%#x leads to %#x, outside the guest", a, phys)
	case user && !g.user:
		return fmt.Errorf("%#x is a supervisor's", a)
	case canWrite && !g.write && (user || o.wp):
		return fmt.Errorf("%#x may be written", a)
	case canWrite && !g.dirty:
		return fmt.Errorf("%#x may be written and is not dirty", a)
	case canExec && (!g.exec || !text):
		return fmt.Errorf("%#x may be executed", a)
	case canWrite && text:
		return fmt.Errorf("%#x is text and may be written", a)
	}
	return nil
}
