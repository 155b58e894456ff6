// Package disk has what a machine's disks keep their bytes in: files and block
// devices of the host's. It knows nothing of machines.
package disk

import "errors"

// Backend is what a disk keeps its bytes in. Methods are called from several
// goroutines at once, with ranges that lie within Size and are whole sectors.
// Errors wrap the host's errno where there is one.
type Backend interface {
	Size() int64     // bytes, a multiple of SectorSize
	SectorSize() int // 512 or 4096
	ReadOnly() bool
	CanDiscard() bool
	CanZero() bool

	// ReadAt fills all pieces, or fails. With nowait it is ErrWouldBlock when the
	// bytes are not in the host's memory; then the pieces hold anything.
	ReadAt(pieces [][]byte, off int64, nowait bool) error
	// WriteAt writes all pieces, or fails: then the range holds anything.
	WriteAt(pieces [][]byte, off int64) error
	// Flush makes what was written stay, whatever happens. Once it has failed it
	// always fails: nobody knows any more what is there.
	Flush() error
	// Discard gives a range back; what it reads as is unspecified.
	Discard(off, n int64) error
	WriteZeroes(off, n int64) error

	Close() error
}

// ErrWouldBlock is what ReadAt with nowait answers when it would have to wait.
var ErrWouldBlock = errors.New("would block")

// Kernel is what a Backend also implements when the host's kernel alone touches
// the pieces that it is given: memory that cannot be written for a moment is then
// EFAULT, where Go code would fault.
type Kernel interface {
	Kernel() bool
}

// InKernel says whether the pieces given to b are touched by the kernel alone.
func InKernel(b Backend) bool {
	k, ok := b.(Kernel)
	return ok && k.Kernel()
}

// length is the bytes in pieces.
func length(pieces [][]byte) (n int64) {
	for _, p := range pieces {
		n += int64(len(p))
	}
	return n
}
