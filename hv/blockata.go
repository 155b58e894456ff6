package hv

import "github.com/pvrun/pvrun/hv/disk"

// trapDisks is how many ATA disks a PC has room for.
const trapDisks = 4

// ataDisk is a disk as an ATA device sees it.
type ataDisk struct{ disk.Backend }

func (d ataDisk) ReadAt(b []byte, off int64) (int, error) {
	if err := d.Backend.ReadAt([][]byte{b}, off, false); err != nil {
		return 0, err
	}
	return len(b), nil
}

func (d ataDisk) WriteAt(b []byte, off int64) (int, error) {
	if err := d.Backend.WriteAt([][]byte{b}, off); err != nil {
		return 0, err
	}
	return len(b), nil
}

func (d ataDisk) Sync() error { return d.Backend.Flush() }
