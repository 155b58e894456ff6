package sensitive

import (
	"errors"
	"iter"
	"slices"
)

// Site is a sensitive instruction.
type Site struct {
	Addr  uint64
	Class Class
	Name  string // the manual's mnemonic, with the register of a MOV

	code   [maxLength]byte
	length int
	opcode int // prefixes before it, bytes
}

// Code is the instruction's bytes, 1 to 15.
func (s *Site) Code() []byte { return s.code[:s.length] }

// IsPatched reports whether Patch changes the instruction: it does not trap at
// CPL 3, or not on every CPU, and a virtual CPU has to see it.
func (s *Site) IsPatched() bool { return s.Class == Unprivileged || s.Class == Syscall }

// Sites yields the sensitive instructions of code, which lies at addr, in
// ascending order. starts are the addresses, ascending, where instructions are
// known to begin, as Functions has them; others of the address space may be
// among them. Decoding begins at the first of them, or with code if none lies
// in it, and goes on as the CPU does when nothing jumps; it begins anew at each
// start, and one byte further where there is no instruction.
//
// Code is read as the sequence goes on: who changes an instruction that was
// yielded does not disturb it.
func Sites(code []byte, addr uint64, starts []uint64) iter.Seq[Site] {
	return func(yield func(Site) bool) {
		for at, in := range instructions(code, addr, starts) {
			if s, ok := in.site(code, addr, at); ok && !yield(s) {
				return
			}
		}
	}
}

// site describes the instruction at code[at:], if it is sensitive.
func (in *instruction) site(code []byte, addr uint64, at int) (s Site, ok bool) {
	k := in.classify()
	if k.class == 0 {
		return s, false
	}
	s = Site{Addr: addr + uint64(at), Class: k.class, Name: k.name, length: in.length, opcode: in.prefixes}
	copy(s.code[:], code[at:at+in.length])
	return s, true
}

// MaxPatches bounds how many instructions Patch changes in one call.
const MaxPatches = 1 << 16

// ErrTooMany is the error for code with more than MaxPatches instructions to
// patch. No compiler makes such code.
var ErrTooMany = errors.New("too many sensitive instructions")

// Patch replaces each sensitive instruction that does not trap by one that
// does: INT3 for one of a single byte, UD2 in the first two bytes of longer
// ones. It returns the instructions that were there, ascending. The arguments
// are those of Sites. After an error the code is patched in part.
func Patch(code []byte, addr uint64, starts []uint64) ([]Site, error) {
	var list []Site
	for s := range Sites(code, addr, starts) {
		switch {
		case !s.IsPatched():
			continue
		case len(list) == MaxPatches:
			return nil, ErrTooMany
		}
		list = append(list, s)
		at := code[s.Addr-addr:]
		if s.length == 1 {
			at[0] = 0xcc
			continue
		}
		at[0], at[1] = 0x0f, 0x0b
	}
	return list, nil
}

// instructions yields the instructions of code with their offsets. Where there
// is none, or one that reaches over a start, it yields one of length 0 and
// goes on at the next byte.
func instructions(code []byte, addr uint64, starts []uint64) iter.Seq2[int, instruction] {
	return func(yield func(int, instruction) bool) {
		for from, to := range runs(len(code), addr, starts) {
			if isBuildID(code[from:to]) {
				continue
			}
			for at := from; at < to; {
				in, ok := decode(code[at:to])
				if !ok {
					in = instruction{}
				}
				if !yield(at, in) {
					return
				}
				at += max(in.length, 1)
			}
		}
	}
}

// runs yields the stretches of code of size bytes that begin at a start, as
// offsets of their beginnings and ends; all of it if there is no start in it.
func runs(size int, addr uint64, starts []uint64) iter.Seq2[int, int] {
	return func(yield func(int, int) bool) {
		i, _ := slices.BinarySearch(starts, addr)
		from := 0
		if i < len(starts) && starts[i]-addr < uint64(size) {
			from = int(starts[i] - addr)
		}
		for ; from < size; i++ {
			to := size
			if i+1 < len(starts) && starts[i+1]-addr < uint64(size) {
				to = int(starts[i+1] - addr)
			}
			if to > from && !yield(from, to) {
				return
			}
			from = max(from, to)
		}
	}
}

// buildID begins the one Go function that is text to be read: the linker's.
const buildID = "\xff Go build ID: \""

func isBuildID(code []byte) bool {
	return len(code) >= len(buildID) && string(code[:len(buildID)]) == buildID
}
