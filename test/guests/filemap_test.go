package guests

import (
	"bytes"
	"encoding/binary"
	"os"
	"path/filepath"
	"testing"

	"github.com/pvrun/pvrun/hv"
	"github.com/pvrun/pvrun/hypercall"
	"github.com/pvrun/pvrun/internal/need"
	"github.com/pvrun/pvrun/test/guests/asm"
)

const (
	enodev  = -int64(hypercall.ENODEV)
	ebadf   = -int64(hypercall.EBADF)
	mapped  = free + 0x1000_0000 // where files are mapped
	pages9  = 9 * page
	fileTwo = mapped + 0x100_0000
)

// plain makes a host_file call without a path.
func (s *steps) plain(name string, result int64, a hypercall.HostFileArgs) {
	for i, v := range []uint64{
		uint64(a.Op) | uint64(a.Flags)<<32, a.Handle, 0, 0, uint64(a.Buf), a.BufLen,
		uint64(a.Offset), uint64(a.Mode) | uint64(a.Share)<<32, a.Length,
	} {
		s.code.Store(fileArgs+8*uint64(i), v)
	}
	s.call(name, result, uint64(hypercall.CallHostFile), fileArgs)
}

// mapFile asks for a mapping.
func (s *steps) mapFile(name string, result int64, handle, at, n, off, flags uint64) {
	s.plain(name, result, hypercall.HostFileArgs{
		Op: hypercall.HostFileMap, Flags: uint32(flags), Handle: handle, Buf: hypercall.GVA(at), Length: n, Offset: int64(off),
	})
}

func (s *steps) truncate(handle, size uint64) {
	s.plain("truncate", 0, hypercall.HostFileArgs{Op: hypercall.HostFileTruncate, Handle: handle, Offset: int64(size)})
}

// mapFiles is a share with two files of 9 pages, each word of which says where it
// is, and the steps that open them: 1 to read and write, 2 to read, 3 the other to
// read and write, 4 the folder, 5 to write.
func mapFiles(t *testing.T) (s *steps, cfg hv.Config, dir string) {
	t.Helper()
	dir = t.TempDir()
	for i, name := range []string{"f", "g"} {
		b := make([]byte, pages9)
		for at := 0; at < len(b); at += 8 {
			binary.LittleEndian.PutUint64(b[at:], wordOf(i, uint64(at)))
		}
		if err := os.WriteFile(filepath.Join(dir, name), b, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { root.Close() })
	cfg.Shares = []hv.Share{{Root: root, Guest: "/s", Writable: true}}
	s = newSteps()
	for i, o := range []struct {
		name  string
		flags uint32
	}{{"f", hypercall.HostFileRDWR}, {"f", 0}, {"g", hypercall.HostFileRDWR}, {".", 0}, {"f", hypercall.HostFileWRONLY}} {
		s.file("open", int64(i+1), hypercall.HostFileArgs{Op: hypercall.HostFileOpen, Flags: o.flags}, o.name, "")
	}
	return s, cfg, dir
}

// wordOf is what file i has at an offset.
func wordOf(i int, at uint64) uint64 { return uint64(i+1)<<56 | at }

// TestFileMap: a mapping is the file, to read and to write, also when its handle is
// closed; what was taken away or protected is so at once.
func TestFileMap(t *testing.T) {
	need.KVM(t) // files are not mapped into a process
	s, cfg, dir := mapFiles(t)
	s.mapFile("map", 0, 1, mapped, pages9, 0, rw)
	for at := uint64(0); at < pages9; at += page {
		s.load("read", wordOf(0, at+8), mapped+at+8)
	}
	s.store("write", asm.NoFault, mapped+3*page, 0x1234)
	s.mapFile("map part again", 0, 2, fileTwo, 2*page, 3*page, rd)
	s.load("what was written", 0x1234, fileTwo)
	s.store("write through a read-only handle", pf(7, fileTwo), fileTwo, 1)
	s.call("protect it to write", eacces, callProtect, fileTwo, page, rw)
	s.call("protect it away", 0, callProtect, fileTwo, page, 0)
	s.load("read it", pf(4, fileTwo), fileTwo)
	s.call("protect it back", 0, callProtect, fileTwo, page, rd)
	s.load("read it again", 0x1234, fileTwo)
	s.store("write it again", pf(7, fileTwo), fileTwo, 1)
	s.call("protect to read", 0, callProtect, mapped, 2*page, rd)
	s.store("write", pf(7, mapped), mapped, 1)
	s.load("read", wordOf(0, 0), mapped)
	s.call("protect to write", 0, callProtect, mapped, 2*page, rw)
	s.store("write", asm.NoFault, mapped, 0x5678)
	s.call("discard", 0, callDiscard, mapped, pages9)
	s.load("nothing is lost", 0x5678, mapped)
	s.call("alias", einval, callAlias, free, page, rd, mapped)
	s.plain("close", 0, hypercall.HostFileArgs{Op: hypercall.HostFileClose, Handle: 1})
	s.store("write after close", asm.NoFault, mapped+8, 0x9abc)
	s.mapFile("map a closed handle", ebadf, 1, free, page, 0, rd)
	s.mapFile("map another file over the middle", 0, 3, mapped+4*page, 2*page, page, rw)
	s.load("before it", wordOf(0, 3*page+8), mapped+3*page+8)
	s.load("it", wordOf(1, page), mapped+4*page)
	s.load("behind it", wordOf(0, 6*page), mapped+6*page)
	s.call("unmap", 0, callUnmap, mapped, 4*page)
	s.load("read unmapped", pf(4, mapped), mapped)
	s.call("map memory there", 0, callMap, mapped, 4*page, rw)
	s.load("memory", 0, mapped)
	s.store("write memory", asm.NoFault, mapped, 77)
	s.call("unmap all", 0, callUnmap, mapped, pages9)
	s.mapFile("map the other file there", 0, 3, mapped, pages9, 0, rw)
	s.load("the other file", wordOf(1, 8), mapped+8)
	s.store("write it", asm.NoFault, mapped+16, 0xdef0)
	s.run(t, cfg)
	for name, want := range map[string]map[int]uint64{"f": {0: 0x5678, 8: 0x9abc, 3 * 4096: 0x1234}, "g": {16: 0xdef0, 0: wordOf(1, 0)}} {
		b, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil || len(b) != int(pages9) {
			t.Fatalf("%s: %d bytes, %v", name, len(b), err)
		}
		for at, v := range want {
			if got := binary.LittleEndian.Uint64(b[at:]); got != v {
				t.Errorf("%s at %d: %#x, want %#x", name, at, got, v)
			}
		}
	}
}

// TestFileMapShrinks: what a file has lost is a page fault, for the guest and for
// calls, and what comes back is there again.
func TestFileMapShrinks(t *testing.T) {
	need.KVM(t) // files are not mapped into a process
	s, cfg, _ := mapFiles(t)
	s.mapFile("map more than there is", 0, 1, mapped, 64*page, 0, rw)
	s.load("beyond the end", pf(4, mapped+pages9), mapped+pages9)
	s.load("far beyond the end", pf(4, mapped+40*page), mapped+40*page)
	s.load("the last page", wordOf(0, 8*page), mapped+8*page)
	for round := uint64(0); round < 3; round++ {
		s.truncate(1, 4*page)
		s.load("lost", pf(4, mapped+5*page), mapped+5*page)
		s.store("lost to write", pf(6, mapped+4*page), mapped+4*page, 1)
		s.load("kept", wordOf(0, 3*page), mapped+3*page)
		s.call("write lost pages out", efault, uint64(hypercall.CallConsoleWrite), 1, mapped+4*page, 8)
		s.call("entropy into a lost page", efault, callEntropy, mapped+7*page, 8)
		s.truncate(1, pages9)
		s.load("zero again", 0, mapped+5*page)
		s.store("to write again", asm.NoFault, mapped+8*page, round)
		s.load("written", round, mapped+8*page)
		s.truncate(1, 0)
		s.truncate(1, 20*page)
		s.load("all zero", 0, mapped)
		s.load("grown", 0, mapped+19*page)
		s.load("not so far", pf(4, mapped+20*page), mapped+20*page)
		s.store("restore", asm.NoFault, mapped+3*page, wordOf(0, 3*page))
	}
	s.run(t, cfg)
}

// TestFileMapCalls: calls take their arguments from mapped files and put their
// results there.
func TestFileMapCalls(t *testing.T) {
	need.KVM(t) // files are not mapped into a process
	s, cfg, dir := mapFiles(t)
	s.mapFile("map", 0, 1, mapped, pages9, 0, rw)
	s.mapFile("map read-only", 0, 2, fileTwo, pages9, 0, rd)
	s.plain("read a file into a mapping", int64(2*page), hypercall.HostFileArgs{Op: hypercall.HostFileRead, Handle: 3, Buf: hypercall.GVA(mapped + page), BufLen: 2 * page})
	s.load("read", wordOf(1, page+16), mapped+2*page+16)
	s.plain("write a file from a mapping", int64(page), hypercall.HostFileArgs{Op: hypercall.HostFileWrite, Handle: 3, Buf: hypercall.GVA(mapped + 5*page), BufLen: page, Offset: int64(8 * page)})
	s.plain("stat into a mapping", 80, hypercall.HostFileArgs{Op: hypercall.HostFileStat, Handle: 1, Buf: hypercall.GVA(mapped + 4*page - 8), BufLen: 80})
	s.load("size", uint64(pages9), mapped+4*page-8)
	s.plain("into a read-only one", efault, hypercall.HostFileArgs{Op: hypercall.HostFileRead, Handle: 3, Buf: hypercall.GVA(fileTwo), BufLen: page})
	s.call("entropy into a read-only one", efault, callEntropy, fileTwo, 8)
	s.plain("a file into itself", int64(page), hypercall.HostFileArgs{Op: hypercall.HostFileRead, Handle: 1, Buf: hypercall.GVA(mapped + 7*page), BufLen: page, Offset: int64(8 * page)})
	s.load("itself", wordOf(0, 8*page), mapped+7*page)
	s.run(t, cfg)
	f, _ := os.ReadFile(filepath.Join(dir, "f"))
	g, _ := os.ReadFile(filepath.Join(dir, "g"))
	if len(f) != int(pages9) || len(g) != int(pages9) || !bytes.Equal(g[8*page:], f[5*page:6*page]) {
		t.Errorf("%d and %d bytes, or not what was written", len(f), len(g))
	}
}

// TestFileMapHostile asks for mappings that nobody may have.
func TestFileMapHostile(t *testing.T) {
	need.KVM(t) // files are not mapped into a process
	s, cfg, _ := mapFiles(t)
	for _, test := range []struct {
		name              string
		result            int64
		handle            uint64
		at, n, off, flags uint64
	}{
		{"execute", eacces, 1, mapped, page, 0, rd | exec},
		{"lazily", einval, 1, mapped, page, 0, rd | lazy},
		{"an unknown flag", einval, 1, mapped, page, 0, 1 << 20},
		{"write through a read-only handle", eacces, 2, mapped, page, 0, rw},
		{"a handle to write only", eacces, 5, mapped, page, 0, rw},
		{"a handle to write only, to read", eacces, 5, mapped, page, 0, rd},
		{"a folder", enodev, 4, mapped, page, 0, rd},
		{"no handle", ebadf, 77, mapped, page, 0, rd},
		{"nothing", einval, 1, mapped, 0, 0, rd},
		{"less than a page", einval, 1, mapped, 100, 0, rd},
		{"not at a page", einval, 1, mapped + 8, page, 0, rd},
		{"from the middle of a page", einval, 1, mapped, page, 8, rd},
		{"from before the file", einval, 1, mapped, page, 1<<63 | page, rd},
		{"beyond what files have", einval, 1, mapped, 2 * page, 1<<63 - page, rd},
		{"too much", enomem, 1, mapped, 1<<36 + page, 0, rd},
		{"more than its tables fit", enomem, 1, mapped, 1 << 36, 0, rd},
		{"everything", einval, 1, mapped, 1 << 63, 0, rd},
		{"all but nothing", einval, 1, mapped, ^page + 1, 0, rd},
		{"over text", eacces, 1, asm.Text, page, 0, rw},
		{"over the end of text", eacces, 1, asm.Text + 15*page, 2 * page, 0, rd},
		{"page 0", einval, 1, 0, page, 0, rd},
		{"the contract's range", einval, 1, reserved, page, 0, rd},
		{"into the contract's range", einval, 1, reserved - page, 2 * page, 0, rd},
		{"the hypercall page", einval, 1, hyperPage, page, 0, rw},
		{"start info", einval, 1, startPage, page, 0, rw},
		{"shared info", einval, 1, uint64(hypercall.SharedInfoGVA), page, 0, rw},
		{"the vCPU's page", einval, 1, uint64(hypercall.VCPUInfoGVA), page, 0, rw},
		{"the rings", einval, 1, uint64(hypercall.BlockRingGVA), page, 0, rw},
		{"the kernel half", einval, 1, 0xffff_8000_0000_0000, page, 0, rd},
	} {
		s.mapFile(test.name, test.result, test.handle, test.at, test.n, test.off, test.flags)
	}
	s.load("nothing is there", pf(4, mapped), mapped)
	s.mapFile("to touch never", 0, 1, mapped, page, 0, 0)
	s.load("touch it", pf(4, mapped), mapped)
	s.mapFile("now", 0, 1, mapped, page, 0, rd)
	s.try("execute it", pf(0x15, mapped), func(c *asm.Code) { c.JmpTo(mapped) })
	s.call("protect to execute", eacces, callProtect, mapped, page, rd|exec)
	s.run(t, cfg)
}

// TestFileMapMany maps 100,000 pieces: the host's own mappings are bounded, and
// what is given back can be had again.
func TestFileMapMany(t *testing.T) {
	need.KVM(t) // files are not mapped into a process
	s, cfg, _ := mapFiles(t)
	const n = 100_000
	// RBX counts mappings that were made, R12 those asked for.
	args := func(c *asm.Code) {
		for i, v := range []uint64{uint64(hypercall.HostFileMap) | rd<<32, 1, 0, 0, mapped, 0, 0, 0, page} {
			c.Store(fileArgs+8*uint64(i), v)
		}
	}
	args(s.code)
	s.try("100,000 mappings", 8192, func(c *asm.Code) {
		c.Mov(asm.RBX, 0).Mov(asm.R12, n)
		loop := len(c.B)
		c.Hypercall(hypercall.CallHostFile, fileArgs)
		c.Raw(0x48, 0x85, 0xc0, 0x75, 0x03, 0x48, 0xff, 0xc3) // test rax, rax; jnz +3; inc rbx
		c.Mov(asm.R11, fileArgs+32)
		c.Raw(0x49, 0x81, 0x03, 0, 0x20, 0, 0) // add qword [r11], 0x2000
		c.Raw(0x49, 0xff, 0xcc)                // dec r12
		c.Raw(0x0f, 0x85)                      // jnz loop
		rel := int32(loop - len(c.B) - 4)
		c.Raw(binary.LittleEndian.AppendUint32(nil, uint32(rel))...)
		c.MovReg(asm.RAX, asm.RBX)
	})
	s.mapFile("one more", enomem, 1, free, page, 0, rd)
	s.load("one of them", wordOf(0, 8), mapped+0x2000*5000+8)
	s.call("give one back", 0, callUnmap, mapped+0x2000*5000, page)
	s.mapFile("one more", 0, 1, free, page, page, rd)
	s.mapFile("one more", enomem, 1, free+page, page, 0, rd)
	s.load("it", wordOf(0, page), free)
	s.call("give all back", 0, callUnmap, mapped, 0x4000_0000)
	s.mapFile("many again", 0, 1, mapped, pages9, 0, rd)
	s.load("read", wordOf(0, 3*page), mapped+3*page)
	s.run(t, cfg)
}
