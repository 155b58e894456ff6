package sys

import (
	"github.com/pvrun/pvrun/guest"
	"github.com/pvrun/pvrun/guest/fs"
	"github.com/pvrun/pvrun/hypercall"
)

// Requests of ioctl that /dev/function answers: _IO and so on of 'F' and 0x70 to
// 0x74 (docs/functions.md).
const (
	functionFail       = 0x4670
	functionReady      = 0x4671
	functionGeneration = 0x80084672
	functionInstance   = 0x80104673
	functionNextLife   = 0xc0084674
)

// functionControl does the requests that only /dev/function answers; ENOTTY for
// others.
func functionControl(a *args) fs.Errno {
	fd := a.int(0)
	switch a.u32(1) {
	case functionFail:
		return files().FunctionFail(fd)
	case functionReady:
		return files().FunctionReady(fd)
	case functionGeneration:
		generation, _, e := files().FunctionLife(fd)
		if e != 0 {
			return e
		}
		return store(a, 2, generation)
	case functionInstance:
		_, instance, e := files().FunctionLife(fd)
		if e != 0 {
			return e
		}
		return store(a, 2, instance)
	case functionNextLife:
		return nextLife(a)
	}
	return fs.ENOTTY
}

// nextLife waits for another generation than the one that the program names.
func nextLife(a *args) fs.Errno {
	old, e := load[uint64](a, 2)
	if e != 0 {
		return e
	}
	generation, e := files().FunctionNextLife(a.int(0), old)
	if e != 0 {
		return e
	}
	return store(a, 2, generation)
}

func programReady() { RestAt(hypercall.ReadyCall) }

// life is what start info says of now: the host writes it anew for each life.
func life() (generation uint64, instance [16]byte) {
	info := guest.Info()
	return info.Generation, info.InstanceID
}
