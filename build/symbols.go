package build

import (
	"debug/elf"
	"debug/gosym"
	"errors"
	"fmt"
	"io"
	"sort"
)

// program is the code of a linked program with the functions in it. They come
// from the table that the runtime itself needs, which -ldflags=-s keeps.
type program struct {
	entry uint64
	code  []code
	table *gosym.Table
}

// code is the contents of an executable segment.
type code struct {
	addr  uint64
	bytes []byte
}

var errNoText = errors.New("not a program made by the Go linker")

// readProgram reads a program's code.
func readProgram(f *elf.File) (*program, error) {
	p := &program{entry: f.Entry}
	for _, seg := range f.Progs {
		if seg.Type != elf.PT_LOAD || seg.Flags&elf.PF_X == 0 {
			continue
		}
		b, err := io.ReadAll(io.NewSectionReader(seg, 0, int64(seg.Filesz)))
		if err != nil {
			return nil, fmt.Errorf("read the segment at %#x: %w", seg.Vaddr, err)
		}
		p.code = append(p.code, code{seg.Vaddr, b})
	}
	text, tab := f.Section(".text"), f.Section(".gopclntab")
	if text == nil || tab == nil {
		return nil, errNoText
	}
	lines, err := tab.Data()
	if err == nil {
		p.table, err = gosym.NewTable(nil, gosym.NewLineTable(lines, text.Addr))
	}
	if err != nil {
		return nil, fmt.Errorf("read the function table: %w", err)
	}
	return p, nil
}

// lookup finds a function by name.
func (p *program) lookup(name string) (*gosym.Func, bool) {
	for i := range p.table.Funcs {
		if f := &p.table.Funcs[i]; f.Name == name {
			return f, true
		}
	}
	return nil, false
}

// function finds the function that addr is in, nil if there is none.
func (p *program) function(addr uint64) *gosym.Func {
	list := p.table.Funcs
	i := sort.Search(len(list), func(i int) bool { return list[i].Entry > addr }) - 1
	if i < 0 || list[i].End <= addr {
		return nil
	}
	return &list[i]
}

// bytes returns the code from addr on, nil where there is none.
func (p *program) bytes(addr uint64) []byte {
	for _, c := range p.code {
		if addr >= c.addr && addr-c.addr < uint64(len(c.bytes)) {
			return c.bytes[addr-c.addr:]
		}
	}
	return nil
}
