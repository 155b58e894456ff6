package sys

import (
	"sync"
	"sync/atomic"
	"unsafe"

	"github.com/pvrun/pvrun/guest"
	"github.com/pvrun/pvrun/guest/fs"
	"github.com/pvrun/pvrun/hypercall"
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
		hearStreams()
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
		Hostname:        hostname,
		Generation:      Generation,
		InstanceID:      InstanceID,
		AwaitGeneration: AwaitGeneration,
		ConsoleRead:     stdin.read,
		ConsoleWrite:    consoleWrite,
		ConsoleReady:    consoleReady,
		ConsoleBuffered: stdin.buffered,
		PollRegister:    guest.PollRegister,
		PollUnregister:  guest.PollUnregister,
		PollNotify:      guest.PollNotify,
		Resolving:       resolving,
		Stacked:         stacked,
		Pages:           sharedPages{},
		Disks:           findDisks,
		Mount:           mountVolume,
		Areas:           areas,
		NextThread:      nextThread,
		ThreadID:        func() int { return int(guest.Gate(sys_gettid, 0, 0, 0, 0, 0, 0)) },
		Messages:        messageSource(),
		Ready:           programReady,
		Shares:          shares(),
		Facts:           facts(),
	}
}

// facts reads the start-info page.
func facts() fs.Facts {
	info := guest.Info()
	dir := string(guest.Bytes(info.Dir))
	address, dns, search := network()
	return fs.Facts{
		Address:  address,
		DNS:      dns,
		Search:   search,
		Archive:  guest.Bytes(info.RootFS),
		Args:     split(guest.Bytes(info.Args), int(info.ArgCount)),
		Env:      split(guest.Bytes(info.Env), int(info.EnvCount)),
		Dir:      dir,
		PID:      pid,
		CPUs:     int(max(info.VCPUs, 1)),
		MemBytes: info.MemBytes,
		TTY:      info.Console,
	}
}

// resolving passes on that the program is about to read which name servers there are.
func resolving() {
	RenewNames()
	if Resolving != nil {
		Resolving()
	}
}

// named is the life whose names the files in /etc have.
var named struct {
	mu   sync.Mutex
	life uint64
}

// RenewNames has the files in /etc tell of the machine's network in this life.
func RenewNames() {
	named.mu.Lock()
	defer named.mu.Unlock()
	if now := guest.Lives(); named.life != now {
		address, dns, search := network()
		files().SetNetwork(address, dns, search)
		named.life = now
	}
}

// network is what the start-info page says of all NICs together: the first one's
// address without its prefix, name servers, and domains that names are looked up in.
func network() (address string, dns, search []string) {
	info := guest.Info()
	if info.NICCount == 0 {
		return "", nil, nil
	}
	nics := unsafe.Slice((*hypercall.NIC)(pointer(uintptr(info.NICs.Addr))), info.NICCount)
	for i := range nics {
		n := &nics[i]
		if own := words(guest.Bytes(n.Address)); address == "" && len(own) > 0 {
			address = beforeSlash(own[0])
		}
		dns = append(dns, words(guest.Bytes(n.DNS))...)
		search = append(search, words(guest.Bytes(n.Search))...)
	}
	return address, dns, search
}

// words splits b at spaces.
func words(b []byte) (list []string) {
	for len(b) > 0 {
		n := 0
		for n < len(b) && b[n] != ' ' {
			n++
		}
		if n > 0 {
			list = append(list, string(b[:n]))
		}
		b = b[min(n+1, len(b)):]
	}
	return list
}

func beforeSlash(s string) string {
	for i := range s {
		if s[i] == '/' {
			return s[:i]
		}
	}
	return s
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
