package image

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"runtime"
	"strings"
	"testing"

	"github.com/pvrun/pvrun/hypercall"
)

// file is an image that tests take apart.
type file struct {
	ehdr  [ehdrSize]byte
	phdrs []ph
	tail  []byte // what follows the headers, from dataAt on
	size  int    // of the whole; 0: as it comes
}

const dataAt = 0x1000

type ph struct {
	typ, flags                         uint32
	offset, vaddr, _, filesz, memsz, _ uint64
}

func note(name string, typ uint32, desc []byte) []byte {
	le := binary.LittleEndian
	b := le.AppendUint32(nil, uint32(len(name)))
	b = le.AppendUint32(b, uint32(len(desc)))
	b = le.AppendUint32(b, typ)
	b = append(append(b, name...), make([]byte, -len(name)&3)...)
	return append(append(b, desc...), make([]byte, -len(desc)&3)...)
}

func ours(version, manifestLen uint32, manifest string) []byte {
	le := binary.LittleEndian
	b := le.AppendUint32(nil, version)
	b = le.AppendUint32(b, manifestLen)
	b = le.AppendUint64(b, 1)
	return append(le.AppendUint64(b, 3), manifest...)
}

// good is a small image with everything that one can have.
func good() *file {
	f := &file{tail: make([]byte, 0x3000)}
	n := note("GNU\x00", 3, []byte("build-id!"))
	n = append(n, note("pvrun\x00", 1, ours(1, 2, "{}"))...)
	copy(f.tail[0x2000:], n)
	le := binary.LittleEndian
	copy(f.ehdr[:], "\x7fELF\x02\x01\x01")
	le.PutUint16(f.ehdr[16:], 2)
	le.PutUint16(f.ehdr[18:], 62)
	le.PutUint64(f.ehdr[24:], 0x400010)
	le.PutUint64(f.ehdr[32:], ehdrSize)
	le.PutUint16(f.ehdr[54:], phdrSize)
	f.phdrs = []ph{
		{typ: ptLoad, flags: 5, offset: dataAt, vaddr: 0x400000, filesz: 0x800, memsz: 0x800},
		{typ: ptLoad, flags: 6, offset: dataAt + 0x1000, vaddr: 0x402000, filesz: 0x10, memsz: 0x5000},
		{typ: ptNote, offset: dataAt + 0x2000, filesz: uint64(len(n))},
		{typ: hypercall.PTRootFS, offset: dataAt + 0x1800, filesz: 0x100},
	}
	return f
}

func (f *file) bytes() []byte {
	binary.LittleEndian.PutUint16(f.ehdr[56:], uint16(len(f.phdrs)))
	var b bytes.Buffer
	b.Write(f.ehdr[:])
	binary.Write(&b, binary.LittleEndian, f.phdrs)
	b.Write(make([]byte, max(0, dataAt-b.Len())))
	b.Write(f.tail)
	if f.size != 0 && f.size < b.Len() {
		b.Truncate(f.size)
	}
	return b.Bytes()
}

func parse(b []byte) (*Image, error) { return Parse(bytes.NewReader(b), int64(len(b))) }

func TestParse(t *testing.T) {
	img, err := parse(good().bytes())
	if err != nil {
		t.Fatal(err)
	}
	if img.Entry != 0x400010 || len(img.Segments) != 2 || string(img.Manifest) != "{}" ||
		img.Note != (hypercall.Note{ABIVersion: 1, ManifestLen: 2, Required: 1, Usable: 3}) ||
		img.RootFS != (Span{dataAt + 0x1800, 0x100}) {
		t.Errorf("%+v", img)
	}
	if got, want := img.Segments[1], (Segment{0x402000, 0x5000, dataAt + 0x1000, 0x10, PermR | PermW}); got != want || got.End() != 0x407000 {
		t.Errorf("segment %+v, want %+v", got, want)
	}
	if p := img.Segments[0].Perm.String(); p != "r-x" {
		t.Errorf("permissions %q", p)
	}
}

// TestParseErrors breaks the good image in every way that Parse knows, each
// with the words that a user reads.
func TestParseErrors(t *testing.T) {
	le := binary.LittleEndian
	huge := ^uint64(0)
	tests := []struct {
		name, want string
		spoil      func(f *file)
	}{
		{"short", "not an ELF file", func(f *file) { f.size = 3 }},
		{"text", "not an ELF file", func(f *file) { copy(f.ehdr[:], "#!/bin/sh") }},
		{"shorter than a header", "truncated: 40 bytes", func(f *file) { f.size = 40 }},
		{"32 bits", "another architecture (ELF class 1", func(f *file) { f.ehdr[4] = 1 }},
		{"big endian", "another architecture", func(f *file) { f.ehdr[5] = 2 }},
		{"arm", "machine 183", func(f *file) { le.PutUint16(f.ehdr[18:], 183) }},
		{"shared", "not a static executable (ELF type 3)", func(f *file) { le.PutUint16(f.ehdr[16:], 3) }},
		{"header size", "program headers of 57 bytes", func(f *file) { le.PutUint16(f.ehdr[54:], 57) }},
		{"no headers", "0 program headers", func(f *file) { f.phdrs = nil }},
		{"too many headers", "65 program headers", func(f *file) { f.phdrs = make([]ph, 65) }},
		{"headers past the end", "the program headers lie past the end", func(f *file) { le.PutUint64(f.ehdr[32:], 0x4001-4*phdrSize) }},
		{"headers far away", "the program headers lie past the end", func(f *file) { le.PutUint64(f.ehdr[32:], 1<<63-1) }},
		{"headers at a negative place", "the program headers lie past the end", func(f *file) { le.PutUint64(f.ehdr[32:], 1<<63) }},
		{"cut in a segment", "truncated: a segment of 2048 bytes", func(f *file) { f.size = dataAt + 0x7ff }},
		{"segment offset", "past the end of the file", func(f *file) { f.phdrs[0].offset = huge }},
		{"segment size", "past the end of the file", func(f *file) { f.phdrs[0].filesz = huge }},
		{"segment offset plus size overflows", "past the end of the file", func(f *file) { f.phdrs[0].offset, f.phdrs[0].filesz = huge-5, 10 }},
		{"note past the end", "past the end of the file", func(f *file) { f.phdrs[2].offset = 0x4000 }},
		{"root file system past the end", "past the end of the file", func(f *file) { f.phdrs[3].filesz = 1 << 40 }},
		{"unaligned", "does not start on a page", func(f *file) { f.phdrs[1].vaddr++ }},
		{"more in the file than in memory", "2048 bytes in the file, 2047 in memory", func(f *file) { f.phdrs[0].memsz-- }},
		{"page 0", "lies outside", func(f *file) { f.phdrs[1].vaddr = 0 }},
		{"below the lowest", "lies outside", func(f *file) { f.phdrs[1].vaddr = 0xf000 }},
		{"contract's range", "lies outside", func(f *file) { f.phdrs[1].vaddr = uint64(hypercall.ReservedGVA) }},
		{"into the contract's range", "lies outside", func(f *file) { f.phdrs[1].vaddr = uint64(hypercall.ReservedGVA) - 0x4000 }},
		{"kernel half", "lies outside", func(f *file) { f.phdrs[1].vaddr = 0xffff_8000_0000_0000 }},
		{"huge", "lies outside", func(f *file) { f.phdrs[1].memsz = huge }},
		{"negative", "lies outside", func(f *file) { f.phdrs[1].memsz = 1 << 63 }},
		{"more than is allowed", "bytes in all", func(f *file) { f.phdrs[1].memsz = maxMemory + 1 }},
		{"W+X", "both writable and executable", func(f *file) { f.phdrs[0].flags = 7 }},
		{"write and execute without read", "both writable and executable", func(f *file) { f.phdrs[0].flags = 3 }},
		{"overlap", "overlap", func(f *file) { f.phdrs[1].vaddr = 0x400000 }},
		{"overlap in one page", "overlap", func(f *file) { f.phdrs[1].vaddr, f.phdrs[0].memsz = 0x401000, 0x1001 }},
		{"no note", "no pvrun note", func(f *file) { f.phdrs = f.phdrs[:2] }},
		{"another's note", "no pvrun note", func(f *file) { f.tail[0x2000+12+4+12+12] = 'x' }},
		{"two notes", "two pvrun notes", func(f *file) { f.phdrs = append(f.phdrs, f.phdrs[2]) }},
		{"truncated note", "truncated note", func(f *file) { f.phdrs[2].filesz -= 4 }},
		{"endless note", "truncated note", func(f *file) { le.PutUint32(f.tail[0x2004:], 1<<32-1) }},
		{"endless name", "truncated note", func(f *file) { le.PutUint32(f.tail[0x2000:], 1<<32-1) }},
		{"short pvrun note", "truncated pvrun note", func(f *file) {
			n := note("pvrun\x00", 1, make([]byte, 23))
			f.phdrs[2].filesz = uint64(copy(f.tail[0x2000:], n))
		}},
		{"manifest too long for the note", "manifest of 3 bytes", func(f *file) {
			n := note("pvrun\x00", 1, ours(1, 3, "{}"))
			f.phdrs[2].filesz = uint64(copy(f.tail[0x2000:], n))
		}},
		{"manifest too long", "manifest of 65537 bytes", func(f *file) {
			n := note("pvrun\x00", 1, ours(1, hypercall.MaxManifest+1, strings.Repeat("x", hypercall.MaxManifest+1)))
			f.tail = append(f.tail[:0x2000], n...)
			f.phdrs[2].filesz = uint64(len(n))
		}},
		{"notes too long", "notes of", func(f *file) {
			f.tail = append(f.tail, make([]byte, maxNotes)...)
			f.phdrs[2].filesz = maxNotes + 1
		}},
		{"two root file systems", "two root file systems", func(f *file) { f.phdrs = append(f.phdrs, f.phdrs[3]) }},
		{"entry outside", "entry point 0x10 is not", func(f *file) { le.PutUint64(f.ehdr[24:], 0x10) }},
		{"entry in data", "is not in an executable segment", func(f *file) { le.PutUint64(f.ehdr[24:], 0x402000) }},
		{"entry past the segment", "is not in an executable segment", func(f *file) { le.PutUint64(f.ehdr[24:], 0x400800) }},
		{"empty segment", "is not in an executable segment", func(f *file) { f.phdrs[0].memsz, f.phdrs[0].filesz = 0, 0 }},
	}
	for _, test := range tests {
		f := good()
		test.spoil(f)
		_, err := parse(f.bytes())
		var e *Error
		if !errors.As(err, &e) || !strings.Contains(e.Reason, test.want) || strings.Contains(e.Reason, "\n") {
			t.Errorf("%s: %v, want …%s…", test.name, err, test.want)
		}
	}
}

// failing is a disk that breaks after n bytes.
type failing struct {
	b []byte
	n int64
}

var errDisk = errors.New("disk on fire")

func (f failing) ReadAt(b []byte, off int64) (int, error) {
	if off+int64(len(b)) > f.n {
		return 0, errDisk
	}
	return bytes.NewReader(f.b).ReadAt(b, off)
}

func TestParseReadErrors(t *testing.T) {
	b := good().bytes()
	for _, n := range []int64{0, 64, 64 + 56, dataAt + 0x2000} {
		if _, err := Parse(failing{b, n}, int64(len(b))); !errors.Is(err, errDisk) {
			t.Errorf("disk of %d bytes: %v", n, err)
		}
	}
}

// TestParseShrunk: a file that has become shorter since it was measured.
func TestParseShrunk(t *testing.T) {
	b := good().bytes()
	for n := range len(b) {
		if n > 400 && n%97 != 0 {
			continue
		}
		Parse(bytes.NewReader(b[:n]), int64(len(b)))
		if _, err := parse(b[:n]); err == nil {
			t.Errorf("%d of %d bytes are an image", n, len(b))
		}
		if n > dataAt+0x1f00 {
			break
		}
	}
}

// FuzzParse: no panic, no more memory than the notes may take, and what is
// accepted is sound.
func FuzzParse(f *testing.F) {
	f.Add(good().bytes())
	short := good()
	short.tail = short.tail[:0x2100]
	f.Add(short.bytes())
	f.Fuzz(func(t *testing.T, b []byte) {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		img, err := parse(b)
		runtime.ReadMemStats(&after)
		if n := after.TotalAlloc - before.TotalAlloc; n > 64*(maxNotes+4096) {
			t.Fatalf("%d bytes allocated", n)
		}
		var e *Error
		if err != nil {
			if !errors.As(err, &e) && !errors.Is(err, io.EOF) {
				t.Fatalf("%T: %v", err, err)
			}
			return
		}
		sound(t, img, uint64(len(b)))
	})
}

func sound(t *testing.T, img *Image, size uint64) {
	inText, end, total := false, uint64(hypercall.MinGVA), uint64(0)
	for _, s := range img.Segments {
		a := uint64(s.Addr)
		switch {
		case a < end || a%4096 != 0:
			t.Fatalf("segment at %#x, the one before ends at %#x", a, end)
		case s.MemSize == 0 || s.MemSize > 1<<40 || a+s.MemSize > uint64(hypercall.ReservedGVA):
			t.Fatalf("segment at %#x of %#x bytes", a, s.MemSize)
		case s.FileSize > s.MemSize || s.Offset < 0 || s.FileSize > size || uint64(s.Offset) > size-s.FileSize:
			t.Fatalf("segment's bytes at %#x, %#x", s.Offset, s.FileSize)
		case s.Perm&PermW != 0 && s.Perm&PermX != 0:
			t.Fatal("W+X")
		}
		e := uint64(img.Entry)
		inText = inText || s.Perm&PermX != 0 && e >= a && e < a+s.MemSize
		end = (a + s.MemSize + 4095) &^ 4095
		total += s.MemSize
	}
	r := img.RootFS
	if !inText || total > 1<<40 || r.Offset < 0 || r.Size < 0 || uint64(r.Offset)+uint64(r.Size) > size || len(img.Manifest) > hypercall.MaxManifest {
		t.Fatalf("%+v", img)
	}
}
