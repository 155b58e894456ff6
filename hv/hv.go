package hv

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/hashicorp/go-multierror"
	"github.com/pvrun/pvrun/hv/engine"
	"github.com/pvrun/pvrun/hypercall"
	"github.com/pvrun/pvrun/internal/image"
	"github.com/pvrun/pvrun/internal/sensitive"
)

// Config describes a machine. New keeps a copy.
type Config struct {
	Image    string         // path of the image
	Mode     hypercall.Mode // ModePV when 0
	Engine   string         // EngineKVM when empty
	Memory   int64          // bytes; DefaultMemory when 0
	Args     []string       // the program's, Args[0] included
	Env      []string       // KEY=VALUE
	Dir      string         // first working directory; "/" when empty
	Hostname string         // "pvrun" when empty
	RootFS   []byte         // a newc archive in place of the image's own; nil keeps that

	// Stdin, Stdout and Stderr are the program's; nil is nothing to read, and
	// a sink. An *os.File is polled and never blocked on. Another Reader or
	// Writer is called while the guest waits, so it should not block for long.
	Stdin          io.Reader
	Stdout, Stderr io.Writer

	// Shares are the folders that the guest may work in.
	Shares []Share

	// Disks are shown as /dev/vda, /dev/vdb and so on. In trap mode they are ATA
	// disks, two on each of two channels, in this order, and so four at the most.
	Disks []Disk

	// NICs are shown as eth0, eth1 and so on. In trap mode they are NE2000s: the MTU is
	// 1500 at the most, and what comes with offloads is dropped.
	NICs []NIC

	// Messages has the program get messages, by Invoke. Not in trap mode.
	Messages bool

	// Ready are the moments at which the machine comes to rest by itself, for Boot;
	// ReadyPort is that of hypercall.ReadyListen, and what Dial connects to.
	Ready     hypercall.Ready
	ReadyPort int

	// ServicePort is the TCP port of the machine's 127.0.0.1 where the program finds
	// the host: Accept takes its connections. 0: none. It needs Messages.
	ServicePort int

	// CollectKVMStats reads the kernel's own statistics when the machine ends.
	CollectKVMStats bool
}

// Share is a folder of the host's that the guest sees, and nothing beside it.
type Share struct {
	Root     *os.Root // the machine does not close it
	Guest    string   // where the guest sees it: an absolute path other than "/"
	Writable bool
}

// DefaultMemory is a machine's memory when Config does not say, in bytes.
const DefaultMemory = 64 << 20

// MinMemory and MaxMemory bound a machine's memory, in bytes. In trap mode 500 GiB
// are the most.
const (
	MinMemory = 1 << 20
	MaxMemory = 1 << 40
)

// Exit is how a program ended.
type Exit struct {
	Code   int // 0 to 255
	Signal int // not 0: killed by this signal
}

// VM is one virtual machine. New makes it, one Run runs it, Close takes it
// away; Signal may be called meanwhile from any goroutine.
type VM struct {
	cfg      Config
	img      *image.Image
	mem      *memory     // all of it, or in trap mode what the guest has not
	phys     *memory     // in trap mode the guest's
	tables   *pageTables // that the processor uses
	shadow   *shadow     // in trap mode: what tables belong to
	space    guestMemory
	engine   engine.Engine
	machine  engine.Machine
	hw       engine.VCPU
	made     func() error // waits until machine and hw are there
	cpu      *vcpu
	shared   *hypercall.SharedInfo
	vcpuPage *hypercall.VCPUInfo
	from     *Snapshot                 // that the machine was made of, or nil
	resting  bool                      // a suspend ends the loop
	dirtied  dirtied                   // by the lives of a machine that is rewound
	boot     loader                    // of the guest's memory
	sites    map[uint64]sensitive.Site // trap mode: instructions that were changed, by physical address
	start    startInfo
	clock    clock
	con      console
	files    hostFiles
	filesMu  sync.Mutex      // held by calls, and to look a handle up beside them
	block    *blocks         // nil without disks and shares, and in trap mode
	net      *network        // nil without NICs, and in trap mode
	cables   cables          // of the NICs in trap mode
	messages *messages       // nil where the program gets none
	streams  *streams        // likewise
	moment   hypercall.Ready // at which the guest has last called suspend
	stats    counters

	kick    kicker
	done    atomic.Bool // the loop ends when the guest is idle
	ran     atomic.Bool // Run was called
	entered atomic.Bool // the loop is under way
	ended   bool        // it will not go on
	begun   bool        // the workers are there
	stop    atomic.Bool // the loop's context is over, or something has failed
	failed  atomic.Pointer[error]
	signals atomic.Uint64
	untaken atomic.Bool // trap mode: the control port has some of them
}

// New loads the image and prepares a machine. The error is an *ImageError, a
// *HostError or an *engine.UnavailableError.
func New(cfg Config) (*VM, error) {
	begin := time.Now()
	vm := &VM{cfg: cfg}
	if vm.cfg.Memory == 0 {
		vm.cfg.Memory = DefaultMemory
	}
	if vm.cfg.Mode == 0 {
		vm.cfg.Mode = hypercall.ModePV
	}
	if err := vm.create(begin); err != nil {
		return nil, errors.Join(err, vm.Close())
	}
	return vm, nil
}

func (vm *VM) create(begin time.Time) (err error) {
	if vm.engine, err = chooseEngine(vm.cfg.Engine); err != nil {
		return err
	}
	// O_NONBLOCK: a FIFO is refused below, not waited for.
	f, err := os.OpenFile(vm.cfg.Image, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return &ImageError{vm.cfg.Image, errors.Unwrap(err)}
	}
	defer f.Close()
	if vm.img, err = openImage(f, vm.cfg.Mode); err != nil {
		return &ImageError{vm.cfg.Image, err}
	}
	if err := vm.createMachine(); err != nil {
		return err
	}
	vm.openConsole()
	vm.stats.create = time.Since(begin)
	if err := vm.load(f); err != nil {
		return err
	}
	vm.stats.load = time.Since(begin) - vm.stats.create
	return nil
}

func (vm *VM) createMachine() (err error) {
	switch vm.cfg.Mode {
	case hypercall.ModePV, hypercall.ModeTrap:
	default:
		return &HostError{"create machine", fmt.Errorf("there is no mode %d", vm.cfg.Mode)}
	}
	if vm.cfg.Memory < MinMemory || vm.cfg.Memory > MaxMemory || vm.cfg.Memory%pageSize != 0 {
		return &HostError{"memory of the machine", errors.New("from 1 MiB to 1 TiB, in whole pages")}
	}
	if err := vm.cfg.checkDisks(); err != nil {
		return err
	}
	if err := vm.cfg.checkNICs(); err != nil {
		return err
	}
	if err := vm.kick.open(); err != nil {
		return err
	}
	system, err := vm.createMemory()
	if err != nil {
		return err
	}
	// The kernel takes as long over a new machine as we over loading it.
	made := make(chan error, 1)
	go func() { made <- vm.createHardware(system) }()
	vm.made = sync.OnceValue(func() error { return <-made })
	return nil
}

// createMemory makes the machine's memory and the page tables that its
// processor begins with, and returns the frames of its system pages.
func (vm *VM) createMemory() (system frame, err error) {
	if vm.cfg.Mode == hypercall.ModeTrap {
		return vm.createTrapMemory()
	}
	if vm.mem, err = vm.newPVMemory(); err != nil {
		return 0, err
	}
	vm.mem.expect(vm.filledSize())
	if vm.tables, err = newPageTables(vm.mem); err != nil {
		return 0, err
	}
	vm.space, vm.boot = guestMemory{vm.tables}, loader{vm.mem, vm.tables}
	system, ok := vm.mem.takeRun(vm.engine.SystemPages())
	if !ok {
		return 0, &HostError{"create machine", errTooSmall}
	}
	if err := vm.tables.mapSystem(vm.engine, system); err != nil {
		return 0, &HostError{"create machine", err}
	}
	return system, nil
}

// newPVMemory is all that -m counts: where page tables lie apart, each takes the place of
// a frame of the guest's that stays free.
func (vm *VM) newPVMemory() (*memory, error) {
	if !vm.engine.SharedMemory() {
		return newMemory(vm.cfg.Memory)
	}
	m, err := newSharedMemory(vm.cfg.Memory, vm.cfg.Memory)
	if err != nil {
		return nil, err
	}
	m.frames = newFrames(int(m.inFile))
	m.apart, m.apartNext = m.inFile, m.inFile
	return m, nil
}

// engineMemory is the memory as an engine wants it.
func (vm *VM) engineMemory() engine.Memory {
	return engine.Memory{Data: vm.mem.data, File: vm.mem.file, Shared: int(vm.mem.inFile) << pageShift}
}

// createHardware has the kernel make the machine and its vCPU.
func (vm *VM) createHardware(system frame) (err error) {
	if vm.machine == nil { // a snapshot's may be there
		if vm.machine, err = vm.engine.New(vm.engineMemory()); err != nil {
			return err
		}
	}
	if m, ok := vm.machine.(engine.Invalidator); ok {
		vm.mem.forgot = func(f frame, n int) error { return m.Invalidate(f.gpa(), n) }
	}
	if vm.shadow != nil {
		vm.shadow.forget = vm.machine.ForgetTranslations
		vm.shadow.guest.physBits = vm.machine.PhysBits()
	}
	vm.hw, err = vm.machine.NewVCPU(0, engine.Boot{
		Root: vm.tables.root.gpa(), System: vm.mem.run(system, vm.engine.SystemPages()),
		GSBase: hypercall.VCPUInfoGVA, HostTSC: rdtsc,
	})
	return err
}

// Run runs the machine until its program ends, its guest fails or ctx is over;
// then the error is ctx's cause. It may be called once.
func (vm *VM) Run(ctx context.Context) (Exit, error) {
	if vm.ran.Swap(true) {
		return Exit{}, errNotAgain
	}
	begin := time.Now()
	exit, err := vm.enter(ctx)
	for err == errResponded { // to an Invoke that has not waited for it
		exit, err = vm.enter(ctx)
	}
	if err == errNotAgain {
		return exit, err // what would be counted may have gone
	}
	vm.net.end()
	vm.stats.run += time.Since(begin)
	vm.stats.finish(vm, exit, err)
	return exit, err
}

var errNotAgain = &HostError{"run machine", errors.New("it has run, runs or is closed")}

// enter runs the vCPU on the calling goroutine until its loop ends.
func (vm *VM) enter(ctx context.Context) (Exit, error) {
	if vm.entered.Swap(true) {
		return Exit{}, errNotAgain
	}
	defer vm.entered.Store(false)
	if vm.ended || vm.kick.state.Load() == closed {
		return Exit{}, errNotAgain
	}
	vm.stop.Store(vm.failure() != nil)
	defer vm.watch(ctx)()
	if !vm.begun {
		vm.begun = true
		vm.block.begin()
		vm.net.begin()
	}
	exit, err := vm.cpu.loop()
	if vm.ended = err != errResponded && err != errIdle; vm.ended {
		vm.streams.end()
	}
	if errors.Is(err, errStopped) {
		err = context.Cause(ctx)
	}
	return exit, err
}

// over says whether the loop is under way, or will not be again.
func (vm *VM) over() bool {
	return vm.entered.Load() || vm.ended || vm.kick.state.Load() == closed
}

// watch stops the loop when ctx is over, until the function that it returns is called.
func (vm *VM) watch(ctx context.Context) (leave func()) {
	if ctx.Done() == nil {
		return func() {}
	}
	fired := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		vm.stop.Store(true)
		vm.wake()
		close(fired)
	})
	return func() {
		if !stop() {
			<-fired
		}
	}
}

var errStopped = errors.New("machine stopped")

// Signal passes a signal to the program, as the terminal or kill(1) would.
func (vm *VM) Signal(sig syscall.Signal) {
	if sig < 1 || sig > 64 {
		return
	}
	vm.signals.Or(1 << (sig - 1))
	vm.raise(hypercall.EventSignal)
}

// SignalTaken says whether the guest has taken all signals passed so far.
func (vm *VM) SignalTaken() bool {
	vm.kick.mu.Lock() // against Close, which takes guest memory away
	defer vm.kick.mu.Unlock()
	return vm.kick.state.Load() == closed ||
		vm.signals.Load() == 0 && !vm.untaken.Load() && atomic.LoadUint64(&vm.shared.Signals) == 0
}

// Close takes the machine away. No Run may be under way.
func (vm *VM) Close() error {
	if vm.made != nil {
		_ = vm.made() // New has reported the error
	}
	vm.streams.end()
	var all *multierror.Error
	all = multierror.Append(all, vm.kick.close()) // from here on Signal does nothing
	all = multierror.Append(all, vm.net.close())
	all = multierror.Append(all, vm.block.close())
	if vm.hw != nil {
		all = multierror.Append(all, vm.hw.Close())
	}
	if vm.machine != nil {
		all = multierror.Append(all, vm.machine.Close())
	}
	if vm.mem != nil {
		all = multierror.Append(all, vm.mem.close())
	}
	all = multierror.Append(all, vm.files.close())
	return all.ErrorOrNil()
}
