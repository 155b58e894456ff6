package stamps

import (
	"errors"
	"testing"
)

const operations = 3000

// region is what operations 1 to n leave.
func region(writer, n uint64) []byte {
	b := make([]byte, RegionSectors*Sector)
	for i := uint64(1); i <= n; i++ {
		write(b, Op{writer, i})
	}
	return b
}

func write(region []byte, o Op) {
	first, _ := o.Run()
	copy(region[first*Sector:], o.Bytes())
}

func TestCheck(t *testing.T) {
	b := region(3, operations)
	if err := Check(b, 3, operations); err != nil {
		t.Error(err)
	}
	// The next one is under way, and only it may show.
	if err := Check(b, 3, operations-1); err != nil {
		t.Error(err)
	}
	if err := Check(b, 3, operations+1); err == nil {
		t.Error("an acknowledged operation is missing: got no error")
	}
	if err := Check(b, 3, operations-2); err == nil {
		t.Error("two operations nobody acknowledged: got no error")
	}
	if err := Check(b, 2, operations); err == nil {
		t.Error("another writer's region: got no error")
	}
}

func TestTorn(t *testing.T) {
	before, after := region(0, operations), region(0, operations+1)
	first, _ := Op{0, operations + 1}.Run()
	at := int(first) * Sector
	for _, cut := range []int{1, 9, 24, 100, Sector - 1} {
		b := append([]byte(nil), before...)
		copy(b[at:], after[at:at+cut])
		if err := Check(b, 0, operations); cut >= 9 && !errors.Is(err, ErrTorn) {
			t.Errorf("%d bytes of a sector are new: got %v, want torn", cut, err)
		}
		b = append([]byte(nil), after...)
		copy(b[at:], before[at:at+cut])
		if err := Check(b, 0, operations); cut >= 9 && !errors.Is(err, ErrTorn) {
			t.Errorf("%d bytes of a sector are old: got %v, want torn", cut, err)
		}
	}
}

func TestRuns(t *testing.T) {
	long := 0
	for n := range uint64(operations) {
		first, count := Op{7, n}.Run()
		if count == 0 || first+count > RegionSectors {
			t.Fatalf("operation %d: %d sectors from %d on, beyond the region", n, count, first)
		}
		if count > 1 {
			long++
		}
	}
	if long == 0 || long == operations {
		t.Errorf("%d of %d operations fill several sectors, want some", long, operations)
	}
}
