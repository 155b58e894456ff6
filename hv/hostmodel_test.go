package hv

import (
	"fmt"
	"io/fs"
	"math/rand"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/pvrun/pvrun/hypercall"
)

// hostModel makes the same random calls on a share, by host_file, and on a
// folder beside it, by Linux's own calls.
type hostModel struct {
	*share
	rnd  *rand.Rand
	top  string   // the folder on Linux
	open [][2]int // handle and descriptor
	log  []string
}

// TestModelHostFile: a call on a share has the result that Linux's has.
// TestModelShare of guest/fs, whose host is Linux itself, builds on that.
func TestModelHostFile(t *testing.T) {
	defer syscall.Umask(syscall.Umask(0))
	for seed := range 16 {
		m := &hostModel{share: newShare(t, true), rnd: rand.New(rand.NewSource(int64(seed)))}
		m.dir, m.top = filepath.Join(m.dir, "d"), filepath.Join(filepath.Dir(m.dir), "linux")
		os.Mkdir(m.top, 0o755)
		m.cfg.Shares[1].Writable = true
		for i := 0; i < 1000 && !t.Failed(); i++ {
			m.step()
		}
		for _, o := range m.open {
			syscall.Close(o[1])
		}
		if ours, theirs := listing(m.dir), listing(m.top); ours != theirs {
			t.Errorf("the folders differ:\n%s\nLinux:\n%s", ours, theirs)
		}
		if t.Failed() {
			t.Fatalf("seed %d:\n%s", seed, strings.Join(m.log[max(0, len(m.log)-40):], "\n"))
		}
	}
}

func listing(top string) string {
	var b strings.Builder
	filepath.WalkDir(top, func(path string, _ fs.DirEntry, _ error) error {
		info, _ := os.Lstat(path)
		text, _ := os.ReadFile(path)
		fmt.Fprintf(&b, "%s %v %d %.40q\n", strings.TrimPrefix(path, top), info.Mode(), info.Sys().(*syscall.Stat_t).Nlink, text)
		return nil
	})
	return b.String()
}

// path is a random path, sometimes through links and what is no folder.
func (m *hostModel) path() string {
	p := m.name()
	for m.rnd.Intn(3) == 0 {
		p += "/" + m.name()
	}
	return p
}

func (m *hostModel) name() string { return string("abcd"[m.rnd.Intn(4)]) }

func (m *hostModel) pick(values ...uint32) uint32 { return values[m.rnd.Intn(len(values))] }

// step makes a random call on both sides and compares.
func (m *hostModel) step() {
	a := hypercall.HostFileArgs{Op: hypercall.HostFileOp(1 + m.rnd.Intn(int(hypercall.HostFileEnd)-1)), Share: 1}
	path, second, which, fd := m.path(), m.path(), 0, -1
	if byPath := (hypercall.HostFileArgs{Op: a.Op, PathLen: 1}); !takesPath(&byPath) || !takesPath(&a) && m.rnd.Intn(2) == 0 {
		if len(m.open) == 0 {
			return
		}
		which, path = m.rnd.Intn(len(m.open)), ""
		a.Handle, fd = uint64(m.open[which][0]), m.open[which][1]
	}
	if st, err := os.Stat(filepath.Dir(m.top + "/" + second)); err != nil || !st.IsDir() {
		second = m.name() // which of two errors comes first is the guest's affair
	}
	n, out, err := m.linux(&a, path, &second, fd)
	s := int64(n)
	if e, ok := err.(syscall.Errno); ok {
		s = -int64(e)
	}
	if a.BufLen == 0 && a.Op != hypercall.HostFileOpen {
		a.BufLen = uint64(len(second))
	}
	m.space.copyOut(bufAt, []byte(second))
	got := m.do(a, path)
	m.log = append(m.log, fmt.Sprintf("%v %q %q %+v: %d, Linux %d", a.Op, path, second[:min(20, len(second))], a, got, s))
	switch {
	case a.Op == hypercall.HostFileOpen && got > 0 && s >= 0:
		m.open = append(m.open, [2]int{int(got), n})
	case got != s || got > 0 && a.Op != hypercall.HostFileWrite && m.result(&a, got) != out:
		m.t.Errorf("result %q, Linux's %q", m.result(&a, max(got, 0)), out)
	case a.Op == hypercall.HostFileClose:
		m.open = append(m.open[:which], m.open[which+1:]...)
	}
}

// result is what a call has told in the buffer.
func (m *hostModel) result(a *hypercall.HostFileArgs, n int64) string {
	if a.Op != hypercall.HostFileStat {
		return m.buf(n)
	}
	var attr hypercall.HostFileAttr
	m.space.copyIn(bytesOf(&attr), bufAt)
	return fmt.Sprintf("%o %d", attr.Mode, attr.NLink)
}

// linux makes the call on Linux and fills in its arguments.
func (m *hostModel) linux(a *hypercall.HostFileArgs, path string, second *string, fd int) (n int, out string, err error) {
	file, b := m.top+"/"+path, make([]byte, 1+m.rnd.Intn(6000))
	offset := int64(m.rnd.Intn(9000))
	switch a.Op {
	case hypercall.HostFileOpen:
		a.Flags = m.pick(0, 1, 2) | m.pick(0, 0x40, 0x40, 0x40|0x80) | m.pick(0, 0, 0x200) | m.pick(0, 0x400) | hypercall.HostFileNOFOLLOW
		a.Mode = m.pick(0o644, 0o777, 0)
		n, err = syscall.Open(file, int(a.Flags)|syscall.O_CLOEXEC, a.Mode)
	case hypercall.HostFileClose:
		err = syscall.Close(fd)
	case hypercall.HostFileRead:
		a.Offset, a.BufLen = offset, uint64(len(b))
		n, err = syscall.Pread(fd, b, offset)
		out = string(b[:max(n, 0)])
	case hypercall.HostFileWrite:
		m.rnd.Read(b)
		a.Offset, a.BufLen, *second = offset, uint64(len(b)), string(b)
		n, err = syscall.Pwrite(fd, b, offset)
	case hypercall.HostFileStat:
		var st syscall.Stat_t
		if a.BufLen, n = 80, 80; fd >= 0 {
			err = syscall.Fstat(fd, &st)
		} else {
			err = syscall.Lstat(file, &st)
		}
		out = fmt.Sprintf("%o %d", st.Mode, st.Nlink)
	case hypercall.HostFileTruncate:
		a.Offset, err = offset, syscall.Ftruncate(fd, offset)
	case hypercall.HostFileMkdir:
		a.Mode = m.pick(0o755, 0o700, 0o070)
		err = syscall.Mkdir(file, a.Mode)
	case hypercall.HostFileRemove:
		if err = syscall.Unlink(file); err == syscall.EISDIR {
			err = syscall.Rmdir(file)
		}
	case hypercall.HostFileRename:
		err = syscall.Rename(file, m.top+"/"+*second)
	case hypercall.HostFileLink:
		err = syscall.Link(file, m.top+"/"+*second)
	case hypercall.HostFileSymlink:
		*second = m.name()
		err = syscall.Symlink(*second, file)
	case hypercall.HostFileReadlink:
		a.BufLen = 100
		n, err = syscall.Readlink(file, b)
		out = string(b[:max(n, 0)])
	case hypercall.HostFileChmod:
		if a.Mode = m.pick(0o644, 0o600, 0o1777, 0); fd >= 0 {
			err = syscall.Fchmod(fd, a.Mode)
		} else {
			err = syscall.Chmod(file, a.Mode)
		}
	case hypercall.HostFileSync:
		err = syscall.Fsync(fd)
	default: // times and whole listings have tests of their own
		a.Op = hypercall.HostFileStat
		return m.linux(a, path, second, fd)
	}
	return n, out, err
}
