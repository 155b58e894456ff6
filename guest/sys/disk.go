package sys

import (
	"github.com/pvrun/pvrun/guest"
	"github.com/pvrun/pvrun/guest/fs"
)

// disk is the machine's, as the file system wants it.
type disk struct{}

// findDisk is the machine's disk, or nil.
func findDisk() fs.Disk {
	if guest.DiskSectors() == 0 {
		return nil
	}
	return disk{}
}

func (disk) Sectors() uint64                   { return guest.DiskSectors() }
func (disk) Read(b []byte, first uint64) bool  { return guest.DiskRead(b, first) }
func (disk) Write(b []byte, first uint64) bool { return guest.DiskWrite(b, first) }
func (disk) Flush() bool                       { return guest.DiskFlush() }
