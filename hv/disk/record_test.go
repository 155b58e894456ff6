package disk

import (
	"errors"
	"slices"
	"testing"

	"golang.org/x/sys/unix"
)

func ids(list []Event) (out []int) {
	for _, e := range list {
		out = append(out, e.ID)
	}
	return out
}

// TestRecord: what was answered before a flush that has ended is sure.
func TestRecord(t *testing.T) {
	fail := false
	r := Record(Inject(NewMemory(1<<20), func(op Op, _, _ int64) error {
		if fail {
			return unix.EIO
		}
		return nil
	}))
	buf := []byte{1, 2, 3, 4}
	write := func(off int64) error { return r.WriteAt([][]byte{buf[:1], buf[1:]}, off) }
	write(0) // 0, its end 1
	buf[0] = 9
	if err := errors.Join(r.Flush(), r.Discard(512, 512), r.WriteZeroes(1024, 512)); err != nil { // 2, 4, 6
		t.Fatal(err)
	}
	log := r.Log()
	if len(log) != 8 || log[0].Data[0] != 1 || log[0].Len != 4 || log[7].Op != Zeroes || !log[7].Done || log[7].ID != 6 {
		t.Errorf("log %+v", log)
	}
	sure, maybe := Cut(log)
	if !slices.Equal(ids(sure), []int{0}) || !slices.Equal(ids(maybe), []int{4, 6}) {
		t.Errorf("sure %v, maybe %v", ids(sure), ids(maybe))
	}
	if sure, maybe = Cut(log[:3]); len(sure) != 0 || len(maybe) != 1 {
		t.Errorf("in a flush: sure %v, maybe %v", ids(sure), ids(maybe))
	}
	fail = true
	if write(0) == nil || r.Flush() == nil {
		t.Fatal("no error")
	}
	if sure, _ = Cut(r.Log()); len(sure) != 1 {
		t.Errorf("after a flush that failed: sure %v", ids(sure))
	}
}

// TestMemory: ranges that are not on it are errors.
func TestMemory(t *testing.T) {
	m := NewMemory(4096)
	b := make([]byte, 1024)
	for _, off := range []int64{-1, 3584, 4096, 1 << 62} {
		if m.ReadAt([][]byte{b}, off, false) == nil || m.WriteAt([][]byte{b}, off) == nil || m.Discard(off, 1024) == nil {
			t.Errorf("at %d: no error", off)
		}
	}
	if InKernel(m) || InKernel(Record(m)) {
		t.Error("Go's copies are not the kernel's")
	}
}
