package hv

import (
	"os"
	"slices"
	"testing"

	"golang.org/x/sys/unix"
)

// TestPagemap: kernels with PAGEMAP_SCAN and without it say the same of what was written.
func TestPagemap(t *testing.T) {
	m, err := newMemory(1 << 20)
	if err != nil {
		t.Fatal(err)
	}
	defer m.close()
	_ = m.page(3)[0]
	if !isZero(m.page(4)) { // reads it
		t.Fatal("new memory is not empty")
	}
	m.page(6)[5] = 1
	for _, f := range []frame{20, 21, 22} {
		m.page(f)[0] = byte(f)
	}
	m.page(21)[0] = 0 // which has been written all the same
	m.page(40)[0] = 1
	if err := unix.Madvise(m.page(40), unix.MADV_DONTNEED); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open("/proc/self/pagemap")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	want := []extent{{6, 1}, {20, 3}}
	old, err := m.readPagemap(f)
	if err != nil || !slices.Equal(old, want) {
		t.Errorf("page by page: %v, %v, want %v", old, err, want)
	}
	if got, err := m.written(); err != nil || !slices.Equal(got, want) {
		t.Errorf("as this kernel can: %v, %v, want %v", got, err, want)
	}
}
