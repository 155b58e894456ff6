package sys

import (
	"unsafe"

	"github.com/pvrun/pvrun/guest"
	"github.com/pvrun/pvrun/guest/fs"
	"github.com/pvrun/pvrun/hypercall"
)

// areas is the address space as /proc/self/maps tells of it.
func areas() []fs.Area {
	return append(append(programAreas(), memoryAreas()...), fixedAreas()...)
}

// elfHeader and progHeader are the parts of the image's own headers that say
// where its segments are (System V ABI, "ELF Header", "Program Header").
type elfHeader struct {
	ident          [16]byte
	typ, machine   uint16
	version        uint32
	entry          uint64
	phoff, shoff   uint64
	flags          uint32
	ehsize, phsize uint16
	phnum          uint16
}

type progHeader struct {
	typ, flags    uint32
	off           uint64
	vaddr, paddr  uint64
	filesz, memsz uint64
	align         uint64
}

// Kinds of segment and their permissions.
const (
	ptLoad = 1
	pfX    = 1
	pfW    = 2
	pfR    = 4
)

// programAreas are the image's segments, none if its headers are not in memory.
func programAreas() []fs.Area {
	// Safe because Go's linker puts the page of headers before the text, into the
	// same segment.
	base := guest.ImageHeader()
	h := (*elfHeader)(pointer(base))
	if string(h.ident[:4]) != "\x7fELF" || h.phoff+uint64(h.phnum)*uint64(unsafe.Sizeof(progHeader{})) > hypercall.PageSize {
		return nil
	}
	var list []fs.Area
	for _, p := range unsafe.Slice((*progHeader)(pointer(base+uintptr(h.phoff))), h.phnum) {
		if p.typ == ptLoad {
			list = append(list, p.areas()...)
		}
	}
	return list
}

// areas are what a segment has of the file and what lies past that.
func (p *progHeader) areas() (list []fs.Area) {
	start := uintptr(p.vaddr) &^ (hypercall.PageSize - 1)
	file := pageUp(uintptr(p.vaddr + p.filesz))
	end := pageUp(uintptr(p.vaddr + p.memsz))
	if p.filesz > 0 {
		list = append(list, fs.Area{Start: start, End: file, Prot: p.prot(), Program: true,
			Offset: p.off &^ (hypercall.PageSize - 1)})
		start = file
	}
	if end > start {
		list = append(list, fs.Area{Start: start, End: end, Prot: p.prot()})
	}
	return list
}

func (p *progHeader) prot() (prot int) {
	for _, bit := range [...]struct {
		flag uint32
		prot int
	}{{pfR, protRead}, {pfW, protWrite}, {pfX, protExec}} {
		if p.flags&bit.flag != 0 {
			prot |= bit.prot
		}
	}
	return prot
}

func pageUp(n uintptr) uintptr { return (n + hypercall.PageSize - 1) &^ (hypercall.PageSize - 1) }

// memoryAreas are what mmap gave out.
func memoryAreas() (list []fs.Area) {
	for from, buf := uintptr(0), make([]guest.Area, 256); ; {
		n := guest.Areas(from, buf)
		for _, a := range buf[:n] {
			if a.SharedFile == 0 {
				list = append(list, fs.Area{Start: a.Start, End: a.End, Prot: int(a.Prot)})
			}
			from = a.End
		}
		if n < len(buf) {
			return list
		}
	}
}

// fixedAreas are the contract's.
func fixedAreas() []fs.Area {
	info := guest.Info()
	stack := uintptr(hypercall.BootStackTop)
	list := []fs.Area{
		fixedArea(hypercall.HypercallGVA, hypercall.PageSize, protRead|protExec, "[hypercall]"),
		fixedArea(hypercall.StartInfoGVA, startInfoLen(info), protRead, "[startinfo]"),
		fixedArea(hypercall.SharedInfoGVA, hypercall.PageSize, protRead|protWrite, "[sharedinfo]"),
		fixedArea(hypercall.VCPUInfoGVA, uintptr(info.VCPUs)*hypercall.PageSize, protRead|protWrite, "[vcpuinfo]"),
		{Start: stack - hypercall.BootStackSize, End: stack, Prot: protRead | protWrite, Name: "[stack]"},
	}
	if n := info.RootFS.Len; n > 0 {
		list = append(list, fixedArea(info.RootFS.Addr, uintptr(n), protRead, "[rootfs]"))
	}
	return list
}

func fixedArea(at hypercall.GVA, n uintptr, prot int, name string) fs.Area {
	return fs.Area{Start: uintptr(at), End: pageUp(uintptr(at) + n), Prot: prot, Name: name}
}

// startInfoLen is how far what the host wrote there reaches, in bytes.
func startInfoLen(info *hypercall.StartInfo) uintptr {
	end := uint64(hypercall.StartInfoGVA) + hypercall.PageSize
	for _, e := range [...]hypercall.Extent{info.Args, info.Env, info.Dir, info.Hostname, info.Shares} {
		end = max(end, uint64(e.Addr)+e.Len)
	}
	return uintptr(end - uint64(hypercall.StartInfoGVA))
}
