package proc

import "encoding/binary"

// executable is the file that the child executes: a static ELF executable with one
// segment, the stub, which the file has a second time at its second page, for the stub
// to map at its own place (System V ABI, "Object Files", "Program Loading").
func executable(code []byte) []byte {
	const header, programHeader = 64, 56
	le := binary.LittleEndian
	b := make([]byte, 2*pageSize)
	at := header + programHeader
	copy(b, "\x7fELF\x02\x01\x01") // 64-bit, little endian, version 1
	le.PutUint16(b[16:], 2)        // ET_EXEC
	le.PutUint16(b[18:], 62)       // EM_X86_64
	le.PutUint32(b[20:], 1)
	le.PutUint64(b[24:], elfAt+pageSize+stubBoot)
	le.PutUint64(b[32:], header)
	le.PutUint16(b[52:], header)
	le.PutUint16(b[54:], programHeader)
	le.PutUint16(b[56:], 1)
	p := b[header:at]
	le.PutUint32(p, 1)               // PT_LOAD
	le.PutUint32(p[4:], 5)           // PF_R|PF_X
	le.PutUint64(p[8:], 0)           // offset
	le.PutUint64(p[16:], elfAt)      // address
	le.PutUint64(p[32:], 2*pageSize) // in the file
	le.PutUint64(p[40:], 2*pageSize) // in memory
	le.PutUint64(p[48:], pageSize)   // alignment
	copy(b[pageSize:], code)
	return b
}
