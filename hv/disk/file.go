package disk

import (
	"errors"
	"fmt"
	"os"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// file is a disk in a file or on a block device.
type file struct {
	f          *os.File
	fd         int
	users      atomic.Int64 // of fd; 1 while it is open
	closed     atomic.Bool
	path       string
	size       int64
	sector     int
	device     bool
	readOnly   bool
	canDiscard bool

	waits  atomic.Bool // RWF_NOWAIT is not known there
	noZero atomic.Bool // FALLOC_FL_ZERO_RANGE is not
	flush  flusher
}

func (d *file) Size() int64      { return d.size }
func (d *file) SectorSize() int  { return d.sector }
func (d *file) ReadOnly() bool   { return d.readOnly }
func (d *file) CanDiscard() bool { return d.canDiscard }
func (d *file) CanZero() bool    { return !d.readOnly }
func (d *file) Kernel() bool     { return true }

// Close waits for nobody: what is under way comes to its end, and only then is the
// descriptor, and the lock, given back.
func (d *file) Close() error {
	if d.closed.Swap(true) {
		return os.ErrClosed
	}
	return d.leave()
}

// enter counts one more user of the descriptor, and is false when it is closed; leave
// counts one less.
func (d *file) enter() bool {
	for {
		n := d.users.Load()
		if n == 0 || d.closed.Load() {
			return false
		}
		if d.users.CompareAndSwap(n, n+1) {
			return true
		}
	}
}

func (d *file) leave() error {
	if d.users.Add(-1) > 0 {
		return nil
	}
	return d.f.Close()
}

// call makes a system call on the disk until no signal interrupts it.
func (d *file) call(f func(fd int) error) error {
	if !d.enter() {
		return os.ErrClosed
	}
	defer d.leave()
	return retry(func() error { return f(d.fd) })
}

// readPiece reads one piece, as most requests have. It allocates nothing: what the
// host's collector hands out anew is a page fault, which costs more than the read.
func (d *file) readPiece(p []byte, off int64, flags int) error {
	if !d.enter() {
		return os.ErrClosed
	}
	defer d.leave()
	for len(p) > 0 {
		n, errno := preadv2(d.fd, p, off, flags)
		switch {
		case errno == unix.EINTR:
			continue
		case errno != 0:
			return errno
		case n == 0:
			return errEnd
		}
		p, off = p[n:], off+int64(n)
	}
	return nil
}

// move is a system call that reads or writes, of which a part may be done.
func (d *file) move(pieces [][]byte, off int64, f func(fd int, p [][]byte, off int64) (int, error)) error {
	return transfer(pieces, off, func(p [][]byte, off int64) (n int, err error) {
		err = d.call(func(fd int) (e error) { n, e = f(fd, p, off); return e })
		return n, err
	})
}

func (d *file) ReadAt(pieces [][]byte, off int64, nowait bool) error {
	flags := 0
	if nowait {
		if d.waits.Load() {
			return ErrWouldBlock
		}
		flags = unix.RWF_NOWAIT
	}
	var err error
	if len(pieces) == 1 {
		err = d.readPiece(pieces[0], off, flags)
	} else {
		err = d.move(pieces, off, func(fd int, p [][]byte, off int64) (int, error) {
			return unix.Preadv2(fd, p, off, flags)
		})
	}
	switch {
	case err == nil || !nowait:
	case err == unix.EAGAIN || err == errEnd: // half of it may be there
		return ErrWouldBlock
	case err == unix.EOPNOTSUPP || err == unix.ENOSYS:
		d.waits.Store(true)
		return ErrWouldBlock
	}
	return d.told("read", off, err)
}

func (d *file) WriteAt(pieces [][]byte, off int64) error {
	return d.told("write", off, d.move(pieces, off, unix.Pwritev))
}

// errEnd is a transfer that came to nothing: the file has been cut short.
var errEnd = fmt.Errorf("the file ends there: %w", unix.EIO)

// maxPieces is how many pieces one system call takes (UIO_MAXIOV: Linux,
// include/uapi/linux/uio.h).
const maxPieces = 1024

// transfer calls f until all pieces are done. It does not change the list.
func transfer(pieces [][]byte, off int64, f func(p [][]byte, off int64) (int, error)) error {
	for len(pieces) > 0 {
		n, err := f(pieces[:min(len(pieces), maxPieces)], off)
		switch {
		case err == unix.EINTR:
			continue
		case err != nil:
			return err
		case n <= 0:
			return errEnd
		}
		off += int64(n)
		pieces = after(pieces, n)
	}
	return nil
}

// after is what is left of pieces behind n bytes, in a list of its own when a
// piece is left in part.
func after(pieces [][]byte, n int) [][]byte {
	for len(pieces) > 0 && n >= len(pieces[0]) {
		n -= len(pieces[0])
		pieces = pieces[1:]
	}
	if n > 0 {
		pieces = append([][]byte(nil), pieces...)
		pieces[0] = pieces[0][n:]
	}
	return pieces
}

// told makes an error say where it happened.
func (d *file) told(op string, off int64, err error) error {
	if err == nil {
		return nil
	}
	return &Error{d.path, fmt.Errorf("%s at %d: %w", op, off, err)}
}

// Flush is fdatasync(2).
func (d *file) Flush() error {
	if d.readOnly {
		return nil
	}
	return d.flush.do(func() error {
		if err := d.call(unix.Fdatasync); err != nil {
			return &Error{d.path, fmt.Errorf("flush: %w", err)}
		}
		return nil
	})
}

func (d *file) Discard(off, n int64) error {
	if d.device {
		return d.told("discard", off, d.range64(unix.BLKDISCARD, off, n))
	}
	return d.told("discard", off, d.allocate(unix.FALLOC_FL_PUNCH_HOLE, off, n))
}

func (d *file) WriteZeroes(off, n int64) error {
	if d.device {
		return d.told("write zeroes", off, d.range64(unix.BLKZEROOUT, off, n))
	}
	if d.noZero.Load() {
		return d.writeZeroes(off, n)
	}
	err := d.allocate(unix.FALLOC_FL_ZERO_RANGE, off, n)
	if errors.Is(err, unix.EOPNOTSUPP) || errors.Is(err, unix.ENOSYS) {
		d.noZero.Store(true)
		return d.writeZeroes(off, n)
	}
	return d.told("write zeroes", off, err)
}

func (d *file) allocate(how uint32, off, n int64) error {
	return d.call(func(fd int) error { return unix.Fallocate(fd, how|unix.FALLOC_FL_KEEP_SIZE, off, n) })
}

// zeroes is what is written where nothing better is known.
var zeroes [64 << 10]byte

func (d *file) writeZeroes(off, n int64) error {
	for n > 0 {
		b := zeroes[:min(n, int64(len(zeroes)))]
		if err := d.WriteAt([][]byte{b}, off); err != nil {
			return err
		}
		off += int64(len(b))
		n -= int64(len(b))
	}
	return nil
}
