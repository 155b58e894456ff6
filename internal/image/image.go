// Package image reads a pvrun image: an ELF file with a note that names the
// contract it was built for. The file is hostile input; whatever is wrong with
// it is an [Error] that says so in one line.
package image

import (
	"encoding/binary"
	"fmt"
	"io"
	"slices"

	"github.com/pvrun/pvrun/hypercall"
)

// Segment is a run of the guest's memory that the image fills.
type Segment struct {
	Addr     hypercall.GVA // page-aligned
	MemSize  uint64        // bytes; what lies past FileSize is zero
	Offset   int64         // in the file
	FileSize uint64        // bytes
	Perm     Perm
}

// End is the first address after s, rounded up to a page.
func (s Segment) End() hypercall.GVA {
	return hypercall.GVA(pageUp(uint64(s.Addr) + s.MemSize))
}

// Perm is a set of ELF segment flags (PF_X, PF_W, PF_R).
type Perm uint32

const (
	PermX Perm = 1
	PermW Perm = 2
	PermR Perm = 4
)

// String shows p as "rwx" with dashes.
func (p Perm) String() string {
	b := []byte("---")
	for i, f := range []Perm{PermR, PermW, PermX} {
		if p&f != 0 {
			b[i] = "rwx"[i]
		}
	}
	return string(b)
}

// Image is what a host needs to know of an image file.
type Image struct {
	Entry    hypercall.GVA
	Segments []Segment // ascending, disjoint by page
	Note     hypercall.Note
	Manifest []byte // JSON
	RootFS   Span   // the newc archive; Size 0 for none
}

// Span is a part of the file.
type Span struct {
	Offset int64
	Size   int64
}

// Error says why a file is not an image that can run.
type Error struct{ Reason string }

func (e *Error) Error() string { return e.Reason }

func bad(format string, args ...any) error {
	return &Error{fmt.Sprintf(format, args...)}
}

// Limits of what Parse accepts.
const (
	maxHeaders = 64      // program headers
	maxMemory  = 1 << 40 // bytes of all segments together
)

// Parse reads the headers and the note of an image of size bytes. Errors of r
// come back as they are, everything else as *Error.
func Parse(r io.ReaderAt, size int64) (*Image, error) {
	p := parser{r: r, size: size}
	h, err := p.header()
	if err != nil {
		return nil, err
	}
	for i := range h.phnum {
		ph, err := p.programHeader(h.phoff + int64(i)*phdrSize)
		if err != nil {
			return nil, err
		}
		if err := p.take(ph); err != nil {
			return nil, err
		}
	}
	return p.finish(h.entry)
}

type parser struct {
	r    io.ReaderAt
	size int64
	img  Image
	note bool
}

const (
	ehdrSize = 64
	phdrSize = 56

	ptLoad = 1
	ptNote = 4
)

type header struct {
	entry hypercall.GVA
	phoff int64
	phnum int
}

// header checks the ELF header (System V ABI, "ELF Header").
func (p *parser) header() (header, error) {
	var b [ehdrSize]byte
	if p.size < 4 {
		return header{}, bad("not an ELF file")
	}
	n := min(p.size, ehdrSize)
	if err := p.read(b[:n], 0); err != nil {
		return header{}, err
	}
	le := binary.LittleEndian
	switch {
	case string(b[:4]) != "\x7fELF":
		return header{}, bad("not an ELF file")
	case p.size < ehdrSize:
		return header{}, bad("truncated: %d bytes, shorter than an ELF header", p.size)
	case b[4] != 2 || b[5] != 1 || le.Uint16(b[18:]) != 62:
		return header{}, bad("built for another architecture (ELF class %d, machine %d); pvrun runs 64-bit x86", b[4], le.Uint16(b[18:]))
	case le.Uint16(b[16:]) != 2:
		return header{}, bad("not a static executable (ELF type %d)", le.Uint16(b[16:]))
	case le.Uint16(b[54:]) != phdrSize:
		return header{}, bad("program headers of %d bytes, not %d", le.Uint16(b[54:]), phdrSize)
	}
	h := header{hypercall.GVA(le.Uint64(b[24:])), int64(le.Uint64(b[32:])), int(le.Uint16(b[56:]))}
	switch {
	case h.phnum == 0 || h.phnum > maxHeaders:
		return header{}, bad("%d program headers; 1 to %d are allowed", h.phnum, maxHeaders)
	case h.phoff < 0 || h.phoff > p.size-int64(h.phnum)*phdrSize:
		return header{}, bad("truncated: the program headers lie past the end of the file")
	}
	return h, nil
}

type phdr struct {
	typ, flags                   uint32
	offset, vaddr, filesz, memsz uint64
}

// programHeader reads one header and checks that its bytes are in the file.
func (p *parser) programHeader(off int64) (phdr, error) {
	var b [phdrSize]byte
	if err := p.read(b[:], off); err != nil {
		return phdr{}, err
	}
	le := binary.LittleEndian
	ph := phdr{
		typ: le.Uint32(b[0:]), flags: le.Uint32(b[4:]), offset: le.Uint64(b[8:]),
		vaddr: le.Uint64(b[16:]), filesz: le.Uint64(b[32:]), memsz: le.Uint64(b[40:]),
	}
	switch ph.typ {
	case ptLoad, ptNote, hypercall.PTRootFS:
		if ph.filesz > uint64(p.size) || ph.offset > uint64(p.size)-ph.filesz {
			return phdr{}, bad("truncated: a segment of %d bytes at offset %d reaches past the end of the file", ph.filesz, ph.offset)
		}
	}
	return ph, nil
}

func (p *parser) take(ph phdr) error {
	switch ph.typ {
	case ptLoad:
		return p.segment(ph)
	case ptNote:
		return p.notes(ph)
	case hypercall.PTRootFS:
		if p.img.RootFS.Size != 0 {
			return bad("two root file systems")
		}
		p.img.RootFS = Span{int64(ph.offset), int64(ph.filesz)}
	}
	return nil
}

func (p *parser) segment(ph phdr) error {
	if ph.memsz == 0 {
		return nil
	}
	perm := Perm(ph.flags) & (PermR | PermW | PermX)
	const lo, hi = uint64(hypercall.MinGVA), uint64(hypercall.ReservedGVA)
	switch {
	case ph.vaddr%hypercall.PageSize != 0:
		return bad("segment at %#x does not start on a page", ph.vaddr)
	case ph.filesz > ph.memsz:
		return bad("segment at %#x: %d bytes in the file, %d in memory", ph.vaddr, ph.filesz, ph.memsz)
	case ph.vaddr < lo || ph.vaddr >= hi || ph.memsz > hi-ph.vaddr:
		return bad("segment at %#x of %#x bytes lies outside %#x-%#x", ph.vaddr, ph.memsz, lo, hi)
	case perm&PermW != 0 && perm&PermX != 0:
		return bad("segment at %#x is both writable and executable", ph.vaddr)
	}
	p.img.Segments = append(p.img.Segments, Segment{
		hypercall.GVA(ph.vaddr), ph.memsz, int64(ph.offset), ph.filesz, perm,
	})
	return nil
}

// maxNotes bounds a PT_NOTE segment, in bytes.
const maxNotes = hypercall.MaxManifest + 4096

// notes looks for ours among the notes of one segment (System V ABI, "Note
// Section"): name size, descriptor size, type, name, descriptor, each padded
// to 4 bytes.
func (p *parser) notes(ph phdr) error {
	if ph.filesz > maxNotes {
		return bad("notes of %d bytes; %d are allowed", ph.filesz, maxNotes)
	}
	b := make([]byte, ph.filesz)
	if err := p.read(b, int64(ph.offset)); err != nil {
		return err
	}
	le := binary.LittleEndian
	for len(b) >= 12 {
		nameLen, descLen, typ := uint64(le.Uint32(b)), uint64(le.Uint32(b[4:])), le.Uint32(b[8:])
		descAt := 12 + (nameLen+3)&^3
		end := descAt + (descLen+3)&^3
		if descAt+descLen > uint64(len(b)) {
			return bad("truncated note")
		}
		name := string(b[12 : 12+nameLen])
		if name == hypercall.NoteName+"\x00" && typ == hypercall.NoteType {
			return p.ours(b[descAt : descAt+descLen])
		}
		b = b[min(end, uint64(len(b))):]
	}
	return nil
}

func (p *parser) ours(desc []byte) error {
	const fixed = 24
	if p.note {
		return bad("two pvrun notes")
	}
	if len(desc) < fixed {
		return bad("truncated pvrun note")
	}
	le := binary.LittleEndian
	p.img.Note = hypercall.Note{
		ABIVersion: le.Uint32(desc), ManifestLen: le.Uint32(desc[4:]),
		Required: hypercall.Feature(le.Uint64(desc[8:])), Usable: hypercall.Feature(le.Uint64(desc[16:])),
	}
	n := p.img.Note.ManifestLen
	if n > hypercall.MaxManifest || int(n) > len(desc)-fixed {
		return bad("pvrun note: manifest of %d bytes does not fit", n)
	}
	p.img.Manifest = desc[fixed : fixed+n]
	p.note = true
	return nil
}

// finish checks what only all headers together show.
func (p *parser) finish(entry hypercall.GVA) (*Image, error) {
	if !p.note {
		return nil, bad("no pvrun note: not a pvrun image ('pvrun build' makes one, 'pvrun exec' runs what go test leaves)")
	}
	segs := p.img.Segments
	slices.SortFunc(segs, func(a, b Segment) int {
		switch {
		case a.Addr < b.Addr:
			return -1
		case a.Addr > b.Addr:
			return 1
		}
		return 0
	})
	total := uint64(0)
	for i, s := range segs {
		if i > 0 && segs[i-1].End() > s.Addr {
			return nil, bad("segments at %#x and %#x overlap", segs[i-1].Addr, s.Addr)
		}
		total += s.MemSize
	}
	if total > maxMemory {
		return nil, bad("segments of %d bytes in all; %d are allowed", total, uint64(maxMemory))
	}
	if !slices.ContainsFunc(segs, func(s Segment) bool {
		return s.Perm&PermX != 0 && entry >= s.Addr && uint64(entry-s.Addr) < s.MemSize
	}) {
		return nil, bad("entry point %#x is not in an executable segment", entry)
	}
	p.img.Entry = entry
	return &p.img, nil
}

func (p *parser) read(b []byte, off int64) error {
	if _, err := p.r.ReadAt(b, off); err != nil && err != io.EOF {
		return fmt.Errorf("read image: %w", err)
	}
	return nil
}

func pageUp(n uint64) uint64 {
	return (n + hypercall.PageSize - 1) &^ (hypercall.PageSize - 1)
}
