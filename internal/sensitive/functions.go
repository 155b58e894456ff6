package sensitive

import (
	"bytes"
	"encoding/binary"
	"io"
)

// Functions returns the addresses of an executable's Go functions, ascending,
// by the table that the Go runtime itself needs. It is nil where there is no
// such table, or one of an unknown form: an image may be made without Go, and
// nobody has to believe its table.
func Functions(r io.ReaderAt, size int64) []uint64 {
	f := file{r, size}
	sections := f.sections()
	text, table := sections[".text"], sections[".gopclntab"]
	if text.addr == 0 || table.size < tableHeader {
		return nil
	}
	return f.functions(text.addr, table)
}

// file is an ELF file that may be damaged.
type file struct {
	r    io.ReaderAt
	size int64
}

// read returns n bytes at off, nil if they are not in the file.
func (f file) read(off, n uint64) []byte {
	if n > uint64(f.size) || off > uint64(f.size)-n {
		return nil
	}
	b := make([]byte, n)
	if _, err := f.r.ReadAt(b, int64(off)); err != nil && err != io.EOF {
		return nil
	}
	return b
}

// section is where a section is in the file, and where in memory.
type section struct{ addr, off, size uint64 }

// Sizes of the ELF header and of a section header (System V ABI, "ELF Header"
// and "Sections"), and the most of the latter that are looked at.
const (
	headerSize  = 64
	sectionSize = 64
	maxSections = 1024
	maxNames    = 1 << 16 // bytes of their names
)

// sections returns the sections by name; those of a damaged file may be missing.
func (f file) sections() map[string]section {
	h := f.read(0, headerSize)
	if h == nil || string(h[:4]) != "\x7fELF" {
		return nil
	}
	n, names := uint64(binary.LittleEndian.Uint16(h[60:])), uint64(binary.LittleEndian.Uint16(h[62:]))
	if n > maxSections || names >= n || binary.LittleEndian.Uint16(h[58:]) != sectionSize {
		return nil
	}
	b := f.read(binary.LittleEndian.Uint64(h[40:]), n*sectionSize)
	if b == nil {
		return nil
	}
	strings := f.names(parseSection(b[names*sectionSize:]))
	m := map[string]section{}
	for ; len(b) > 0; b = b[sectionSize:] {
		if at := binary.LittleEndian.Uint32(b); uint64(at) < uint64(len(strings)) {
			name, _, _ := bytes.Cut(strings[at:], []byte{0})
			m[string(name[:min(len(name), maxName)])] = parseSection(b)
		}
	}
	return m
}

// maxName is how much of a section's name counts, in bytes.
const maxName = 32

func (f file) names(s section) []byte {
	return f.read(s.off, min(s.size, maxNames))
}

func parseSection(b []byte) section {
	return section{addr: binary.LittleEndian.Uint64(b[16:]), off: binary.LittleEndian.Uint64(b[24:]), size: binary.LittleEndian.Uint64(b[32:])}
}

// The function table since Go 1.20: a header of magic, four bytes that end with
// the pointer size, and eight words, the first the number of functions, the
// last where their entries are; each entry has the function's offset in the
// text in its first half.
const (
	tableMagic  = 0xfffffff1
	tableHeader = 72
	entrySize   = 8

	// maxFunctions are more than any program has. A file of holes takes no room
	// and can name any number.
	maxFunctions = 1 << 22
)

func (f file) functions(text uint64, table section) []uint64 {
	h := f.read(table.off, tableHeader)
	if h == nil || binary.LittleEndian.Uint32(h) != tableMagic || h[7] != 8 {
		return nil
	}
	n, off := binary.LittleEndian.Uint64(h[8:]), binary.LittleEndian.Uint64(h[64:])
	if n > maxFunctions || off > table.size || n > (table.size-off)/entrySize {
		return nil
	}
	b := f.read(table.off+off, n*entrySize)
	list := make([]uint64, 0, len(b)/entrySize)
	for ; len(b) >= entrySize; b = b[entrySize:] {
		start := text + uint64(binary.LittleEndian.Uint32(b))
		if len(list) == 0 || start > list[len(list)-1] {
			list = append(list, start)
		}
	}
	if len(list) == 0 {
		return nil
	}
	return list
}
