package vol

import "github.com/pvrun/pvrun/guest/fs"

// Disk is a disk of the guest's, as package fs shows it in /dev.
type Disk interface {
	Size() int64
	ReadAt(b []byte, off int64) (int, fs.Errno)
	WriteAt(b []byte, off int64) (int, fs.Errno)
	Flush() fs.Errno
	Discard(off, n int64) fs.Errno
}

// onDisk is a disk as a Device.
type onDisk struct{ d Disk }

// OnDisk is the Device that a disk is.
func OnDisk(d Disk) Device { return onDisk{d} }

func (o onDisk) Size() int64 { return o.d.Size() }

func (o onDisk) ReadAt(b []byte, off int64) error {
	n, e := o.d.ReadAt(b, off)
	return whole(n, len(b), e)
}

func (o onDisk) WriteAt(b []byte, off int64) error {
	n, e := o.d.WriteAt(b, off)
	return whole(n, len(b), e)
}

func (o onDisk) Flush() error               { return whole(0, 0, o.d.Flush()) }
func (o onDisk) Discard(off, n int64) error { return whole(0, 0, o.d.Discard(off, n)) }

// whole is an error unless all was moved.
func whole(n, all int, e fs.Errno) error {
	if n != all || e != 0 {
		return errIO
	}
	return nil
}

// Share mounts the volume on a device for a guest's tree, at path. Who starts the
// program has to end it when that fails, with the error as one line: a program
// without its files would do the wrong thing. When the program ends, Commit makes
// durable what it has not synced.
func Share(dev Device, path string, o Options) (fs.Share, *FS, error) {
	v, err := Mount(dev, o)
	if err != nil {
		return fs.Share{}, nil, &opError{path, err}
	}
	return fs.Share{Path: path, Writable: !o.ReadOnly, Files: v}, v, nil
}
