package compare

import (
	"fmt"
	"slices"
	"strings"
)

// The modes of a machine, in the order in which they are shown.
const (
	PV   = "pv"
	Trap = "trap"
)

// Modes lists them.
var Modes = []string{PV, Trap}

// Engines lists what can run machines, in the order in which they are shown.
var Engines = []string{"kvm", "proc"}

// Way is how a machine is run: one column of a comparison.
type Way struct {
	Engine string // that pvrun run takes by itself, if empty
	Mode   string
}

// String is "pv", or "kvm pv" where the engine is chosen.
func (w Way) String() string { return strings.TrimSpace(w.Engine + " " + w.Mode) }

// modeOf is the mode of a way by its name.
func modeOf(way string) string { return way[strings.LastIndexByte(way, ' ')+1:] }

// Ways are all modes on all engines, those of one engine together. No engine is the one that
// pvrun run takes by itself.
func Ways(engines, modes []string) (list []Way) {
	if len(engines) == 0 {
		engines = []string{""}
	}
	for _, e := range engines {
		for _, m := range modes {
			list = append(list, Way{e, m})
		}
	}
	return list
}

// Workload is an operation that is done in each way.
type Workload struct {
	Name      string
	Operation string // what one is: "a sleep of 1 ms"
	About     string // a sentence on what it shows
	Program   string // of images/; "" for an image of the user's
	Args      []string
	// Ops is how many operations a run does: the program's first argument. 0:
	// the run itself is the operation, and the program gets only Args.
	Ops    int
	Disk   int64            // bytes of a scratch disk; 0: none
	Net    bool             // a user network, and a peer whose address is the last argument
	Fewest map[string]Bound // by mode
}

// Bound is the fewest exits of an operation that theory allows.
type Bound struct {
	Exits float64 `json:"exits"`
	Why   string  `json:"why"`
}

// Workloads returns those that are built in. The bounds take a processor that exits
// at each privileged instruction, and a kernel that needs no instruction more
// than the operation demands: what is measured above them is what kernels do
// besides, above all switching interrupts off and on. It is no variable, which
// every start of pvrun would have to set up.
func Workloads() []Workload {
	return append([]Workload{
		{
			Name: "boot", Program: "hello", Operation: "one machine, from nothing to its end",
			About: "A whole machine: it is made, loaded, starts Go, prints a line and ends.",
			Fewest: map[string]Bound{
				PV:   {2, "one call prints the line, one ends the machine; memory can be mapped before the start"},
				Trap: {5, "the line goes out through a FIFO of 16 bytes, so twice a look at the line status and one REP OUTSB; one OUT ends the machine"},
			},
		},
		{
			Name: "clock", Program: "clock", Ops: 2_000_000, Operation: "one time.Now",
			About: "Reading the time. RDTSC is not privileged and the clock's parameters lie in memory, so no mode needs the host.",
			Fewest: map[string]Bound{
				PV:   {0, "RDTSC, and parameters in a page that the host writes"},
				Trap: {0, "RDTSC, whose rate has been measured once"},
			},
		},
		{
			Name: "timer", Program: "timer", Ops: 1000, Operation: "one sleep of 1 ms",
			About: "Sleeping with nothing else to do: the processor has to wait for a timer. A sleep lasts as long in any mode, so look at exits and CPU time.",
			Fewest: map[string]Bound{
				PV:   {1, "one call that waits until a deadline"},
				Trap: {3, "WRMSR sets the timer, HLT waits, WRMSR acknowledges; through a trap gate interrupts stay on, and a kernel can go on by a jump"},
			},
		},
		{
			Name: "threads", Program: "threads", Ops: 3000, Operation: "one round trip between two threads",
			About: "Two threads wake each other by futex. A kernel switches them by changing stack and FS base, neither of which needs a privileged instruction.",
			Fewest: map[string]Bound{
				PV:   {0, "stack and thread pointer are the guest's own"},
				Trap: {0, "WRFSBASE is not privileged; with one processor a switch needs no lock but the kernel's own"},
			},
		},
		{
			Name: "paging-4k", Program: "paging", Ops: 2000, Operation: "map, touch, protect and unmap one page of 4 KiB",
			About: "Memory by the page. In pv the host owns the page tables; in trap the guest does, and the host keeps a shadow of them.",
			Fewest: map[string]Bound{
				PV:   {2, "one call to protect, one to unmap; what was not there before can be mapped ahead"},
				Trap: {3, "one fault fills the shadow table; an INVLPG each to protect and to unmap"},
			},
		},
		{
			Name: "paging-2m", Program: "paging", Args: []string{"2097152"}, Ops: 50, Operation: "map, touch, protect and unmap 2 MiB, page by page",
			About: "The same in one step of 512 pages, each of which is written to: batches and large pages pay.",
			Fewest: map[string]Bound{
				PV:   {2, "as for one page: a call takes any number of them"},
				Trap: {3, "as for one page, with a shadow that is filled a table at a time and one write of CR3 in place of INVLPGs"},
			},
		},
		{
			Name: "gc", Program: "gc", Ops: 200, Operation: "1 MiB allocated, with 8 MiB in use and a limit of 24 MiB",
			About: "The garbage collector under pressure. It works inside the program's memory, and needs the host only when memory is given back and taken again.",
			Fewest: map[string]Bound{
				PV:   {0, "the heap can stay as it is"},
				Trap: {0, "the heap can stay as it is"},
			},
		},
		{
			Name: "console", Program: "console", Ops: 10_000, Operation: "one line of 80 bytes, written at once",
			About: "Printing. A call takes a line as a whole; a serial port takes bytes, 16 of them at a time.",
			Fewest: map[string]Bound{
				PV:   {1, "one call"},
				Trap: {10, "five fillings of the FIFO, each a look at the line status and one REP OUTSB"},
			},
		},
		{
			Name: "exceptions", Program: "exceptions", Ops: 5000, Operation: "one nil dereference, recovered",
			About: "A fault of the program's own that becomes a panic. The processor's way through the host to the guest's handler is the cost.",
			Fewest: map[string]Bound{
				PV:   {1, "the fault, with all that the handler needs in shared memory; the handler returns by a jump"},
				Trap: {2, "the fault, MOV from CR2 for its address; through a trap gate interrupts stay on, and the handler returns by a jump"},
			},
		},
	}, append(blockWorkloads(), networkWorkloads()...)...)
}

// Image is the workload of running an image of the user's.
func Image(name string, args []string) Workload {
	return Workload{Name: name, Args: args, Operation: "one run", About: "One whole machine with this image, from nothing to its end."}
}

// Select returns the built-in workloads that names name, in the order of
// [Workloads]: by their own names or by those of their programs.
func Select(names []string) ([]Workload, error) {
	var list []Workload
	for _, name := range names {
		if !slices.ContainsFunc(Workloads(), func(w Workload) bool { return w.is(name) }) {
			return nil, fmt.Errorf("no workload %q: there are %s", name, strings.Join(Names(), ", "))
		}
	}
	for _, w := range Workloads() {
		if slices.ContainsFunc(names, w.is) {
			list = append(list, w)
		}
	}
	return list, nil
}

func (w Workload) is(name string) bool { return w.Name == name || w.Program == name }

// Names are the names of the built-in workloads.
func Names() []string {
	var list []string
	for _, w := range Workloads() {
		list = append(list, w.Name)
	}
	return list
}
