package worker

import (
	"bufio"
	"context"
	"flag"
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/pvrun/pvrun/hv"
)

var (
	clones = flag.Int("clones", 1000, "how many machines BenchmarkClones has at once; fewer when memory gets short")
	from   = flag.String("snapshot", "", "`FILE` that BenchmarkClones makes them of (default: it boots a program)")
	ask    = flag.String("ask", "hello you", "`MESSAGE` that each of them answers")
	answer = flag.String("answer", "hello you", "its `RESPONSE`")
)

// leave is how much of the host's memory BenchmarkClones leaves to others, in bytes.
const leave = 4 << 30

// sample is over how many machines the time to make one is told.
const sample = 100

// moment is when so many machines had been made.
type moment struct {
	time      time.Time
	processor time.Duration // of this process and its workers
	memory    int64         // that the host has, in bytes
}

// BenchmarkClones makes many machines, has each answer, and then all again. It tells what
// making one takes, beside none, 1,000 others and so on: of time, of the processor's (which
// other work does not change so much), and of the host's memory.
func BenchmarkClones(b *testing.B) {
	s := sourceOfClones(b)
	for range b.N {
		var list []*Machine
		moments := []moment{now(b, s)}
		for len(list)+sample <= *clones && moments[len(moments)-1].memory > leave {
			for range sample {
				m, err := s.New(nil, nil)
				if err != nil {
					b.Fatalf("machine %d: %v", len(list), err)
				}
				list = append(list, m)
				answers(b, m)
			}
			moments = append(moments, now(b, s))
		}
		b.ReportMetric(float64(len(list)), "clones")
		b.ReportMetric(float64(len(s.pids())), "workers")
		first, last := moments[0], moments[len(moments)-1]
		b.ReportMetric(float64(first.memory-last.memory)/(1<<20)/float64(len(list)), "MiB/clone")
		report(b, "all", first, last, len(list))
		for i := 1; i < len(moments); i++ {
			if n := (i - 1) * sample; n == 0 || n == 1000 || n == 5000 || i == len(moments)-1 {
				report(b, fmt.Sprint("beside-", n), moments[i-1], moments[i], sample)
			}
		}
		each(b, list, "again-ns/op", func(m *Machine) error {
			defer answers(b, m)
			return m.Rewind()
		})
		each(b, list, "close-ns/op", (*Machine).Close)
	}
}

func sourceOfClones(b *testing.B) *Source {
	if *from == "" {
		return newSource(b, PerWorker)
	}
	snapshot, err := hv.OpenSnapshot(*from)
	if err != nil {
		b.Fatal(err)
	}
	s, err := NewSource(snapshot, PerWorker)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { s.Close() })
	return s
}

func answers(b *testing.B, m *Machine) {
	b.Helper()
	ctx, cancel := context.WithTimeout(b.Context(), time.Minute)
	defer cancel()
	if r, err := m.Invoke(ctx, []byte(*ask)); err != nil || strings.TrimSpace(string(r.Data)) != *answer {
		b.Fatalf("got %q, %v", r.Data, err)
	}
}

// each tells how long something takes of all machines, one after the other.
func each(b *testing.B, list []*Machine, name string, do func(*Machine) error) {
	begin := time.Now()
	for _, m := range list {
		if err := do(m); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(time.Since(begin).Nanoseconds())/float64(len(list)), name)
}

// report tells what each of n machines took.
func report(b *testing.B, name string, from, to moment, n int) {
	b.ReportMetric(float64(to.time.Sub(from.time).Nanoseconds())/float64(n), name+"-ns/clone")
	b.ReportMetric(float64((to.processor-from.processor).Nanoseconds())/float64(n), name+"-cpu-ns/clone")
}

func now(b *testing.B, s *Source) moment {
	m := moment{time: time.Now(), memory: available(b)}
	for _, pid := range append(s.pids(), os.Getpid()) {
		m.processor += processor(b, pid)
	}
	return m
}

// processor is how much of the processor's time a process has had (proc_pid_stat(5)).
func processor(b *testing.B, pid int) time.Duration {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		b.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(text), ") ")
	fields := strings.Fields(rest)
	var ticks time.Duration
	for _, f := range fields[11:13] { // utime and stime
		n, _ := strconv.Atoi(f)
		ticks += time.Duration(n)
	}
	return ticks * (time.Second / 100) // a tick, for user space
}

// available is the memory that the host has, in bytes.
func available(b *testing.B) (n int64) {
	f, err := os.Open("/proc/meminfo")
	if err != nil {
		b.Fatal(err)
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		if text, ok := strings.CutPrefix(lines.Text(), "MemAvailable:"); ok {
			fmt.Sscan(text, &n)
		}
	}
	return n << 10
}
