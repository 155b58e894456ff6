package hv

import (
	"encoding/binary"
	"os"
	"runtime"
	"sync"
	"unsafe"

	"golang.org/x/sys/unix"
)

// What the kernel knows of a process's pages: ioctl PAGEMAP_SCAN (Linux 6.7,
// Documentation/admin-guide/mm/pagemap.rst, include/uapi/linux/fs.h), or the file
// pagemap itself, which says the same for one page after the other.
const (
	pagemapScan = 0xc0606610

	pageIsFile    = 1 << 2
	pageIsPresent = 1 << 3
	pageIsSwapped = 1 << 4
	pageIsPFNZero = 1 << 5

	pagemapPresent = 1 << 63
	pagemapSwapped = 1 << 62
	pagemapFile    = 1 << 61 // or shared
	pagemapOne     = 1 << 56 // mapped here and nowhere else
)

// scanArg is struct pm_scan_arg, and scanRegion struct page_region.
type scanArg struct {
	size, flags           uint64
	start, end, walkEnd   uint64
	vec, vecLen, maxPages uint64
	inverted, mask, anyOf uint64
	returned              uint64
}

type scanRegion struct{ start, end, categories uint64 }

var pagemap = sync.OnceValues(func() (*os.File, error) { return os.Open("/proc/self/pagemap") })

// written are the frames whose host pages are the machine's own: written since they
// were mapped, in ascending order.
func (m *memory) written() ([]extent, error) {
	f, err := pagemap()
	if err != nil {
		return nil, err
	}
	list, err := m.scan(int(f.Fd()))
	if err == unix.ENOTTY || err == unix.EINVAL {
		return m.readPagemap(f)
	}
	return list, err
}

// scan asks for them by ioctl. Safe because the kernel writes arg and vec only, keeps
// neither, and vec is no stack's, which could move.
func (m *memory) scan(fd int) (list []extent, err error) {
	base := uint64(uintptr(unsafe.Pointer(unsafe.SliceData(m.data))))
	vec := make([]scanRegion, 256)
	arg := scanArg{
		start: base, end: base + uint64(len(m.data)),
		vec: uint64(uintptr(unsafe.Pointer(unsafe.SliceData(vec)))), vecLen: uint64(len(vec)),
		inverted: pageIsFile, mask: pageIsFile, anyOf: pageIsPresent | pageIsSwapped, returned: pageIsPFNZero,
	}
	arg.size = uint64(unsafe.Sizeof(arg))
	for arg.start < arg.end {
		n, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), pagemapScan, uintptr(unsafe.Pointer(&arg)))
		if errno == unix.EINTR {
			continue
		}
		if errno != 0 {
			return nil, errno
		}
		for _, r := range vec[:n] {
			x := extent{frame((r.start - base) >> pageShift), int(r.end-r.start) >> pageShift}
			if r.categories&pageIsPFNZero != 0 {
				list = m.appendFiles(list, x)
			} else {
				list = append(list, x)
			}
		}
		arg.start = arg.walkEnd
	}
	runtime.KeepAlive(vec)
	return list, nil
}

// appendFiles appends the parts of x where a file's pages were. The kernel's page of zeros
// is what has only been read elsewhere; there it is in the place of a page that was
// written with zeros (KSM, Documentation/admin-guide/mm/ksm.rst, use_zero_pages).
func (m *memory) appendFiles(list []extent, x extent) []extent {
	for _, file := range m.files {
		if from, to := max(x.First, file.First), min(x.end(), file.end()); from < to {
			list = append(list, extent{from, int(to - from)})
		}
	}
	return list
}

// readPagemap reads what the kernel says of each page. The kernel's page of zeros is not
// told from others, but that it is mapped more than once: what it is in the place of has
// been read only, but where a file's pages were.
func (m *memory) readPagemap(f *os.File) (list []extent, err error) {
	base := int64(uintptr(unsafe.Pointer(unsafe.SliceData(m.data)))) >> pageShift
	b := make([]byte, 8*len(m.data)>>pageShift)
	if _, err := f.ReadAt(b, 8*base); err != nil {
		return nil, err
	}
	for i := range frame(len(b) / 8) {
		v := binary.LittleEndian.Uint64(b[8*i:])
		if v&(pagemapPresent|pagemapSwapped) == 0 || v&pagemapFile != 0 {
			continue
		}
		if v&(pagemapOne|pagemapSwapped) == 0 && isZero(m.page(i)) && len(m.appendFiles(nil, extent{i, 1})) == 0 {
			continue
		}
		if n := len(list); n > 0 && list[n-1].end() == i {
			list[n-1].Pages++
		} else {
			list = append(list, extent{i, 1})
		}
	}
	return list, nil
}
