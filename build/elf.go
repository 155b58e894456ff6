package build

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/pvrun/pvrun/hypercall"
)

// Sizes of the ELF header and of entries of the two tables, in bytes (System V
// ABI, "ELF Header").
const (
	ehdrSize = int64(64)
	phdrSize = int64(56)
	shdrSize = int64(64)
)

// elfFile is an executable to which program headers are added. Go's linker
// puts the section headers right behind the program headers; they move to the
// end of the file and leave their room.
type elfFile struct {
	f     *os.File
	head  elf.Header64
	progs []elf.Prog64
	sects []elf.Section64
}

func openELF(f *os.File) (*elfFile, error) {
	e := &elfFile{f: f}
	if err := e.read(0, ehdrSize, &e.head); err != nil {
		return nil, err
	}
	e.progs = make([]elf.Prog64, e.head.Phnum)
	if err := e.read(int64(e.head.Phoff), int64(len(e.progs))*phdrSize, e.progs); err != nil {
		return nil, err
	}
	e.sects = make([]elf.Section64, e.head.Shnum)
	err := e.read(int64(e.head.Shoff), int64(len(e.sects))*shdrSize, e.sects)
	return e, err
}

func (e *elfFile) read(off, size int64, to any) error {
	err := binary.Read(io.NewSectionReader(e.f, off, size), binary.LittleEndian, to)
	if err != nil {
		return fmt.Errorf("read ELF headers: %w", err)
	}
	return nil
}

// end returns the end of the file, filled up to a multiple of align.
func (e *elfFile) end(align int64) (int64, error) {
	size, err := e.f.Seek(0, io.SeekEnd)
	if err != nil {
		return 0, err
	}
	end := (size + align - 1) &^ (align - 1)
	if _, err := e.f.Write(make([]byte, end-size)); err != nil {
		return 0, err
	}
	return end, nil
}

// addRootFS appends the archive of dir without own, page-aligned, and its
// header.
func (e *elfFile) addRootFS(dir string, own outputs) (*RootFS, error) {
	off, err := e.end(hypercall.PageSize)
	if err != nil {
		return nil, err
	}
	fs, err := writeRootFS(e.f, dir, own)
	if err != nil {
		return nil, err
	}
	e.progs = append(e.progs, elf.Prog64{Type: hypercall.PTRootFS, Flags: uint32(elf.PF_R),
		Off: uint64(off), Filesz: uint64(fs.Bytes), Align: hypercall.PageSize})
	return fs, nil
}

// addNote appends a note and its header.
func (e *elfFile) addNote(note []byte) error {
	off, err := e.end(8)
	if err != nil {
		return err
	}
	_, err = e.f.Write(note)
	e.progs = append(e.progs, elf.Prog64{Type: uint32(elf.PT_NOTE), Flags: uint32(elf.PF_R),
		Off: uint64(off), Filesz: uint64(len(note)), Align: 4})
	return err
}

// writeHeaders puts the section headers at the end of the file and all the
// program headers behind the file header.
func (e *elfFile) writeHeaders() error {
	oldOff, oldLen := int64(e.head.Shoff), int64(len(e.sects))*shdrSize
	off, err := e.end(8)
	if err != nil {
		return err
	}
	if err := binary.Write(e.f, binary.LittleEndian, e.sects); err != nil {
		return err
	}
	if _, err := e.f.WriteAt(make([]byte, oldLen), oldOff); err != nil {
		return err
	}
	if err := e.checkRoom(); err != nil {
		return err
	}
	e.head.Shoff = uint64(off)
	e.head.Phnum = uint16(len(e.progs))
	e.growPhdr()
	buf := new(bytes.Buffer)
	binary.Write(buf, binary.LittleEndian, &e.head)
	_, err = e.f.WriteAt(buf.Bytes(), 0)
	if err != nil {
		return err
	}
	buf.Reset()
	binary.Write(buf, binary.LittleEndian, e.progs)
	_, err = e.f.WriteAt(buf.Bytes(), int64(e.head.Phoff))
	return err
}

// growPhdr makes the PT_PHDR entry span the whole table.
func (e *elfFile) growPhdr() {
	for i := range e.progs {
		if p := &e.progs[i]; p.Type == uint32(elf.PT_PHDR) {
			p.Filesz = uint64(len(e.progs)) * uint64(phdrSize)
			p.Memsz = p.Filesz
		}
	}
}

// checkRoom fails when the new program headers would overwrite something.
func (e *elfFile) checkRoom() error {
	start := int64(e.head.Phoff) + int64(e.head.Phnum)*phdrSize
	end := int64(e.head.Phoff) + int64(len(e.progs))*phdrSize
	for _, s := range e.sects {
		inFile := s.Type != uint32(elf.SHT_NOBITS) && s.Type != uint32(elf.SHT_NULL)
		if inFile && int64(s.Off) < end && int64(s.Off+s.Size) > start {
			return errors.New("no room for program headers: a section follows them")
		}
	}
	room := make([]byte, end-start)
	if _, err := e.f.ReadAt(room, start); err != nil {
		return fmt.Errorf("read ELF headers: %w", err)
	}
	if len(bytes.Trim(room, "\x00")) > 0 {
		return errors.New("no room for program headers: unknown bytes follow them")
	}
	return nil
}
