package hv

import (
	"fmt"
	"sync/atomic"
	"unsafe"

	"github.com/pvrun/pvrun/hv/kvm"
	"github.com/pvrun/pvrun/hypercall"
	"golang.org/x/sys/unix"
)

// memory is the machine's physical memory: one anonymous mapping, divided into
// page frames. It is the only owner of guest memory; everything else goes
// through frame numbers that frames gave out.
type memory struct {
	data []byte
	frames
	files []extent // frames whose host pages are a file's, privately, until they are written
}

// frame is a page of the machine's memory, counted from its beginning.
type frame uint32

const (
	pageSize  = hypercall.PageSize
	pageShift = 12
)

func newMemory(size int64) (*memory, error) {
	// Nothing is reserved on the host: a frame costs memory when it is touched.
	data, err := unix.Mmap(-1, 0, int(size), unix.PROT_READ|unix.PROT_WRITE,
		unix.MAP_PRIVATE|unix.MAP_ANONYMOUS|unix.MAP_NORESERVE)
	if err != nil {
		return nil, &HostError{Op: fmt.Sprintf("reserve %d MiB of memory for the machine", size>>20), Err: err}
	}
	return &memory{data: data, frames: newFrames(int(size >> pageShift))}, nil
}

// split makes the first n bytes a memory of its own. Both share the mapping,
// which m still owns, and number their frames alike.
func (m *memory) split(n int64) *memory {
	pages := int(n >> pageShift)
	m.takeRun(pages)
	return &memory{data: m.data[:n:n], frames: newFrames(pages)}
}

func (m *memory) close() error {
	if m.data == nil {
		return nil
	}
	err := unix.Munmap(m.data)
	m.data = nil
	return err
}

// page is the memory of one frame. Callers do not keep it beyond a handler.
func (m *memory) page(f frame) []byte {
	at := int(f) << pageShift
	return m.data[at : at+pageSize : at+pageSize]
}

// run is the memory of n frames in a row.
func (m *memory) run(f frame, n int) []byte {
	at := int(f) << pageShift
	return m.data[at : at+n<<pageShift : at+n<<pageShift]
}

// entry is a page-table entry that the vCPU may be reading.
type entry uint64

// entries is a frame seen as a page table. Safe because a frame is 512 aligned
// words and the mapping outlives every user.
func (m *memory) entries(f frame) *[512]entry {
	return (*[512]entry)(unsafe.Pointer(unsafe.SliceData(m.page(f))))
}

// tableOf is the table that an entry stands in. Safe because entries points into
// tables only, which begin on a page.
func tableOf(e *entry) *[512]entry {
	return (*[512]entry)(unsafe.Pointer(uintptr(unsafe.Pointer(e)) &^ (pageSize - 1)))
}

func (e *entry) load() entry   { return entry(atomic.LoadUint64((*uint64)(e))) }
func (e *entry) store(v entry) { atomic.StoreUint64((*uint64)(e), uint64(v)) }

func (f frame) gpa() hypercall.GPA {
	return kvm.MemoryBase + hypercall.GPA(f)<<pageShift
}

// frameAt is the frame behind a physical address that gpa made.
func frameAt(a hypercall.GPA) frame { return frame((a - kvm.MemoryBase) >> pageShift) }

// discard gives the host pages of frames back; they read as zero, and what a
// vCPU knows of translations to them is void (MADV_DONTNEED reaches KVM's MMU
// notifier).
func (m *memory) discard(f frame, n int) error {
	err := m.forget(f, n)
	for _, x := range m.files {
		if from, to := max(f, x.First), min(f+frame(n), x.end()); from < to {
			clear(m.run(from, int(to-from))) // it shows the file again
		}
	}
	return err
}

// forget is discard where frames may show a file's pages again.
func (m *memory) forget(f frame, n int) error {
	return unix.Madvise(m.run(f, n), unix.MADV_DONTNEED)
}

// populate backs frames with host memory at once, which is cheaper than a host
// page fault each. Without it (before Linux 5.14) they are faulted in.
func (m *memory) populate(f frame, n int) {
	_ = unix.Madvise(m.run(f, n), unix.MADV_POPULATE_WRITE)
}

// refresh keeps the contents of frames and voids what a vCPU knows of
// translations to them: taking the host's own right to write away and giving
// it back runs the MMU notifier over them.
func (m *memory) refresh(f frame, n int) error {
	if err := unix.Mprotect(m.run(f, n), unix.PROT_READ); err != nil {
		return err
	}
	return unix.Mprotect(m.run(f, n), unix.PROT_READ|unix.PROT_WRITE)
}

// sharedInfo, vcpuInfo and messageQueue see the frames of the shared pages as what they
// are. Safe because each fits a page and contains no pointers.
func (m *memory) sharedInfo(f frame) *hypercall.SharedInfo {
	return (*hypercall.SharedInfo)(unsafe.Pointer(unsafe.SliceData(m.page(f))))
}

func (m *memory) vcpuInfo(f frame) *hypercall.VCPUInfo {
	return (*hypercall.VCPUInfo)(unsafe.Pointer(unsafe.SliceData(m.page(f))))
}

func (m *memory) messageQueue(f frame) *hypercall.MessageQueue {
	return (*hypercall.MessageQueue)(unsafe.Pointer(unsafe.SliceData(m.page(f))))
}

func (m *memory) startInfo(f frame) *hypercall.StartInfo {
	return (*hypercall.StartInfo)(unsafe.Pointer(unsafe.SliceData(m.page(f))))
}

// showPages has frames show pages of a file from an offset on, privately. Safe because
// the frames are m's own, and Go knows nothing of them.
func (m *memory) showPages(x extent, fd int, off int64, writable bool) error {
	prot := unix.PROT_READ
	if writable {
		prot |= unix.PROT_WRITE
	}
	b := m.run(x.First, x.Pages)
	_, err := unix.MmapPtr(fd, off, unsafe.Pointer(unsafe.SliceData(b)), uintptr(len(b)), prot,
		unix.MAP_PRIVATE|unix.MAP_FIXED|unix.MAP_NORESERVE)
	return err
}

// bytesOf is the memory of a structure of the contract. Safe for structures
// without pointers, which package hypercall has only.
func bytesOf[T any](v *T) []byte {
	return unsafe.Slice((*byte)(unsafe.Pointer(v)), unsafe.Sizeof(*v))
}

// privateCopy is memory for a copy of n bytes. Its object is larger, so that nothing
// begins where it ends: the collector would keep but the first of two that were joined.
func privateCopy(n int) []byte { return make([]byte, n, n+1) }

// appendPiece adds b to a list of pieces, joining neighbours in host memory.
// Safe because neighbours lie in the one mapping that memory owns: a copy that
// privateCopy made has none.
func appendPiece(list [][]byte, b []byte) [][]byte {
	if n := len(list); n > 0 {
		last := list[n-1]
		if uintptr(unsafe.Pointer(unsafe.SliceData(last)))+uintptr(len(last)) == uintptr(unsafe.Pointer(unsafe.SliceData(b))) {
			list[n-1] = unsafe.Slice(unsafe.SliceData(last), len(last)+len(b))
			return list
		}
	}
	return append(list, b)
}
