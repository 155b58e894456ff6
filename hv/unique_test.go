package hv

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/pvrun/pvrun/internal/need"
)

// TestUnique has a thousand lives of one snapshot draw every kind of random number: no
// value comes twice, but for those of a generator that the program has seeded itself.
func TestUnique(t *testing.T) {
	if testing.Short() {
		t.Skip("builds a program")
	}
	s := recall(t, 0)
	seen, own := map[string]int{}, map[string]int{}
	draw := func(life int, vm *VM) {
		values := strings.Fields(ask(t, vm, "random"))
		last := len(values) - 1
		for i, v := range values[:last] {
			if before, ok := seen[v]; ok {
				t.Errorf("life %d, value %d: %s, which life %d had", life, i, v, before)
			}
			seen[v] = life
		}
		own[values[last]]++
	}
	const lives = 1000
	vm := clone(t, s)
	for i := range lives {
		switch {
		case i%10 == 0: // a machine of its own
			other, err := s.New(Clone{})
			if err != nil {
				t.Fatal(err)
			}
			need.Count(1)
			draw(i, other)
			if err := other.Close(); err != nil {
				t.Fatal(err)
			}
		default:
			draw(i, vm)
			if err := vm.Rewind(); err != nil {
				t.Fatal(err)
			}
		}
	}
	if len(own) != 1 {
		t.Errorf("a generator with a seed of its own gave %d values", len(own))
	}
}

// A life knows its name and what time it is.
func TestLife(t *testing.T) {
	if testing.Short() {
		t.Skip("builds a program")
	}
	s := recall(t, 0)
	last := int64(0)
	for i := range 20 {
		need.Count(1)
		vm, err := s.New(Clone{Hostname: fmt.Sprint("clone-", i)})
		if err != nil {
			t.Fatal(err)
		}
		if got, want := ask(t, vm, "name"), fmt.Sprint("clone-", i); got != want {
			t.Errorf("name %s, want %s", got, want)
		}
		for range 3 {
			var mono, wall int64
			before := time.Now().UnixNano()
			fmt.Sscan(ask(t, vm, "clocks"), &mono, &wall)
			if after := time.Now().UnixNano(); wall < before-10e6 || wall > after+10e6 {
				t.Errorf("the time is %d, between %d and %d it should be", wall, before, after)
			}
			if mono < last {
				t.Errorf("the clock stands at %d ns after it was %d", mono, last)
			}
			last = mono
			time.Sleep(5 * time.Millisecond)
		}
		last = 0 // the next goes on from the snapshot
		if err := vm.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := s.New(Clone{Hostname: strings.Repeat("a", 65)}); err == nil {
		t.Error("a name of 65 bytes was taken")
	}
}
