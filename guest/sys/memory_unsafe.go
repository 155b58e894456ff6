package sys

import (
	"unsafe"

	"github.com/pvrun/pvrun/guest/fs"
	"github.com/pvrun/pvrun/hypercall"
)

// int is argument i as a signed 32-bit number, as Linux takes an int.
func (a *args) int(i int) int { return int(int32(a.v[i])) }

func (a *args) u32(i int) uint32 { return uint32(a.v[i]) }

func (a *args) i64(i int) int64 { return int64(a.v[i]) }

// onStack is whether argument i leads into the goroutine's stack.
func (a *args) onStack(i int) bool { return a.p[i] != nil }

// valid is whether n bytes from addr on could be the program's memory. A wild
// address that could be faults, as it would in the program itself.
func valid(addr, n uintptr) bool {
	return addr >= uintptr(hypercall.MinGVA) && n < 1<<47 && addr < 1<<47-n
}

// ptr is argument i as a pointer to size bytes, nil when it cannot be one.
func (a *args) ptr(i int, size uintptr) unsafe.Pointer {
	if a.p[i] != nil {
		return a.p[i]
	}
	if !valid(a.v[i], size) {
		return nil
	}
	return pointer(a.v[i])
}

// bytes is the buffer of argument i, its length argument i+1.
func (a *args) bytes(i int) ([]byte, fs.Errno) { return a.span(i, a.v[i+1]) }

// span is n bytes at argument i.
func (a *args) span(i int, n uintptr) ([]byte, fs.Errno) {
	if n == 0 {
		return nil, 0
	}
	if int(n) < 0 {
		return nil, fs.EINVAL
	}
	p := a.ptr(i, n)
	if p == nil {
		return nil, fs.EFAULT
	}
	return unsafe.Slice((*byte)(p), n), 0
}

// str is the C string at argument i as a copy.
func (a *args) str(i int) (string, fs.Errno) {
	p := a.ptr(i, 1)
	if p == nil {
		return "", fs.EFAULT
	}
	for n := uintptr(0); n < fs.PATH_MAX; n++ {
		if *(*byte)(unsafe.Add(p, n)) == 0 {
			return string(unsafe.Slice((*byte)(p), n)), 0
		}
	}
	return "", fs.ENAMETOOLONG
}

// load copies a T from argument i.
func load[T any](a *args, i int) (v T, e fs.Errno) {
	p := a.ptr(i, unsafe.Sizeof(v))
	if p == nil {
		return v, fs.EFAULT
	}
	return *(*T)(p), 0
}

// store copies v to argument i.
func store[T any](a *args, i int, v T) fs.Errno {
	p := a.ptr(i, unsafe.Sizeof(v))
	if p == nil {
		return fs.EFAULT
	}
	*(*T)(p) = v
	return 0
}

// loadSlice copies n elements from argument i to the heap.
func loadSlice[T any](a *args, i, n int) ([]T, fs.Errno) {
	if n == 0 {
		return nil, 0
	}
	var v T
	p := a.ptr(i, unsafe.Sizeof(v)*uintptr(n))
	if p == nil {
		return nil, fs.EFAULT
	}
	return append([]T(nil), unsafe.Slice((*T)(p), n)...), 0
}

// storeSlice copies a heap slice back to argument i.
func storeSlice[T any](a *args, i int, s []T) {
	if len(s) > 0 {
		copy(unsafe.Slice((*T)(a.ptr(i, unsafe.Sizeof(s[0])*uintptr(len(s)))), len(s)), s)
	}
}

// iovec is Linux's struct iovec. The base is a pointer, so that one read from
// a stack frame is adjusted like any other.
type iovec struct {
	base unsafe.Pointer
	len  uintptr
}

const maxIovec = 1024 // Linux's UIO_MAXIOV

// iovLen checks the vector at argument i, its count argument i+1, and returns
// the sum of the lengths.
func (a *args) iovLen(i int) (int, fs.Errno) {
	count := a.v[i+1]
	if count > maxIovec {
		return 0, fs.EINVAL
	}
	p := a.ptr(i, count*unsafe.Sizeof(iovec{}))
	if p == nil && count > 0 {
		return 0, fs.EFAULT
	}
	total := 0
	for _, v := range unsafe.Slice((*iovec)(p), count) {
		if int(v.len) < 0 || total+int(v.len) < total {
			return 0, fs.EINVAL
		}
		if v.len > 0 && !valid(uintptr(v.base), v.len) {
			return 0, fs.EFAULT
		}
		total += int(v.len)
	}
	return total, 0
}

// vec is element k of the vector at argument i. The vector is read anew each
// time: it may lie on a stack that has moved, or have changed; the checks of
// iovLen are only for the caller's sake.
func (a *args) vec(i, k int) []byte {
	p := a.ptr(i, uintptr(k+1)*unsafe.Sizeof(iovec{}))
	v := *(*iovec)(unsafe.Add(p, uintptr(k)*unsafe.Sizeof(iovec{})))
	if v.len == 0 || int(v.len) < 0 || !valid(uintptr(v.base), v.len) {
		return nil
	}
	return unsafe.Slice((*byte)(v.base), v.len)
}
