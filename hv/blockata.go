package hv

import (
	"github.com/pvrun/pvrun/hv/device"
	"github.com/pvrun/pvrun/hv/disk"
)

// trapDisks is how many ATA disks a PC has room for: two on each of two channels.
const trapDisks = 4

// newChannel is a channel with the first one or two disks of a list, or nil.
func newChannel(irq device.Line, disks []Disk) *device.Channel {
	var list []device.Disk
	for _, d := range disks[:min(len(disks), 2)] {
		list = append(list, ataDisk{d.Backend})
	}
	if len(list) == 0 {
		return nil
	}
	return device.NewChannel(irq, list...)
}

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
