package hv

import (
	"errors"
	"fmt"
	"sync/atomic"
	"unsafe"

	"github.com/pvrun/pvrun/hv/engine"
	"github.com/pvrun/pvrun/hypercall"
	"golang.org/x/sys/unix"
)

// memory is the machine's physical memory: one mapping, divided into page frames. It is the only owner of guest memory; everything else goes
// through frame numbers that frames gave out.
type memory struct {
	data []byte
	frames
	files []extent // frames whose host pages are a file's, privately, until they are written

	// What guest code can reach whatever page tables say: see sharedmemory_unsafe.go.
	file   int                        // that the first frames are; 0 for none
	inFile frame                      // how many
	forgot func(f frame, n int) error // has vCPUs forget translations to them
}

// frame is a page of the machine's memory, counted from its beginning.
type frame uint32

const (
	pageSize  = hypercall.PageSize
	pageShift = 12
)

// Safe because the mapping is as long as the slice, and close ends both.
func newMemory(size int64) (*memory, error) {
	// Nothing is reserved on the host: a frame costs memory when it is touched.
	at, err := unix.MmapPtr(-1, 0, nil, uintptr(size), unix.PROT_READ|unix.PROT_WRITE,
		unix.MAP_PRIVATE|unix.MAP_ANONYMOUS|unix.MAP_NORESERVE)
	if err != nil {
		return nil, &HostError{Op: fmt.Sprintf("reserve %d MiB of memory for the machine", size>>20), Err: err}
	}
	return &memory{data: unsafe.Slice((*byte)(at), size), frames: newFrames(int(size >> pageShift))}, nil
}

// unmap gives addresses back. Safe as newMemory is: they are its own.
func unmap(b []byte) error {
	if len(b) == 0 {
		return nil
	}
	return unix.MunmapPtr(unsafe.Pointer(unsafe.SliceData(b)), uintptr(len(b)))
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
	err := unmap(m.data)
	m.data = nil
	if m.file != 0 {
		err = errors.Join(err, unix.Close(m.file))
		m.file = 0
	}
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
	return engine.MemoryBase + hypercall.GPA(f)<<pageShift
}

// frameAt is the frame behind a physical address that gpa made.
func frameAt(a hypercall.GPA) frame { return frame((a - engine.MemoryBase) >> pageShift) }

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
	if f < m.inFile {
		return m.forgetShared(f, n)
	}
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
	if f < m.inFile {
		return m.forgot(f, n)
	}
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

// newMemoryOf is newMemory of pieces, some of which are a file's, privately. They are
// mapped one beside the other, and none over another: the kernel asks each machine of
// this process about what is unmapped. Safe because Go knows nothing of addresses that
// it has not mapped itself, and where others have mapped something meanwhile
// MAP_FIXED_NOREPLACE fails.
func newMemoryOf(size int64, pieces []piece, fd int, writable bool) (*memory, error) {
	for try := 0; ; try++ {
		m, err := newMemory(size)
		if err != nil {
			return nil, err
		}
		if err := unmap(m.data); err != nil {
			return nil, err
		}
		done, err := m.mapPieces(pieces, fd, writable)
		if err == nil {
			return m, nil
		}
		_ = unmap(m.data[:done])
		if err != unix.EEXIST || try == 100 {
			return nil, err
		}
	}
}

// mapPieces maps them where m says, and how many bytes there are until an error.
func (m *memory) mapPieces(pieces []piece, fd int, writable bool) (done int, err error) {
	prot := unix.PROT_READ
	if writable {
		prot |= unix.PROT_WRITE
	}
	for _, p := range pieces {
		n := uintptr(p.Pages) << pageShift
		if n == 0 {
			continue
		}
		at := unsafe.Add(unsafe.Pointer(unsafe.SliceData(m.data)), int(p.First)<<pageShift)
		flags := unix.MAP_PRIVATE | unix.MAP_FIXED_NOREPLACE | unix.MAP_NORESERVE
		var got unsafe.Pointer
		if p.offset < 0 {
			got, err = unix.MmapPtr(-1, 0, at, n, prot, flags|unix.MAP_ANONYMOUS)
		} else {
			got, err = unix.MmapPtr(fd, p.offset, at, n, prot, flags)
		}
		if err == nil && got != at { // before Linux 4.17 it was a hint
			err = unix.EEXIST
		}
		if err != nil {
			return done, err
		}
		done += int(n)
	}
	return done, nil
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
