package sensitive

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"testing"
)

var little = binary.LittleEndian

// elfFile makes an executable with three functions; change may damage it.
func elfFile(change func(header, sections, table []byte)) []byte {
	const names = "\x00.shstrtab\x00.text\x00.gopclntab\x00"
	const namesAt, sectionsAt, tableAt = headerSize, 128, 128 + 4*sectionSize
	b := make([]byte, tableAt+tableHeader+4*entrySize)
	copy(b[namesAt:], names)
	h, sections, table := b[:headerSize], b[sectionsAt:tableAt], b[tableAt:]
	copy(h, "\x7fELF")
	little.PutUint64(h[40:], sectionsAt)
	little.PutUint16(h[58:], sectionSize)
	little.PutUint16(h[60:], 4)
	little.PutUint16(h[62:], 1)
	for i, s := range [][4]uint64{{}, {1, 0, namesAt, uint64(len(names))}, {11, 0x401000, 0, 0x100}, {17, 0, tableAt, uint64(len(table))}} {
		out := sections[i*sectionSize:]
		little.PutUint32(out, uint32(s[0]))
		little.PutUint64(out[16:], s[1])
		little.PutUint64(out[24:], s[2])
		little.PutUint64(out[32:], s[3])
	}
	copy(table, "\xf1\xff\xff\xff\x00\x00\x01\x08")
	little.PutUint64(table[8:], 3)
	little.PutUint64(table[64:], tableHeader)
	for i, off := range []uint32{0, 0x20, 0x60} {
		little.PutUint32(table[tableHeader+i*entrySize:], off)
	}
	change(h, sections, table)
	return b
}

func functions(b []byte) string {
	return fmt.Sprintf("%#x", Functions(bytes.NewReader(b), int64(len(b))))
}

func TestFunctions(t *testing.T) {
	const none, huge = "[]", 1<<64 - 1
	tests := []struct {
		name, want string
		change     func(h, s, table []byte)
	}{
		{"whole", "[0x401000 0x401020 0x401060]", func(_, _, _ []byte) {}},
		{"no ELF file", none, func(h, _, _ []byte) { h[0] = 0 }},
		{"no sections", none, func(h, _, _ []byte) { little.PutUint16(h[60:], 0) }},
		{"many sections", none, func(h, _, _ []byte) { little.PutUint16(h[60:], 65535) }},
		{"sections of another size", none, func(h, _, _ []byte) { h[58] = 40 }},
		{"sections past the end", none, func(h, _, _ []byte) { little.PutUint64(h[40:], huge) }},
		{"names past the sections", none, func(h, _, _ []byte) { h[62] = 4 }},
		{"names past the end", none, func(_, s, _ []byte) { little.PutUint64(s[sectionSize+24:], huge-10) }},
		{"a name past the names", none, func(_, s, _ []byte) { little.PutUint32(s[2*sectionSize:], 1<<31) }},
		{"a table past the end", none, func(_, s, _ []byte) { little.PutUint64(s[3*sectionSize+24:], huge) }},
		{"a table without a header", none, func(_, s, _ []byte) { s[3*sectionSize+32] = 60 }},
		{"a table that ends early", none, func(_, s, _ []byte) { s[3*sectionSize+32] = 80 }},
		{"another magic", none, func(_, _, table []byte) { table[0] = 0xf2 }},
		{"other pointers", none, func(_, _, table []byte) { table[7] = 4 }},
		{"no functions", none, func(_, _, table []byte) { table[8] = 0 }},
		{"many functions", none, func(_, _, table []byte) { little.PutUint64(table[8:], huge) }},
		{"entries past the table", none, func(_, _, table []byte) { little.PutUint64(table[64:], huge) }},
		{"functions that do not ascend", "[0x401000 0x401060]", func(_, _, table []byte) { little.PutUint32(table[tableHeader+entrySize:], 0) }},
	}
	for _, test := range tests {
		if got := functions(elfFile(test.change)); got != test.want {
			t.Errorf("%s: got %s, want %s", test.name, got, test.want)
		}
	}
	whole := elfFile(func(_, _, _ []byte) {})
	for n := range len(whole) - 2*entrySize {
		if got := functions(whole[:n]); got != none {
			t.Errorf("%d bytes: got %s", n, got)
		}
	}
}

// holes is a file that is all zero behind its beginning.
type holes struct {
	begin []byte
	most  int // that was read at once, in bytes
}

func (h *holes) ReadAt(b []byte, off int64) (int, error) {
	h.most = max(h.most, len(b))
	clear(b)
	if off < int64(len(h.begin)) {
		copy(b, h.begin[off:])
	}
	return len(b), nil
}

// TestFunctionsOfHoles: the size of a file is not a measure for memory.
func TestFunctionsOfHoles(t *testing.T) {
	const size = 1 << 32
	h := &holes{begin: elfFile(func(_, s, table []byte) {
		little.PutUint64(s[3*sectionSize+32:], size/2)
		little.PutUint64(table[8:], size/4/entrySize)
	})}
	if list := Functions(h, size); list != nil || h.most > 1<<20 {
		t.Errorf("%d functions, %d bytes read at once", len(list), h.most)
	}
}

func FuzzFunctions(f *testing.F) {
	f.Add(elfFile(func(_, _, _ []byte) {}))
	f.Fuzz(func(t *testing.T, b []byte) {
		list := Functions(bytes.NewReader(b), int64(len(b)))
		if len(list) > len(b)/entrySize {
			t.Errorf("%d functions in %d bytes", len(list), len(b))
		}
		for i := range list {
			if i > 0 && list[i] <= list[i-1] {
				t.Errorf("%#x does not ascend", list)
			}
		}
	})
}
