package build

import (
	"debug/gosym"

	"github.com/pvrun/pvrun/internal/sensitive"
)

// isSyscall reports whether an instruction of f begins at addr, where the
// bytes of a SYSCALL are; otherwise they are part of another one. Decoding
// starts with the function, the only place known to begin an instruction.
func (p *program) isSyscall(f *gosym.Func, addr uint64) bool {
	at := f.Entry
	for at < addr {
		code := p.bytes(at)
		if len(code) == 0 {
			return false
		}
		at += uint64(length(code))
	}
	return at == addr
}

// length is the length of the instruction that code begins with; 1 for what
// cannot be decoded.
func length(code []byte) int {
	if n, ok := sensitive.Length(code); ok {
		return n
	}
	return 1
}
