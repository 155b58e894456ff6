package guest

import (
	"syscall"
	"testing"
	"unsafe"

	"github.com/pvrun/pvrun/hypercall"
)

// hostPage stands in for the host: its hypercalls count and give the results
// that a test wants.
type hostPage struct {
	results [64]int64
	counts  [64]uint64
}

// newHost maps the contract's pages, and the list of regions as it is at first.
func newHost(t *testing.T) *hostPage {
	t.Helper()
	code := placed(t, uintptr(hypercall.HypercallGVA), 2*hypercall.PageSize, syscall.PROT_READ|syscall.PROT_WRITE|syscall.PROT_EXEC)
	placed(t, uintptr(hypercall.StartInfoGVA), hypercall.PageSize, syscall.PROT_READ|syscall.PROT_WRITE)
	copy(code, []byte{
		0x51,                                     // push rcx
		0x48, 0x8d, 0x0d, 0xf8, 0x0f, 0x00, 0x00, // lea rcx, the next page
		0x48, 0xff, 0x84, 0xc1, 0x00, 0x02, 0x00, 0x00, // inc counts[rax]
		0x48, 0x8b, 0x04, 0xc1, // mov rax, results[rax]
		0x59, // pop rcx
		0xc3, // ret
	})
	Info().ImageEnd, Info().FreeBytes = 0x800000, 1<<30
	regions.n, regions.pool.next, regions.pool.end = 0, 0, 0
	initMemory()
	return (*hostPage)(unsafe.Pointer(&code[hypercall.PageSize]))
}

func placed(t *testing.T, at, n uintptr, prot int) []byte {
	t.Helper()
	const noReplace = 0x100000
	got, _, e := syscall.Syscall6(syscall.SYS_MMAP, at, n, uintptr(prot), syscall.MAP_PRIVATE|syscall.MAP_ANON|noReplace, ^uintptr(0), 0)
	if e != 0 || got != at {
		t.Skipf("something of this process is at %#x: %v", at, e)
	}
	t.Cleanup(func() { syscall.Syscall(syscall.SYS_MUNMAP, at, n, 0) })
	return unsafe.Slice((*byte)(unsafe.Pointer(at)), n)
}

// layout is the list as text would say it.
func layout() []region { return append([]region(nil), all()...) }

func unchanged(t *testing.T, what string, before []region) {
	t.Helper()
	after := layout()
	if len(after) != len(before) {
		t.Errorf("%s: %d regions, %d before", what, len(after), len(before))
		return
	}
	for i := range after {
		if after[i] != before[i] {
			t.Errorf("%s: region %d is %+v, was %+v", what, i, after[i], before[i])
		}
	}
}

const rw = protRead | protWrite

// fill makes the list full, of regions of three pages that touch none other.
func (h *hostPage) fill(t *testing.T, prot uint32) (first uintptr) {
	t.Helper()
	const page = hypercall.PageSize
	first = mmapBase
	for i := range uintptr(len(regions.first)) {
		if at := first + i*4*page; mmap(at, 3*page, prot, mapFixed|mapAnonymous) != int64(at) {
			t.Fatal("no room for region", i)
		}
	}
	h.results[hypercall.CallMap] = -eNOMEM // the list cannot grow
	h.counts = [64]uint64{}
	return first
}

// TestFullList: with no room for one more region, what would need it fails
// before anything is changed, and what needs none is done.
func TestFullList(t *testing.T) {
	const page = hypercall.PageSize
	host := newHost(t)
	at := host.fill(t, rw)
	before := layout()
	for name, call := range map[string]func() int64{
		"munmap":       func() int64 { return munmap(at+page, page) },
		"mprotect":     func() int64 { return mprotect(at+page, page, protRead) },
		"mprotect end": func() int64 { return mprotect(at+2*page, page, protRead) },
		"mmap fixed":   func() int64 { return mmap(at+page, page, 0, mapFixed|mapAnonymous) },
		"mark":         func() int64 { return markFile(at+page, page, privateFile, rw) },
		"mmap":         func() int64 { return mmap(0, page, rw, mapAnonymous) },
		"mmap beside":  func() int64 { return mmap(0, page, 0, mapAnonymous) },
	} {
		if got := call(); got != -eNOMEM {
			t.Errorf("%s: %d, want ENOMEM", name, got)
		}
		unchanged(t, name, before)
	}
	if host.counts[hypercall.CallUnmap]+host.counts[hypercall.CallProtect] != 0 {
		t.Errorf("the host was asked: %v", host.counts)
	}
	if got := mprotect(at, 3*page, protRead); got != 0 {
		t.Errorf("mprotect of a whole region: %d", got)
	}
	if got := munmap(at+2*page, page); got != 0 {
		t.Errorf("munmap of a region's end: %d", got)
	}
	if got := munmap(at+4*page, 3*page); got != 0 || regions.n != len(before)-1 {
		t.Errorf("munmap of a whole region: %d; %d regions", got, regions.n)
	}
	if got := munmap(at+9*page, page); got != 0 || regions.n != len(before) {
		t.Errorf("munmap that cuts a region in two: %d; %d regions", got, regions.n)
	}
}

// TestNoMemory: what the host has no memory for is not listed as being there.
func TestNoMemory(t *testing.T) {
	const page = hypercall.PageSize
	host := newHost(t)
	reserved := mmap(0, 16*page, 0, mapAnonymous)
	before := layout()
	host.results[hypercall.CallMap] = -eNOMEM
	if at := kernelAlloc(page); at != 0 {
		t.Errorf("the kernel got %#x", at)
	}
	unchanged(t, "kernelAlloc", before)
	if got := mprotect(uintptr(reserved)+page, page, rw); got != -eNOMEM {
		t.Errorf("mprotect: %d", got)
	}
	unchanged(t, "mprotect", before)
	if got := mmap(0, page, rw, mapAnonymous); got != -eNOMEM {
		t.Errorf("mmap: %d", got)
	}
	unchanged(t, "mmap", before)
}

// TestListIsNotGivenOut: no mapping comes where the list itself may be.
func TestListIsNotGivenOut(t *testing.T) {
	const page = hypercall.PageSize
	newHost(t)
	list := uintptr(regionMemory)
	for _, at := range []uintptr{list, list + page, list - page, list + 1<<32 - page} {
		if got := mmap(at, 2*page, rw, mapFixed|mapAnonymous); got != -eINVAL {
			t.Errorf("at %#x: %#x", at, got)
		}
		if got := mmap(at, 2*page, rw, mapAnonymous); got < mmapBase || uintptr(got) >= list-page {
			t.Errorf("near %#x: %#x", at, got)
		}
	}
	if got := mmap(mmapBase, list-mmapBase-page, 0, mapFixed|mapAnonymous); got != mmapBase {
		t.Fatalf("%#x", got)
	}
	if got := mmap(0, 2*page, 0, mapAnonymous); got != -eNOMEM {
		t.Errorf("all is taken: %#x", got)
	}
	if got := mmap(0, page, 0, mapAnonymous); uintptr(got) != list-page {
		t.Errorf("the last page: %#x", got)
	}
}

// TestRangesThatWrap: a range that goes round the end of all addresses is
// refused as Linux refuses it.
func TestRangesThatWrap(t *testing.T) {
	const page = hypercall.PageSize
	newHost(t)
	at := uintptr(mmap(0, page, rw, mapAnonymous))
	before := layout()
	for _, n := range []uintptr{^uintptr(0), ^uintptr(page) + 2, -at, -at + page} {
		for call, c := range map[string][2]int64{
			"madvise": {madvise(at, n, madvDontneed), -eINVAL}, "mprotect": {mprotect(at, n, protRead), -eNOMEM},
			"mincore": {mincore(at, n, at), -eNOMEM}, "munmap": {munmap(at, n), -eINVAL},
		} {
			if c[0] != c[1] {
				t.Errorf("%s of %#x: %d, want %d", call, n, c[0], c[1])
			}
		}
	}
	unchanged(t, "ranges that wrap", before)
	if got := mprotect(at, 0, protRead) + madvise(at, 0, madvDontneed); got != 0 {
		t.Errorf("of nothing: %d", got)
	}
}
