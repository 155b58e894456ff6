package vmtest

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"
)

// patience is how long goroutines may take to end after a machine is closed.
const patience = 2 * time.Second

// Leftovers runs f, which makes and closes machines, and names what is there
// after it that was not there before.
func Leftovers(f func()) string {
	before := Take()
	f()
	return before.Left()
}

// Take lists what this process has that a machine might leave: goroutines,
// descriptors, timers, mappings that KVM gave or that a machine's memory is made
// of.
func Take() Inventory {
	warmUp()
	return take()
}

// Left names what there is now and was not in before. Nothing but machines may
// have made any meanwhile.
func (before Inventory) Left() string {
	for end := time.Now().Add(patience); ; time.Sleep(time.Millisecond) {
		left := take().less(before)
		if left == "" || time.Now().After(end) {
			return left
		}
	}
}

// warmUp makes the runtime open what it opens once and keeps: the poller.
func warmUp() {
	if r, w, err := os.Pipe(); err == nil {
		r.Close()
		w.Close()
	}
}

// Inventory is what a process has that a machine might leave.
type Inventory struct {
	goroutines []string // their numbers, which are not used again
	things     []string // descriptors, mappings, timers
}

func take() Inventory {
	inv := Inventory{goroutines: goroutines()}
	inv.descriptors()
	inv.mappings()
	inv.timers()
	inv.children()
	return inv
}

// goroutines lists them one by one: where they are only counted, one that is
// just ending hides one that is left.
func goroutines() (ids []string) {
	stacks := make([]byte, 1<<20)
	for {
		n := runtime.Stack(stacks, true)
		if n < len(stacks) {
			stacks = stacks[:n]
			break
		}
		stacks = make([]byte, 2*len(stacks))
	}
	for line := range strings.Lines(string(stacks)) {
		if f := strings.Fields(line); len(f) > 2 && f[0] == "goroutine" && f[2][0] == '[' {
			ids = append(ids, f[1])
		}
	}
	return ids
}

func (inv *Inventory) descriptors() {
	list, _ := os.ReadDir("/proc/self/fd")
	for _, fd := range list {
		to, err := os.Readlink("/proc/self/fd/" + fd.Name())
		// Neither the folder just read nor the program that all processes of guests have.
		if err == nil && !strings.HasSuffix(to, "/fd") && !strings.HasPrefix(to, "/memfd:pvrun-guest ") {
			inv.things = append(inv.things, "descriptor "+fd.Name()+" "+to)
		}
	}
}

// mappings lists those of KVM's files, and anonymous ones without a reserve
// (VmFlags nr, proc_pid_smaps(5)): Go's own have one, so that they never join
// with a machine's memory into one mapping.
func (inv *Inventory) mappings() {
	text, _ := os.ReadFile("/proc/self/smaps")
	name, size := "", int64(0)
	for line := range strings.Lines(string(text)) {
		f := strings.Fields(line)
		switch {
		case strings.Contains(line, "anon_inode:kvm"), strings.Contains(line, "/memfd:pvrun-"):
			inv.things = append(inv.things, "mapping of "+f[len(f)-1]+" at "+f[0])
		case !strings.HasSuffix(f[0], ":"):
			name, size = f[0], mappingSize(f[0])
			if len(f) > 5 || f[1] != "rw-p" {
				size = 0 // a file's, named by the kernel, or a reservation
			}
		case f[0] == "VmFlags:" && size >= smallest && slices.Contains(f, "nr") && !raceEnabled:
			inv.things = append(inv.things, fmt.Sprintf("mapping of %d bytes at %s", size, name))
		}
	}
}

// smallest is the size of the least machine memory that is looked for.
const smallest = 1 << 20

func mappingSize(span string) int64 {
	lo, hi, _ := strings.Cut(span, "-")
	a, err1 := strconv.ParseInt(lo, 16, 64)
	b, err2 := strconv.ParseInt(hi, 16, 64)
	if err1 != nil || err2 != nil {
		return 0
	}
	return b - a
}

// timers lists POSIX timers (proc_pid_timers(5)).
func (inv *Inventory) timers() {
	text, _ := os.ReadFile("/proc/self/timers")
	for line := range strings.Lines(string(text)) {
		if strings.HasPrefix(line, "ID:") {
			inv.things = append(inv.things, "timer "+strings.TrimSpace(line))
		}
	}
}

// children lists processes that this one has started, and that are not waited for, by
// the threads that did (proc_pid_task(5)).
func (inv *Inventory) children() {
	lists, _ := filepath.Glob("/proc/self/task/*/children")
	for _, name := range lists {
		text, _ := os.ReadFile(name)
		for _, pid := range strings.Fields(string(text)) {
			inv.things = append(inv.things, "process "+pid)
		}
	}
}

// less describes what is in inv and was not in before.
func (inv Inventory) less(before Inventory) string {
	var left []string
	n := 0
	for _, id := range inv.goroutines {
		if !slices.Contains(before.goroutines, id) {
			n++
		}
	}
	if n > 0 {
		left = append(left, fmt.Sprintf("%d goroutines", n))
	}
	for _, s := range inv.things {
		if !slices.Contains(before.things, s) {
			left = append(left, s)
		}
	}
	return strings.Join(left, ", ")
}
