package sys

import (
	"sync"
	"sync/atomic"

	"github.com/pvrun/pvrun/guest"
	"github.com/pvrun/pvrun/guest/fs"
	"github.com/pvrun/pvrun/guest/fs/vol"
	"github.com/pvrun/pvrun/hypercall"
)

// volumes are those that can be written.
var volumes struct {
	mu   sync.Mutex
	list []*vol.FS
}

const (
	// keepAfter is how long changes wait in memory for a sync before they are
	// written without one, in ns.
	keepAfter = 1_000_000_000
	// A volume keeps a part of the machine's memory for what waits, and as much for
	// what was read, up to mostKept bytes.
	keptPart = 16
	mostKept = 8 << 20
)

// mountVolume mounts the volume on a disk. Without its files the program would do
// the wrong thing, so it ends here.
func mountVolume(dev fs.BlockDevice, path string, readOnly bool) fs.Share {
	var v *vol.FS
	var waiting atomic.Bool
	bytes := int(min(guest.Info().MemBytes/keptPart, mostKept))
	share, v, err := vol.Share(dev, path, vol.Options{
		ReadOnly: readOnly,
		Now:      func() int64 { return clock(clockRealtime) },
		Dirty:    bytes,
		Cache:    bytes,
		Changed: func() {
			if waiting.CompareAndSwap(false, true) {
				go keep(v, &waiting)
			}
		},
	})
	if err != nil {
		giveUp("pvrun: " + err.Error() + "\n")
	}
	if !readOnly {
		volumes.mu.Lock()
		if len(volumes.list) == 0 {
			atExit(keepAll)
		}
		volumes.list = append(volumes.list, v)
		volumes.mu.Unlock()
	}
	return share
}

// keep writes what has changed, a while later. An error is the next sync's. What
// changes from then on is for another one.
func keep(v *vol.FS, waiting *atomic.Bool) {
	sleepNS(keepAfter)
	waiting.Store(false)
	_ = v.Commit()
}

// keepAll writes everything when the program ends, as a kernel does that stays.
func keepAll() {
	files().FlushMapped()
	volumes.mu.Lock()
	defer volumes.mu.Unlock()
	for _, v := range volumes.list {
		if err := v.Commit(); err != nil {
			say("pvrun: " + err.Error() + "\n")
		}
	}
}

// exitUnusable is the exit code of a program that never began: pvrun's own error.
const exitUnusable = 125

// giveUp ends the machine with a line on standard error.
func giveUp(line string) {
	say(line)
	guest.Call(hypercall.CallExit, exitUnusable, 0, 0, 0)
}

func say(line string) { _, _ = consoleWrite(2, []byte(line), false) }
