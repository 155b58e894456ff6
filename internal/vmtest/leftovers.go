package vmtest

import (
	"fmt"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/pvrun/pvrun/hv/kvm"
)

// patience is how long goroutines may take to end after a machine is closed.
const patience = 2 * time.Second

// Leftovers runs f, which makes and closes machines, and names what is there
// after it that was not there before: goroutines, descriptors, timers,
// mappings that KVM gave or that a machine's memory is made of. Nothing else
// may make or end any meanwhile.
func Leftovers(f func()) string {
	warmUp()
	before := take()
	f()
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

// inventory is what a process has that a machine might leave.
type inventory struct {
	goroutines int
	things     []string // descriptors, mappings, timers
}

func take() inventory {
	inv := inventory{goroutines: runtime.NumGoroutine()}
	inv.descriptors()
	inv.mappings()
	inv.timers()
	return inv
}

func (inv *inventory) descriptors() {
	list, _ := os.ReadDir("/proc/self/fd")
	device := false
	for _, fd := range list {
		to, err := os.Readlink("/proc/self/fd/" + fd.Name())
		if to == kvm.Device && !device {
			device = true // all machines of a process share one
			continue
		}
		if err == nil && !strings.HasSuffix(to, "/fd") { // not the folder just read
			inv.things = append(inv.things, "descriptor "+fd.Name()+" "+to)
		}
	}
}

// mappings lists those of KVM's files, and anonymous ones without a reserve
// (VmFlags nr, proc_pid_smaps(5)): Go's own have one, so that they never join
// with a machine's memory into one mapping.
func (inv *inventory) mappings() {
	text, _ := os.ReadFile("/proc/self/smaps")
	name, size := "", int64(0)
	for line := range strings.Lines(string(text)) {
		f := strings.Fields(line)
		switch {
		case strings.Contains(line, "anon_inode:kvm"):
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
func (inv *inventory) timers() {
	text, _ := os.ReadFile("/proc/self/timers")
	for line := range strings.Lines(string(text)) {
		if strings.HasPrefix(line, "ID:") {
			inv.things = append(inv.things, "timer "+strings.TrimSpace(line))
		}
	}
}

// less describes what is in inv and was not in before.
func (inv inventory) less(before inventory) string {
	var left []string
	if n := inv.goroutines - before.goroutines; n > 0 {
		left = append(left, fmt.Sprintf("%d goroutines", n))
	}
	for _, s := range inv.things {
		if !slices.Contains(before.things, s) {
			left = append(left, s)
		}
	}
	return strings.Join(left, ", ")
}
