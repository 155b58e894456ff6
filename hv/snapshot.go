package hv

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"sync/atomic"

	"github.com/hashicorp/go-multierror"
	"github.com/pvrun/pvrun/hv/engine"
	"github.com/pvrun/pvrun/hypercall"
)

// Snapshot is a machine at rest, of which any number of machines can be made. It does
// not change, and may be used from several goroutines. Close it after the machines that
// were made from it.
type Snapshot struct {
	file   *os.File // the pages, in the order of extents; in memory
	state  rest
	base   *memory  // the machine's memory as the file has it, to be read
	seen   *account // of its frames
	pages  contractPages
	stored int // pages
	lives  atomic.Uint64
	hot    atomic.Pointer[[]extent] // that lives write; nil: not known yet
	once   *once                    // nil where there may be many machines
}

// rest is what a machine at rest is, beside its memory. In a file it is hostile.
type rest struct {
	Memory   int64 // bytes
	Root     frame
	Regs     engine.Regs
	FS, GS   uint64 // bases
	Upcall   hypercall.UpcallArgs
	Clock    int64 // the guest's monotonic clock, ns
	Messages bool
	Ready    hypercall.Ready // moments at one of which it was to come to rest
	Moment   hypercall.Ready // the one at which it did
	Port     int             // of ReadyListen
	Service  int             // port where the program finds the host; 0: none
	Prod     uint32          // of the message queue
	Last     uint64          // message ID
	Extents  []extent
	Args     []string
	Env      []string
	Hostname string
	NICs     int
}

// extent is a run of frames whose contents are kept. All others are zero.
type extent struct {
	First frame
	Pages int
}

// SnapshotInfo is what a snapshot tells of its machine.
type SnapshotInfo struct {
	Memory   int64 // bytes that the machine has
	Stored   int64 // of them, that are not zero
	Args     []string
	Env      []string
	Hostname string
	Messages bool // the program gets messages
	NICs     int

	Ready       hypercall.Ready // as Boot was told
	Moment      hypercall.Ready // the one of them that the program has reached
	ReadyPort   int             // as Boot was told
	ServicePort int             // likewise
}

// Info tells of the machine.
func (s *Snapshot) Info() SnapshotInfo {
	r := &s.state
	return SnapshotInfo{
		Memory: r.Memory, Stored: int64(s.stored) << pageShift,
		Args: slices.Clone(r.Args), Env: slices.Clone(r.Env), Hostname: r.Hostname, Messages: r.Messages,
		Ready: r.Ready, Moment: r.Moment, ReadyPort: r.Port, ServicePort: r.Service, NICs: r.NICs,
	}
}

// NotReadyError is a program that ended before it was ready.
type NotReadyError struct{ Exit Exit }

func (e *NotReadyError) Error() string {
	return (&EndedError{e.Exit}).Error() + " before it was ready"
}

// errAtRest ends the vCPU's loop: the guest has called suspend.
var errAtRest = errors.New("at rest")

// Boot runs a new machine until its program is ready, as Config.Ready says, and makes a
// snapshot of it. The error is a *NotReadyError, ctx's cause, or as of New and Run. What
// is outside a machine no snapshot holds: disks and shared folders are refused, and of a
// NIC it has that there is one.
func Boot(ctx context.Context, cfg Config) (*Snapshot, error) {
	if len(cfg.Disks)+len(cfg.Shares) > 0 || cfg.Mode == hypercall.ModeTrap || cfg.Ready == 0 {
		return nil, &HostError{"snapshot", errors.New("it needs a moment at which the program is ready, and a machine without disks, shared folders and trap mode")}
	}
	if err := cfg.onlyKVM(); err != nil {
		return nil, &HostError{"snapshot", err}
	}
	if err := fitsHost(cfg.Memory); err != nil {
		return nil, &HostError{"snapshot", err}
	}
	vm, err := New(cfg)
	if err != nil {
		return nil, err
	}
	defer vm.Close()
	vm.resting = true
	exit, err := vm.enter(ctx)
	switch {
	case err == nil:
		return nil, &NotReadyError{exit}
	case err != errAtRest:
		return nil, err
	}
	return vm.snapshot()
}

// snapshot copies the machine, whose guest has called suspend.
func (vm *VM) snapshot() (*Snapshot, error) {
	vm.net.end()
	if vm.failure() != nil {
		return nil, vm.cpu.stopped()
	}
	if err := errors.Join(vm.net.empty(), vm.tables.invalidate()); err != nil {
		return nil, &HostError{"snapshot", err}
	}
	s := &Snapshot{state: vm.rest()}
	acc, err := newAccount(vm.mem, vm.tables.root)
	if err != nil {
		return nil, &HostError{"snapshot", fmt.Errorf("page tables: %w", err)}
	}
	s.state.Extents = acc.extents()
	if s.file, err = memoryFile("pvrun-snapshot"); err != nil {
		return nil, &HostError{"snapshot", err}
	}
	for _, x := range s.state.Extents {
		if _, err := s.file.Write(vm.mem.run(x.First, x.Pages)); err != nil {
			return nil, errors.Join(&HostError{"snapshot", err}, s.Close())
		}
	}
	if err := s.open(); err != nil {
		return nil, errors.Join(&HostError{"snapshot", err}, s.Close())
	}
	return s, nil
}

func (vm *VM) rest() rest {
	fs, gs := vm.hw.Bases()
	r := rest{
		Memory: vm.cfg.Memory, Root: vm.tables.root, Regs: *vm.hw.Regs(), FS: fs, GS: gs,
		Upcall: vm.cpu.guest.(*pvGuest).upcall, Clock: vm.clock.now(),
		Args: vm.cfg.Args, Env: vm.cfg.Env, Hostname: orDefault(vm.cfg.Hostname, defaultHostname),
		Ready: vm.cfg.Ready, Moment: vm.moment, Port: vm.cfg.ReadyPort, Service: vm.cfg.ServicePort,
		NICs: len(vm.cfg.NICs),
	}
	if m := vm.messages; m != nil {
		r.Messages, r.Prod, r.Last = true, m.prod, vm.streams.lastID()
	}
	return r
}

// maxGap is how many pages of zeros an extent may have inside, and maxExtents how many
// extents a snapshot may have: in each of its machines each is a mapping of the host
// process's, of which there are 65530 (vm.max_map_count, proc_sys_vm(5)), and without any
// left the process ends. A guest that scatters what it writes has more zeros stored.
const (
	maxGap     = 32
	maxExtents = 256
)

// extents are the frames whose contents are to be kept: what the machine has made of
// them, but for what the host puts there itself.
func (a *account) extents() (list []extent) {
	for f := range frame(a.total) {
		if a.kind[f]&(frameTable|frameMapped) != 0 && !isZero(a.mem.page(f)) {
			list = a.join(list, extent{f, 1}, maxGap)
		}
	}
	for gap := frame(2 * maxGap); len(list) > maxExtents; gap *= 2 {
		apart := list
		list = list[:0]
		for _, x := range apart {
			list = a.join(list, x, gap)
		}
	}
	return list
}

// join appends an extent, or makes the last one longer where a small gap is between them.
func (a *account) join(list []extent, x extent, gap frame) []extent {
	n := len(list)
	if n == 0 || x.First-list[n-1].end() > gap || a.hasSystem(list[n-1].end(), x.First) {
		return append(list, x)
	}
	list[n-1].Pages = int(x.end() - list[n-1].First)
	return list
}

func (x extent) end() frame { return x.First + frame(x.Pages) }

func (a *account) hasSystem(from, to frame) bool {
	return slices.ContainsFunc(a.kind[from:to], func(k frameKind) bool { return k&frameSystem != 0 })
}

var zeros [pageSize]byte

func isZero(page []byte) bool { return string(page) == string(zeros[:]) }

// open seals the file, maps its pages and takes stock of them.
func (s *Snapshot) open() (err error) {
	if s.once == nil {
		if err := seal(s.file); err != nil {
			return err
		}
		if s.base, err = s.memory(false); err != nil {
			return err
		}
	}
	if s.seen, err = newAccount(s.base, s.state.Root); err != nil {
		return fmt.Errorf("page tables: %w", err)
	}
	if s.pages, err = s.contractPages(); err != nil {
		return err
	}
	for _, x := range s.state.Extents {
		s.stored += x.Pages
	}
	return s.seen.checkStored(s.state.Extents)
}

// checkStored finds pages that a snapshot must not have: contents of free frames, which
// the host takes for zero and makes page tables of, and of the host's own for ring 0.
func (a *account) checkStored(list []extent) error {
	for _, x := range list {
		for f := x.First; f < x.end(); f++ {
			if k := a.kind[f]; k&frameSystem != 0 || k == 0 && !isZero(a.mem.page(f)) {
				return fmt.Errorf("contents of frame %#x", f)
			}
		}
	}
	return nil
}

// memory makes the machine's memory anew: the file's pages, which are copied when they
// are written, and zeros.
func (s *Snapshot) memory(writable bool) (*memory, error) {
	var pieces []piece
	at, next := int64(0), frame(0)
	for _, x := range s.state.Extents {
		pieces = append(pieces, piece{extent{next, int(x.First - next)}, -1}, piece{x, at})
		at, next = at+int64(x.Pages)<<pageShift, x.end()
	}
	last := extent{next, int(frame(s.state.Memory>>pageShift) - next)}
	pieces = append(pieces, piece{last, -1})
	m, err := newMemoryOf(s.state.Memory, pieces, int(s.file.Fd()), writable)
	if err != nil {
		return nil, err
	}
	m.files = s.state.Extents
	return m, nil
}

// piece is a part of a machine's memory, and where in a file it is; -1: zeros.
type piece struct {
	extent
	offset int64
}

// hotGap is how many pages that are not written may be copied with those that are: less
// than a system call's worth.
const hotGap = 1

// maxHot is how many pages a life may have written that others are judged by: each new
// machine has them in memory at once, and one that is hostile may write all that it has.
const maxHot = 2048

// learn notes what a life has written that has gone well, if nobody has before. It is
// likely to be what others write.
func (s *Snapshot) learn(m *memory) {
	if s == nil || s.once != nil || s.hot.Load() != nil {
		return
	}
	runs, err := m.written()
	if err != nil {
		return // they will be copied as they are written
	}
	hot, pages := []extent{}, 0
	for _, x := range runs {
		if pages += x.Pages; pages > maxHot {
			return
		}
		if n := len(hot); n > 0 && x.First-hot[n-1].end() <= hotGap {
			hot[n-1].Pages = int(x.end() - hot[n-1].First)
		} else {
			hot = append(hot, x)
		}
	}
	s.hot.CompareAndSwap(nil, &hot)
}

// warm copies pages that will be written. A page that is read before it is written is
// two faults of the guest's, and the second has the kernel ask each machine of this
// process whether it knows the page.
func (s *Snapshot) warm(m *memory) {
	if hot := s.hot.Load(); hot != nil {
		for _, x := range *hot {
			m.populate(x.First, x.Pages)
		}
	}
}

// Close gives up the snapshot. A file stays.
func (s *Snapshot) Close() error {
	if s.once != nil {
		return s.once.close(s.base)
	}
	var all *multierror.Error
	if s.base != nil {
		all = multierror.Append(all, s.base.close())
	}
	if s.file != nil {
		all = multierror.Append(all, s.file.Close())
	}
	return all.ErrorOrNil()
}
