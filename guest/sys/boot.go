package sys

import (
	"sync"
	"sync/atomic"

	"github.com/pvrun/pvrun/guest"
	"github.com/pvrun/pvrun/guest/fs"
)

// pid is the program's process number: the first and only one.
const pid = 1

var (
	theFiles  atomic.Pointer[fs.FS]
	bootFiles sync.Mutex
)

// files is the file system, made at the first call that needs it.
func files() *fs.FS {
	if f := theFiles.Load(); f != nil {
		return f
	}
	bootFiles.Lock()
	defer bootFiles.Unlock()
	if theFiles.Load() == nil {
		theFiles.Store(fs.New(host()))
		hearRuntime()
	}
	return theFiles.Load()
}

// host is what the file system gets from this machine.
func host() fs.Host {
	return fs.Host{
		Umask:           guest.Umask(),
		Now:             func() int64 { return clock(clockRealtime) },
		Mono:            func() int64 { return clock(clockMonotonic) },
		Sleep:           sleepNS,
		Entropy:         entropy,
		ConsoleRead:     stdin.read,
		ConsoleWrite:    consoleWrite,
		ConsoleReady:    consoleReady,
		ConsoleBuffered: stdin.buffered,
		PollRegister:    guest.PollRegister,
		PollUnregister:  guest.PollUnregister,
		PollNotify:      guest.PollNotify,
		Pages:           sharedPages{},
		Disks:           findDisks,
		Mount:           mountVolume,
		Areas:           areas,
		NextThread:      nextThread,
		ThreadID:        func() int { return int(guest.Gate(sys_gettid, 0, 0, 0, 0, 0, 0)) },
		Shares:          shares(),
		Facts:           facts(),
	}
}

// facts reads the start-info page.
func facts() fs.Facts {
	info := guest.Info()
	dir := string(guest.Bytes(info.Dir))
	return fs.Facts{
		Archive:  guest.Bytes(info.RootFS),
		Args:     split(guest.Bytes(info.Args), int(info.ArgCount)),
		Env:      split(guest.Bytes(info.Env), int(info.EnvCount)),
		Dir:      dir,
		Hostname: string(guest.Bytes(info.Hostname)),
		PID:      pid,
		CPUs:     int(max(info.VCPUs, 1)),
		MemBytes: info.MemBytes,
		TTY:      info.Console,
		BootID:   info.InstanceID,
	}
}

// split cuts n strings that each end in a NUL out of b.
func split(b []byte, n int) []string {
	list := make([]string, 0, n)
	for len(list) < n {
		i := 0
		for i < len(b) && b[i] != 0 {
			i++
		}
		if i == len(b) {
			break
		}
		list = append(list, string(b[:i]))
		b = b[i+1:]
	}
	return list
}
