package disk

import (
	"errors"
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// Error says what is wrong with a disk's file, and what to do.
type Error struct {
	Path string
	Err  error
}

func (e *Error) Error() string { return "disk " + e.Path + ": " + e.Err.Error() }
func (e *Error) Unwrap() error { return e.Err }

// ErrInUse is wrapped by Open's error when another process has the disk.
var ErrInUse = errors.New("another pvrun uses it")

// Open opens a regular file, or a block device of the host's, as a disk. It is
// locked while it is open: one may write it, or many may read it. The error is an
// *Error.
func Open(path string, readOnly bool) (Backend, error) {
	f, err := open(path, readOnly)
	if err != nil {
		return nil, &Error{path, err}
	}
	d, err := prepare(f, path, readOnly)
	if err != nil {
		f.Close()
		return nil, &Error{path, err}
	}
	return d, nil
}

// prepare makes a disk of what open has opened.
func prepare(f *os.File, path string, readOnly bool) (d *file, err error) {
	d = &file{f: f, fd: int(f.Fd()), path: path, readOnly: readOnly, sector: minSector}
	d.users.Store(1)
	return d, d.setup()
}

// open opens what may be a disk. O_NONBLOCK: a FIFO is refused, not waited for.
func open(path string, readOnly bool) (*os.File, error) {
	st, err := os.Stat(path)
	if err != nil {
		return nil, openError(path, err)
	}
	flags := unix.O_RDWR | unix.O_NONBLOCK
	switch {
	case st.IsDir():
		return nil, errors.New("it is a folder; -v shows a folder to the guest")
	case !isDisk(st.Mode()):
		return nil, errors.New("it is neither a regular file nor a block device")
	case readOnly:
		flags = unix.O_RDONLY | unix.O_NONBLOCK
	case st.Mode()&os.ModeDevice != 0:
		flags |= unix.O_EXCL // refused while the host itself has it mounted
	}
	fd, err := unix.Open(path, flags|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, openError(path, err)
	}
	_ = unix.SetNonblock(fd, false) // that was for the opening alone
	return os.NewFile(uintptr(fd), path), nil
}

func isDisk(m os.FileMode) bool {
	return m.IsRegular() || m&os.ModeDevice != 0 && m&os.ModeCharDevice == 0
}

// openError says what to do about the errors that are met most.
func openError(path string, err error) error {
	var p *os.PathError
	if errors.As(err, &p) {
		err = p.Err
	}
	switch {
	case errors.Is(err, os.ErrNotExist):
		return fmt.Errorf("%w; 'truncate -s 1G %s' makes an empty disk", err, path)
	case errors.Is(err, os.ErrPermission), errors.Is(err, unix.EROFS):
		return fmt.Errorf("%w; :ro after its name opens it to be read only", err)
	case errors.Is(err, unix.EBUSY):
		return fmt.Errorf("%w: the host, where it may be mounted, or another pvrun uses it", err)
	}
	return err
}

const minSector = 512

// setup locks the file and learns what there is to know of it.
func (d *file) setup() error {
	st, err := d.f.Stat()
	if err != nil {
		return err
	}
	if !isDisk(st.Mode()) { // it was another a moment ago
		return errors.New("it is neither a regular file nor a block device")
	}
	if err := d.lock(); err != nil {
		return err
	}
	// Who had the lock until now may have removed the file.
	if now, err := os.Stat(d.path); err != nil || !os.SameFile(st, now) {
		return errors.New("it was removed or replaced a moment ago")
	}
	d.device = !st.Mode().IsRegular()
	if d.device {
		err = d.call(func(fd int) (e error) { d.sector, e = unix.IoctlGetInt(fd, unix.BLKSSZGET); return e })
		if err != nil {
			return fmt.Errorf("sector size: %w", err)
		}
	}
	// The end of a block device is its size, as BLKGETSIZE64 says it.
	if d.size, err = d.f.Seek(0, io.SeekEnd); err != nil {
		return fmt.Errorf("size: %w", err)
	}
	if err := d.checkSize(); err != nil {
		return err
	}
	d.canDiscard = !d.readOnly && d.probeDiscard()
	return nil
}

func (d *file) lock() error {
	how := unix.LOCK_EX
	if d.readOnly {
		how = unix.LOCK_SH
	}
	err := d.call(func(fd int) error { return unix.Flock(fd, how|unix.LOCK_NB) })
	switch {
	case err == unix.EWOULDBLOCK:
		return ErrInUse
	case err == unix.EOPNOTSUPP || err == unix.ENOLCK: // there are no locks there
		return nil
	}
	return err
}

func (d *file) checkSize() error {
	switch {
	case d.sector != 512 && d.sector != 4096:
		return fmt.Errorf("sectors of %d bytes; 512 and 4096 are possible", d.sector)
	case d.size == 0:
		return fmt.Errorf("it is empty; 'truncate -s 1G %s' gives it a size", d.path)
	case d.size%int64(d.sector) != 0:
		return fmt.Errorf("its size of %d bytes is no multiple of %d; 'truncate -s %%%d %s' makes it one",
			d.size, d.sector, d.sector, d.path)
	}
	return nil
}

// probeDiscard says whether ranges can be given back. Behind a file's end there is
// nothing, so asking there changes nothing.
func (d *file) probeDiscard() bool {
	if d.device {
		return true // what cannot is told by the device, and harmless
	}
	return d.allocate(unix.FALLOC_FL_PUNCH_HOLE, d.size, minSector) == nil
}

// retry does a system call until no signal interrupts it.
func retry(call func() error) error {
	for {
		if err := call(); err != unix.EINTR {
			return err
		}
	}
}
