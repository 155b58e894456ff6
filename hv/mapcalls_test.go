package hv

import (
	"math/bits"
	"testing"
	"time"

	"github.com/pvrun/pvrun/hypercall"
)

func TestGuestRange(t *testing.T) {
	const (
		min = uint64(hypercall.MinGVA)
		max = uint64(hypercall.ReservedGVA)
		pg  = uint64(4096)
	)
	tests := []struct {
		start, n uint64
		want     hypercall.Status
	}{
		{min, pg, 0},
		{min - pg, pg, hypercall.EINVAL},
		{min - pg, 2 * pg, hypercall.EINVAL},
		{min - 1, pg, hypercall.EINVAL},
		{min + 1, pg, hypercall.EINVAL},
		{min, pg - 1, hypercall.EINVAL},
		{min, pg + 1, hypercall.EINVAL},
		{0, pg, hypercall.EINVAL},
		{min, 0, hypercall.EINVAL},
		{max - pg, pg, 0},
		{max - pg, 2 * pg, hypercall.EINVAL},
		{max - 2*pg, 2 * pg, 0},
		{max - 2*pg, 3 * pg, hypercall.EINVAL},
		{max, pg, hypercall.EINVAL},
		{max - 1, pg, hypercall.EINVAL},
		{1 << 47, pg, hypercall.EINVAL},
		{1<<47 - pg, pg, hypercall.EINVAL},
		{1 << 63, pg, hypercall.EINVAL},
		{^pg + 1, pg, hypercall.EINVAL},
		{min, ^pg + 1, hypercall.EINVAL},
		{min, ^min + 1, hypercall.EINVAL},
		{min + pg, ^pg + 1, hypercall.EINVAL},
		{min, maxRange, 0},
		{min, maxRange + pg, hypercall.ENOMEM},
		{min, maxRange - pg, 0},
		{max - maxRange, maxRange, 0},
	}
	for _, test := range tests {
		r, s := guestRange(test.start, test.n)
		if s != test.want {
			t.Errorf("guestRange(%#x, %#x) = %v, want %v", test.start, test.n, s, test.want)
		}
		if s == 0 && (r.start != test.start || r.end != test.start+test.n || r.pages() != test.n/pg) {
			t.Errorf("guestRange(%#x, %#x) = %#x", test.start, test.n, r)
		}
	}
}

// TestTablesFor compares the bound with what mapping one page at each end and
// the middle's tables really takes.
func TestTablesFor(t *testing.T) {
	starts := []uint64{0x4000_0000, 0x4_001f_f000, 0x3ffff000, 0x7fffff_f000, 0x7fffff_e000, 0x40_0000_0000}
	for _, start := range starts {
		for _, pages := range []uint64{1, 2, 511, 512, 513, 1024, 5000} {
			vm := newTestVM(t, 4000)
			left := vm.mem.left
			if s := vm.tables.doMap(start, pages*pageSize, hypercall.MapRead|hypercall.MapLazy); s != 0 {
				t.Fatalf("map %d pages at %#x: %v", pages, start, s)
			}
			if got, most := uint64(left-vm.mem.left), tablesFor(pages); got > most {
				t.Errorf("%d pages at %#x took %d tables; %d are counted on", pages, start, got, most)
			}
		}
	}
}

// TestHugeRanges: a range costs the host nothing where nothing is mapped, and
// no list grows by what the guest names.
func TestHugeRanges(t *testing.T) {
	vm := newTestVM(t, 4096)
	check := newChecker(t, vm)
	begin := time.Now()
	for at := uint64(0x10_0000_0000); at < uint64(hypercall.ReservedGVA)-maxRange; at += maxRange {
		for _, nr := range []hypercall.Call{hypercall.CallUnmap, hypercall.CallDiscard, hypercall.CallProtect} {
			vm.dispatch(nr, callArgs{at, maxRange, uint64(hypercall.MapRead)})
		}
	}
	if d := time.Since(begin); d > 2*time.Minute {
		t.Errorf("6,000 calls on nothing took %v", d)
	}
	if s := vm.dispatch(hypercall.CallMap, callArgs{0x10_0000_0000, maxRange, uint64(hypercall.MapRead | hypercall.MapLazy)}); s != -int64(hypercall.ENOMEM) {
		t.Errorf("64 GiB of lazy memory in 16 MiB: %d", s)
	}
	if err := check.check(); err != nil {
		t.Error(err)
	}
}

// TestAliasFlood maps one frame a million times over and changes them all.
func TestAliasFlood(t *testing.T) {
	vm := newTestVM(t, 4096)
	check := newChecker(t, vm)
	const base = 0x10_0000_0000
	flags := uint64(hypercall.MapRead | hypercall.MapWrite)
	must := func(nr hypercall.Call, a callArgs) {
		t.Helper()
		if r := vm.dispatch(nr, a); r != 0 {
			t.Fatalf("%v%#x: %d", nr, a, r)
		}
	}
	must(hypercall.CallMap, callArgs{base, pageSize, flags})
	n := uint64(pageSize)
	for n < 1<<32 {
		must(hypercall.CallAlias, callArgs{base + n, n, flags, base})
		n *= 2
	}
	begin := time.Now()
	must(hypercall.CallProtect, callArgs{base, n, uint64(hypercall.MapRead)})
	must(hypercall.CallProtect, callArgs{base, n, flags})
	if d := time.Since(begin); d > time.Minute {
		t.Errorf("changing the rights of %d aliases took %v", n/pageSize, d)
	}
	if c := cap(vm.tables.void); c > 4096 {
		t.Errorf("a list of %d frames in a machine of 4096", c)
	}
	if err := check.check(); err != nil {
		t.Error(err)
	}
	must(hypercall.CallUnmap, callArgs{base, n})
	if err := check.check(); err != nil {
		t.Error(err)
	}
}

func TestFrames(t *testing.T) {
	for _, n := range []int{1, 63, 64, 65, 1000} {
		f := newFrames(n)
		seen := map[frame]bool{}
		for range n {
			k, ok := f.take()
			if !ok || seen[k] || int(k) >= n {
				t.Fatalf("%d frames: take = %d, %v", n, k, ok)
			}
			seen[k] = true
		}
		if _, ok := f.take(); ok || f.left != 0 {
			t.Fatalf("%d frames: one too many, or %d left", n, f.left)
		}
		for k := range seen {
			f.release(k)
		}
		if f.left != n {
			t.Errorf("%d frames: %d left after release", n, f.left)
		}
		if k, ok := f.takeRun(n); !ok || k != 0 {
			t.Errorf("takeRun(%d) = %d, %v", n, k, ok)
		}
		if _, ok := f.takeRun(1); ok {
			t.Errorf("%d frames: a run out of nothing", n)
		}
	}
	f := newFrames(130)
	for range 130 {
		f.take()
	}
	for _, k := range []frame{3, 4, 6, 63, 64, 65, 129} {
		f.release(k)
	}
	if k, ok := f.takeRun(3); !ok || k != 63 {
		t.Errorf("takeRun(3) = %d, %v; want 63", k, ok)
	}
	if _, ok := f.takeRun(3); ok {
		t.Error("a run of 3 where only 2 are left together")
	}
	sum := 0
	for _, w := range f.free {
		sum += bits.OnesCount64(w)
	}
	if sum != f.left || sum != 4 {
		t.Errorf("%d free bits, %d counted, want 4", sum, f.left)
	}
}

func TestCopyEdges(t *testing.T) {
	vm := newTestVM(t, 400)
	end := uint64(testData + 4*pageSize)
	tests := []struct {
		name  string
		a, n  uint64
		write bool
		want  hypercall.Status
	}{
		{"whole", testData, 4 * pageSize, true, 0},
		{"last byte", end - 1, 1, true, 0},
		{"one past", end - 1, 2, true, hypercall.EFAULT},
		{"after the end", end, 1, true, hypercall.EFAULT},
		{"before the start", testData - 1, 2, true, hypercall.EFAULT},
		{"across pages", testData + pageSize - 3, 6, true, 0},
		{"nothing anywhere", 1<<64 - 1, 0, true, 0},
		{"null", 0, 1, false, hypercall.EFAULT},
		{"to the end of the numbers", 1<<64 - 8, 8, false, hypercall.EFAULT},
		{"past the end of the numbers", 1<<64 - 8, 16, false, hypercall.EFAULT},
		{"non-canonical", 1 << 47, 1, false, hypercall.EFAULT},
		{"data beyond 48 bits", 1<<48 + testData, 1, false, hypercall.EFAULT},
		{"last of the lower half", 1<<47 - 1, 2, false, hypercall.EFAULT},
		{"system pages", 0xffff_8000_0000_0000, 8, false, hypercall.EFAULT},
		{"text", testText, 2 * pageSize, false, 0},
		{"into text", testText, 1, true, hypercall.EFAULT},
		{"into read-only data", testROM, 1, true, hypercall.EFAULT},
		{"out of read-only data", testROM, 2 * pageSize, false, 0},
		{"hypercall page", uint64(hypercall.HypercallGVA), pageSize, false, 0},
		{"into the hypercall page", uint64(hypercall.HypercallGVA), 1, true, hypercall.EFAULT},
		{"into start info", uint64(hypercall.StartInfoGVA), 1, true, hypercall.EFAULT},
		{"shared info and the vCPU's page", uint64(hypercall.SharedInfoGVA) + 4095, 1, true, 0},
	}
	for _, test := range tests {
		b := make([]byte, test.n)
		pieces, s := vm.space.slices(test.a, test.n, test.write)
		if s != test.want {
			t.Errorf("%s: slices: %v, want %v", test.name, s, test.want)
		}
		sum := 0
		for _, p := range pieces {
			sum += len(p)
		}
		if s == 0 && sum != len(b) {
			t.Errorf("%s: slices of %d bytes, want %d", test.name, sum, len(b))
		}
		if test.write {
			s = vm.space.copyOut(test.a, b)
		} else {
			s = vm.space.copyIn(b, test.a)
		}
		if s != test.want {
			t.Errorf("%s: copy: %v, want %v", test.name, s, test.want)
		}
	}
}

// TestSlicesScattered: pieces are in the guest's order whatever frames are
// behind them.
func TestSlicesScattered(t *testing.T) {
	vm := newTestVM(t, 400)
	const at = 0x10_0000_0000
	for _, i := range []uint64{4, 1, 3, 0, 2} {
		if s := vm.tables.doMap(at+i*pageSize, pageSize, hypercall.MapRead|hypercall.MapWrite); s != 0 {
			t.Fatal(s)
		}
		vm.space.copyOut(at+i*pageSize, []byte{byte(i)})
		vm.space.copyOut(at+(i+1)*pageSize-1, []byte{byte(i + 10)})
	}
	pieces, s := vm.space.slices(at, 5*pageSize, false)
	if s != 0 {
		t.Fatal(s)
	}
	var all []byte
	for _, p := range pieces {
		all = append(all, p...)
	}
	if len(all) != 5*pageSize || len(pieces) < 2 {
		t.Fatalf("%d bytes in %d pieces", len(all), len(pieces))
	}
	for i := range 5 {
		if all[i*pageSize] != byte(i) || all[(i+1)*pageSize-1] != byte(i+10) {
			t.Errorf("page %d holds %d and %d", i, all[i*pageSize], all[(i+1)*pageSize-1])
		}
	}
}
