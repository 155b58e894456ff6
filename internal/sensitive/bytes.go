package sensitive

import "iter"

// Opcode is the address of the instruction's opcode, after its prefixes.
func (s *Site) Opcode() uint64 { return s.Addr + uint64(s.opcode) }

// Bytes yields what Sites does, but for decoding at every byte of code, so also
// where the bytes of a sensitive instruction are part of another one, or no
// instruction at all. Each opcode is yielded once, with the prefixes that stand
// before it.
func Bytes(code []byte, addr uint64) iter.Seq[Site] {
	return func(yield func(Site) bool) {
		last := -1 // the opcode before
		for at := range code {
			in, ok := decode(code[at:])
			if !ok || at+in.prefixes == last {
				continue
			}
			if s, ok := in.site(code, addr, at); ok {
				last = at + in.prefixes
				if !yield(s) {
					return
				}
			}
		}
	}
}

// Undecoded yields the addresses of code where Sites has found no instruction
// and gone on at the next byte; of bytes that follow one another, the first.
// The arguments are those of Sites.
func Undecoded(code []byte, addr uint64, starts []uint64) iter.Seq[uint64] {
	return func(yield func(uint64) bool) {
		last := -1 // the byte before that is none
		for at, in := range instructions(code, addr, starts) {
			if in.length > 0 {
				continue
			}
			if at != last+1 || last < 0 {
				if !yield(addr + uint64(at)) {
					return
				}
			}
			last = at
		}
	}
}
