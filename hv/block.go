package hv

import (
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/pvrun/pvrun/hv/disk"
	"github.com/pvrun/pvrun/hypercall"
)

// Disk is a disk of the machine. Its place in Config.Disks is its number.
type Disk struct {
	Backend disk.Backend // the machine does not close it
	Path    string       // where the guest mounts the volume on it; "" for nowhere
}

// checkDisks finds what is wrong with the disks.
func (cfg *Config) checkDisks() error {
	most := hypercall.MaxDisks
	if cfg.Mode == hypercall.ModeTrap {
		most = trapDisks
	}
	if len(cfg.Disks) > most {
		return &HostError{"disks of the machine", fmt.Errorf("%d; in %v mode there can be %d", len(cfg.Disks), cfg.Mode, most)}
	}
	for i, d := range cfg.Disks {
		if err := d.check(cfg.Disks[:i]); err != nil {
			return &HostError{fmt.Sprintf("disk %d", i), err}
		}
	}
	return nil
}

func (d *Disk) check(others []Disk) error {
	if d.Backend == nil {
		return errors.New("it has no backend")
	}
	size, sector := d.Backend.Size(), int64(d.Backend.SectorSize())
	same := func(o Disk) bool { return o.Path == d.Path && d.Path != "" }
	switch {
	case sector != 512 && sector != 4096:
		return fmt.Errorf("sectors of %d bytes", sector)
	case size <= 0 || size%sector != 0:
		return fmt.Errorf("%d bytes are no sectors of %d", size, sector)
	case d.Path != "" && (d.Path[0] != '/' || path.Clean(d.Path) != d.Path),
		strings.ContainsRune(d.Path, 0) || len(d.Path) >= hypercall.MaxPath:
		return fmt.Errorf("%q is no absolute path", d.Path)
	case slices.ContainsFunc(others, same):
		return fmt.Errorf("another disk is at %s", d.Path)
	}
	return nil
}

// describeDisks tells of the disks in the order of the configuration.
func (vm *VM) describeDisks() {
	var records []byte
	for i, d := range vm.cfg.Disks {
		r := hypercall.Disk{
			Bytes: uint64(d.Backend.Size()), SectorSize: uint32(d.Backend.SectorSize()),
			Flags: diskFlags(d.Backend),
		}
		if vm.cfg.Mode != hypercall.ModeTrap {
			r.Ring = ringGVA(i)
		}
		if d.Path != "" {
			r.Path = vm.start.add(d.Path)
		}
		records = append(records, bytesOf(&r)...)
	}
	vm.start.info.Disks = vm.start.addRecords(records)
	vm.start.info.DiskCount = uint32(len(vm.cfg.Disks))
}

func diskFlags(b disk.Backend) (flags uint32) {
	if b.ReadOnly() {
		return hypercall.DiskReadOnly
	}
	if b.CanDiscard() {
		flags |= hypercall.DiskDiscard
	}
	if b.CanZero() {
		flags |= hypercall.DiskZeroes
	}
	return flags
}

// ringGVA is where the guest finds a ring.
func ringGVA(i int) hypercall.GVA {
	return hypercall.BlockRingGVA + hypercall.GVA(i)*hypercall.BlockRingStride
}

// blocks serves the disks' rings. Requests are taken by the worker and, when the
// guest blocks, by the vCPU's thread; what has to wait for the host goes to a pool
// of goroutines, so that nothing waits behind it.
type blocks struct {
	vm       *VM
	rings    []*blockRing
	tables   *pageTables
	bell     bell
	pool     pool
	crew     crew
	closed   atomic.Bool
	spin     uint64 // ticks of the TSC for which the worker polls; 0 with one CPU
	late     uint64 // ticks after which a guest that runs is told of responses
	hushed   atomic.Bool
	lastCall uint64        // TSC, of the vCPU's thread alone
	short    uint64        // ticks of a sync that a guest may wait for
	synced   atomic.Uint64 // ticks that syncs take, of late
	slow     uint64        // ticks that make a write a slow one, and as many again for each MiB

	patience uint64 // ticks for which the vCPU's thread serves a guest that blocks
	count    blockCounters
}

// ringPages is the memory of one ring.
const ringPages = int64(len(hypercall.BlockRing{}.Pad2)+128+
	len(hypercall.BlockRing{}.Requests)*64+len(hypercall.BlockRing{}.Responses)*16) / pageSize

// ringCount is how many rings there are: one for each disk, and one for the shared
// folders, if there are any. A bare machine has none.
func (vm *VM) ringCount() int {
	switch n := len(vm.cfg.Disks); {
	case vm.cfg.Mode == hypercall.ModeTrap:
		return 0
	case len(vm.cfg.Shares) > 0:
		return n + 1
	default:
		return n
	}
}

// loadRings places the rings of a machine with hypercalls in the guest's memory.
func (vm *VM) loadRings() error {
	if vm.ringCount() == 0 {
		return nil
	}
	b := &blocks{vm: vm, tables: vm.tables}
	if err := b.bell.open(); err != nil {
		return err
	}
	vm.block = b
	for i := range vm.ringCount() {
		first, _, err := vm.place(ringGVA(i), ringPages*pageSize, pteWrite|pteNX)
		if err != nil {
			return err
		}
		var back disk.Backend
		if i < len(vm.cfg.Disks) {
			back = vm.cfg.Disks[i].Backend
		} else {
			vm.start.info.FileRing = ringGVA(i)
		}
		b.rings = append(b.rings, newBlockRing(i, vm.mem.blockRing(first), back))
	}
	b.setTimes(vm.clock.tsc.Hz, usableCPUs())
	return nil
}

// setTimes turns times into ticks. With one CPU for all nobody polls.
func (b *blocks) setTimes(hz uint64, cpus int) {
	ticks := func(d time.Duration) uint64 { return hz / 1_000_000 * uint64(d.Microseconds()) }
	b.late, b.slow, b.patience, b.short = ticks(eventDelay), ticks(slowWrite), ticks(serveFor), ticks(shortSync)
	if cpus > 1 {
		b.spin = ticks(pollFor)
	}
}

const (
	// pollFor is how long the worker polls after the last request.
	pollFor = 95 * time.Microsecond
	// eventDelay is how long a guest that runs may find responses by itself: a kick
	// costs it about 20 µs.
	eventDelay = hypercall.MaxEventDelayNS / 2 * time.Nanosecond
	// serveFor is how long the vCPU's thread serves a guest that blocks, which has
	// timers and other events to wait for.
	serveFor = 300 * time.Microsecond
	// shortSync is up to how long syncs take for which a guest is told to wait: an
	// exit and being woken again cost it 50 µs and more.
	shortSync = 300 * time.Microsecond
	// slowWrite is how long a write takes that is not only a copy into the host's
	// memory: those that follow do not keep anybody waiting.
	slowWrite = time.Millisecond
)

// begin starts the workers.
func (b *blocks) begin() {
	if b == nil {
		return
	}
	b.beginWorkers()
}

// close waits until no request is under way. None can come any more.
func (b *blocks) close() error {
	if b == nil || b.closed.Swap(true) {
		return nil
	}
	b.endWorkers()
	b.pool.wait()
	return b.bell.close()
}

// blockCounters are what BlockStats tells.
type blockCounters struct {
	requests, inline, waited, done, events, late atomic.Uint64
	bells, polls, readBytes, writtenBytes        atomic.Uint64
}

func (b *blocks) stats() BlockStats {
	if b == nil {
		return BlockStats{}
	}
	c := &b.count
	return BlockStats{
		Requests: c.requests.Load(), Inline: c.inline.Load(), Waited: c.waited.Load(), Completions: c.done.Load(),
		ReadBytes: c.readBytes.Load(), WrittenBytes: c.writtenBytes.Load(),
		Doorbells: c.bells.Load(), Polls: c.polls.Load(), Events: c.events.Load(), LateEvents: c.late.Load(),
	}
}
