package sys

import (
	"sync"
	"unsafe"

	"github.com/pvrun/pvrun/guest"
	"github.com/pvrun/pvrun/guest/fs"
	"github.com/pvrun/pvrun/hypercall"
)

// shares reads what the start-info page says of shared folders.
func shares() []fs.Share {
	info := guest.Info()
	records := unsafe.Slice((*hypercall.Share)(pointer(uintptr(info.Shares.Addr))), info.ShareCount)
	list := make([]fs.Share, len(records))
	for i, r := range records {
		list[i] = fs.Share{
			Path:     string(guest.Bytes(r.Path)),
			Writable: r.Flags&hypercall.ShareWritable != 0,
			Files:    hostFiles(i),
		}
	}
	return list
}

// hostFiles is a shared folder by its number.
type hostFiles uint32

// hostCall is the memory of one call. It is never on a stack, since the host is
// told its address as a number.
type hostCall struct {
	args  hypercall.HostFileArgs
	attr  hypercall.HostFileAttr
	times hypercall.HostFileTimes
	room  hypercall.HostFileFS
	buf   []byte // bufLen bytes once needed

	// What args names by number is kept alive here.
	names [2]string
	data  []byte
}

// bufLen is how much a listing or a copy takes from the host at once, in bytes.
const bufLen = 64 << 10

// calls are spare hostCalls, at most maxSpare: few calls are under way at once.
var calls struct {
	mu    sync.Mutex
	spare []*hostCall
}

const maxSpare = 4

func (s hostFiles) begin(op hypercall.HostFileOp) *hostCall {
	calls.mu.Lock()
	defer calls.mu.Unlock()
	if len(calls.spare) == 0 {
		calls.spare = append(calls.spare, new(hostCall)) // on the heap, since it is kept
	}
	n := len(calls.spare) - 1
	c := calls.spare[n]
	calls.spare = calls.spare[:n]
	c.args = hypercall.HostFileArgs{Op: op, Share: uint32(s)}
	return c
}

// done gives a call's memory back.
func (c *hostCall) done() {
	c.names, c.data = [2]string{}, nil
	calls.mu.Lock()
	if len(calls.spare) < maxSpare {
		calls.spare = append(calls.spare, c)
	}
	calls.mu.Unlock()
}

func gva(p unsafe.Pointer) hypercall.GVA { return hypercall.GVA(uintptr(p)) }

// path names a file. Strings that come here are on the heap or constant: they
// came through an interface.
func (c *hostCall) path(s string) *hostCall {
	c.names[0] = s
	c.args.Path, c.args.PathLen = gva(unsafe.Pointer(unsafe.StringData(s))), uint64(len(s))
	return c
}

func (c *hostCall) ref(r fs.TreeRef) *hostCall {
	if c.args.Handle = r.Handle; r.Handle == 0 {
		c.path(r.Path)
	}
	return c
}

func (c *hostCall) second(s string) *hostCall {
	c.names[1] = s
	c.args.Buf, c.args.BufLen = gva(unsafe.Pointer(unsafe.StringData(s))), uint64(len(s))
	return c
}

func (c *hostCall) wantAttr() *hostCall {
	c.args.Buf, c.args.BufLen = gva(unsafe.Pointer(&c.attr)), uint64(unsafe.Sizeof(c.attr))
	return c
}

// ask makes the call.
func (c *hostCall) ask() (int, fs.Errno) {
	if r := c.byRing(); r != nil {
		return linux(c.askRing(r))
	}
	return linux(guest.Call(hypercall.CallHostFile, uintptr(unsafe.Pointer(&c.args)), 0, 0, 0))
}

// end makes the call and gives its memory back.
func (c *hostCall) end() fs.Errno {
	_, e := c.ask()
	c.done()
	return e
}

func (c *hostCall) result() fs.TreeAttr {
	a := &c.attr
	return fs.TreeAttr{
		Size: a.Size, Blocks: a.Blocks, Atime: a.ATime, Mtime: a.MTime, Ctime: a.CTime,
		Ino: a.Ino, Dev: a.Dev, Rdev: a.Rdev, Mode: a.Mode, Nlink: a.NLink, UID: a.UID, GID: a.GID,
	}
}

// Flags of open are Linux's on both sides.
func (s hostFiles) Open(path string, flags int, perm uint32) (uint64, fs.TreeAttr, fs.Errno) {
	c := s.begin(hypercall.HostFileOpen).path(path).wantAttr()
	c.args.Flags, c.args.Mode = uint32(flags)|hypercall.HostFileNOFOLLOW, perm
	h, e := c.ask()
	a := c.result()
	c.done()
	return uint64(h), a, e
}

func (s hostFiles) Close(handle uint64) fs.Errno {
	return s.begin(hypercall.HostFileClose).ref(fs.TreeRef{Handle: handle}).end()
}

func (s hostFiles) Read(handle uint64, b []byte, off int64) (int, fs.Errno) {
	return s.transfer(hypercall.HostFileRead, handle, b, off)
}

func (s hostFiles) Write(handle uint64, b []byte, off int64) (int, fs.Errno) {
	return s.transfer(hypercall.HostFileWrite, handle, b, off)
}

// transfer moves b in pieces that the host takes. A buffer on the goroutine's
// stack, which can move, is copied.
func (s hostFiles) transfer(op hypercall.HostFileOp, handle uint64, b []byte, off int64) (int, fs.Errno) {
	c := s.begin(op)
	defer c.done()
	c.args.Handle = handle
	most := hypercall.MaxConsole
	stack := stacked(b)
	if stack {
		most = bufLen
		c.needBuf()
	} else {
		c.data = b
	}
	done := 0
	for done < len(b) {
		part := b[done:min(len(b), done+most)]
		at := part
		if stack {
			at = c.buf[:copy(c.buf, part)]
		}
		c.args.Buf, c.args.BufLen, c.args.Offset = gva(unsafe.Pointer(unsafe.SliceData(at))), uint64(len(at)), off+int64(done)
		n, e := c.ask()
		if e == 0 && n > len(part) {
			e = fs.EIO
		}
		if e != 0 {
			if done > 0 {
				e = 0
			}
			return done, e
		}
		if stack && op == hypercall.HostFileRead {
			copy(part, c.buf[:n])
		}
		if done += n; n < len(part) {
			break
		}
	}
	return done, 0
}

// stacked is whether a buffer lies on the goroutine's stack.
func stacked(b []byte) bool {
	lo, hi := guest.StackBounds()
	p := uintptr(unsafe.Pointer(unsafe.SliceData(b)))
	return p >= lo && p < hi
}

func (c *hostCall) needBuf() {
	if c.buf == nil {
		c.buf = make([]byte, bufLen)
	}
}

func (s hostFiles) Truncate(handle uint64, size int64) fs.Errno {
	c := s.begin(hypercall.HostFileTruncate).ref(fs.TreeRef{Handle: handle})
	c.args.Offset = size
	return c.end()
}

func (s hostFiles) Sync(handle uint64, dataOnly bool) fs.Errno {
	c := s.begin(hypercall.HostFileSync).ref(fs.TreeRef{Handle: handle})
	if dataOnly {
		c.args.Flags = hypercall.HostFileDataOnly
	}
	defer noteSync(clock(clockMonotonic))
	return c.end()
}

// maxDirent is the longest record of a listing, in bytes.
const maxDirent = 16 + (fs.NAME_MAX+7)&^7

// List takes what it can get at once. When one more record would have fitted
// there are no more.
func (s hostFiles) List(handle uint64) (list []fs.TreeEntry, e fs.Errno) {
	c := s.begin(hypercall.HostFileReaddir).ref(fs.TreeRef{Handle: handle})
	defer c.done()
	c.needBuf()
	c.args.Buf, c.args.BufLen = gva(unsafe.Pointer(&c.buf[0])), bufLen
	for {
		n, e := c.ask()
		if e == 0 && n > bufLen {
			e = fs.EIO
		}
		if e != 0 {
			return nil, e
		}
		list = appendEntries(list, c.buf[:n])
		if n < bufLen-maxDirent {
			return list, 0
		}
	}
}

// appendEntries reads the records in b.
func appendEntries(list []fs.TreeEntry, b []byte) []fs.TreeEntry {
	const head = int(unsafe.Sizeof(hypercall.HostFileDirent{}))
	for len(b) >= head {
		// Safe because records begin at multiples of 8 in a buffer of our own.
		d := (*hypercall.HostFileDirent)(unsafe.Pointer(&b[0]))
		end := head + int(d.NameLen)
		if end > len(b) {
			break
		}
		list = append(list, fs.TreeEntry{Name: string(b[head:end]), Ino: d.Ino, Type: d.Type})
		b = b[min(len(b), (end+7)&^7):]
	}
	return list
}

func (s hostFiles) Stat(r fs.TreeRef) (fs.TreeAttr, fs.Errno) {
	c := s.begin(hypercall.HostFileStat).ref(r).wantAttr()
	_, e := c.ask()
	a := c.result()
	c.done()
	return a, e
}

func (s hostFiles) Chmod(r fs.TreeRef, perm uint32) fs.Errno {
	c := s.begin(hypercall.HostFileChmod).ref(r)
	c.args.Mode = perm
	return c.end()
}

func (s hostFiles) SetTimes(r fs.TreeRef, ns [2]int64, set [2]bool) fs.Errno {
	for i := range ns {
		if !set[i] {
			ns[i] = hypercall.HostFileOmit
		}
	}
	c := s.begin(hypercall.HostFileSetTimes).ref(r)
	c.args.Flags = hypercall.HostFileNOFOLLOW
	c.times = hypercall.HostFileTimes{ATime: ns[0], MTime: ns[1]}
	c.args.Buf, c.args.BufLen = gva(unsafe.Pointer(&c.times)), uint64(unsafe.Sizeof(c.times))
	return c.end()
}

func (s hostFiles) Mkdir(path string, perm uint32) fs.Errno {
	c := s.begin(hypercall.HostFileMkdir).path(path)
	c.args.Mode = perm
	return c.end()
}

func (s hostFiles) Remove(path string) fs.Errno {
	return s.begin(hypercall.HostFileRemove).path(path).end()
}

func (s hostFiles) Rename(old, new string) fs.Errno {
	return s.begin(hypercall.HostFileRename).path(old).second(new).end()
}

func (s hostFiles) Link(old, new string) fs.Errno {
	return s.begin(hypercall.HostFileLink).path(old).second(new).end()
}

func (s hostFiles) Symlink(target, path string) fs.Errno {
	return s.begin(hypercall.HostFileSymlink).path(path).second(target).end()
}

func (s hostFiles) Readlink(path string) (string, fs.Errno) {
	c := s.begin(hypercall.HostFileReadlink).path(path)
	defer c.done()
	c.needBuf()
	c.args.Buf, c.args.BufLen = gva(unsafe.Pointer(&c.buf[0])), fs.PATH_MAX
	n, e := c.ask()
	return string(c.buf[:min(n, bufLen)]), e
}

// Chown is refused: the files are the host's user's.
func (hostFiles) Chown(fs.TreeRef, uint32, uint32) fs.Errno { return fs.EPERM }
