package sys

import (
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
	functionAwait      = 0xc0084674
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
		generation, e := files().FunctionGeneration(fd)
		if e != 0 {
			return e
		}
		return store(a, 2, generation)
	case functionInstance:
		instance, e := files().FunctionInstance(fd)
		if e != 0 {
			return e
		}
		return store(a, 2, instance)
	case functionAwait:
		return awaitGeneration(a)
	}
	return fs.ENOTTY
}

// awaitGeneration waits for another generation than the one that the program names.
func awaitGeneration(a *args) fs.Errno {
	old, e := load[uint64](a, 2)
	if e != 0 {
		return e
	}
	generation, e := files().FunctionAwait(a.int(0), old)
	if e != 0 {
		return e
	}
	return store(a, 2, generation)
}

func programReady() { RestAt(hypercall.ReadyCall) }
