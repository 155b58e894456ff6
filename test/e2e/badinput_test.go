package e2e

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"github.com/pvrun/pvrun/hypercall"
	"github.com/pvrun/pvrun/internal/need"
)

// file is an image whose headers can be changed in place.
type file []byte

const phdrSize = 56

// header returns the nth program header of a type.
func (f file) header(typ uint32, n int) []byte {
	le := binary.LittleEndian
	at, count := int(le.Uint64(f[32:])), int(le.Uint16(f[56:]))
	for i := range count {
		h := f[at+i*phdrSize : at+(i+1)*phdrSize]
		if le.Uint32(h) == typ {
			if n == 0 {
				return h
			}
			n--
		}
	}
	panic("no such program header")
}

func (f file) load(n int) []byte { return f.header(uint32(elf.PT_LOAD), n) }

// note returns the descriptor of pvrun's note.
func (f file) note() []byte {
	name := []byte(hypercall.NoteName + "\x00")
	at := bytes.LastIndex(f, append([]byte{byte(hypercall.NoteType), 0, 0, 0}, name...))
	return f[at+4+(len(name)+3)&^3:]
}

func put32(b []byte, v uint32) { binary.LittleEndian.PutUint32(b, v) }
func put64(b []byte, v uint64) { binary.LittleEndian.PutUint64(b, v) }

// Offsets in an ELF program header (elf(5)).
const (
	pFlags  = 4
	pOffset = 8
	pVaddr  = 16
	pFilesz = 32
	pMemsz  = 40
)

// badImages change a good image into one that must not run. A nil result of
// change is the changed file itself.
var badImages = []struct {
	name   string
	change func(f file) []byte
}{
	{"empty", func(f file) []byte { return []byte{} }},
	{"one byte", func(f file) []byte { return f[:1] }},
	{"text", func(f file) []byte { return []byte("#!/bin/sh\necho hello\n") }},
	{"zeros", func(f file) []byte { return make([]byte, 100_000) }},
	{"cut in the magic", func(f file) []byte { return f[:3] }},
	{"cut in the ELF header", func(f file) []byte { return f[:40] }},
	{"cut in the program headers", func(f file) []byte { return f[:64+phdrSize+20] }},
	{"cut in the text", func(f file) []byte { return f[:5000] }},
	{"cut in the middle", func(f file) []byte { return f[:len(f)/2] }},
	{"cut before the note", func(f file) []byte {
		return f[:binary.LittleEndian.Uint64(f.header(uint32(elf.PT_NOTE), f.notes()-1)[pOffset:])+8]
	}},
	{"32 bits", func(f file) []byte { f[4] = 1; return nil }},
	{"big endian", func(f file) []byte { f[5] = 2; return nil }},
	{"arm64", func(f file) []byte { binary.LittleEndian.PutUint16(f[18:], uint16(elf.EM_AARCH64)); return nil }},
	{"shared object", func(f file) []byte { binary.LittleEndian.PutUint16(f[16:], uint16(elf.ET_DYN)); return nil }},
	{"no program headers", func(f file) []byte { binary.LittleEndian.PutUint16(f[56:], 0); return nil }},
	{"65535 program headers", func(f file) []byte { binary.LittleEndian.PutUint16(f[56:], 65535); return nil }},
	{"program headers elsewhere", func(f file) []byte { put64(f[32:], 1<<63); return nil }},
	{"program headers of another size", func(f file) []byte { binary.LittleEndian.PutUint16(f[54:], 32); return nil }},
	{"no note", func(f file) []byte { put32(f.header(uint32(elf.PT_NOTE), f.notes()-1), 0); return nil }},
	{"note of another name", func(f file) []byte { copy(f[bytes.LastIndex(f, []byte("pvrun\x00\x00\x00")):], "other"); return nil }},
	{"ABI version 0", func(f file) []byte { put32(f.note(), 0); return nil }},
	{"next ABI version", func(f file) []byte { put32(f.note(), hypercall.Version+1); return nil }},
	{"manifest too long", func(f file) []byte { put32(f.note()[4:], 1<<31); return nil }},
	{"feature that no host has", func(f file) []byte { put64(f.note()[8:], uint64(hypercall.FeatureJIT)); return nil }},
	{"feature of the future", func(f file) []byte { put64(f.note()[8:], 1<<63); return nil }},
	{"overlapping segments", func(f file) []byte { copy(f.load(1)[pVaddr:pVaddr+8], f.load(0)[pVaddr:]); return nil }},
	{"segments that share a page", func(f file) []byte { put64(f.load(0)[pMemsz:], end(f.load(1))); return nil }},
	{"huge segment", func(f file) []byte { put64(f.load(2)[pMemsz:], 1<<46); return nil }},
	{"segment of all memory", func(f file) []byte { put64(f.load(2)[pMemsz:], 1<<64-1); return nil }},
	{"negative file size", func(f file) []byte { put64(f.load(2)[pFilesz:], 1<<64-4096); return nil }},
	{"negative offset", func(f file) []byte { put64(f.load(2)[pOffset:], 1<<64-4096); return nil }},
	{"more in the file than in memory", func(f file) []byte { put64(f.load(0)[pMemsz:], 1); return nil }},
	{"segment at 0", func(f file) []byte { put64(f.load(0)[pVaddr:], 0); return nil }},
	{"segment over the hypercall page", func(f file) []byte { put64(f.load(0)[pVaddr:], uint64(hypercall.HypercallGVA)); return nil }},
	{"segment in the kernel's half", func(f file) []byte { put64(f.load(0)[pVaddr:], 0xffff_8000_0000_0000); return nil }},
	{"segment not on a page", func(f file) []byte { put64(f.load(0)[pVaddr:], 0x40_0010); return nil }},
	{"writable and executable", func(f file) []byte { put32(f.load(0)[pFlags:], uint32(elf.PF_R|elf.PF_W|elf.PF_X)); return nil }},
	{"all segments writable and executable", func(f file) []byte {
		for i := range 3 {
			put32(f.load(i)[pFlags:], uint32(elf.PF_R|elf.PF_W|elf.PF_X))
		}
		return nil
	}},
	{"entry point at 0", func(f file) []byte { put64(f[24:], 0); return nil }},
	{"entry point in data", func(f file) []byte { copy(f[24:32], f.load(2)[pVaddr:pVaddr+8]); return nil }},
	{"root file system past the end", func(f file) []byte { put64(f.header(hypercall.PTRootFS, 0)[pFilesz:], 1<<40); return nil }},
	{"two root file systems", func(f file) []byte {
		copy(f.header(uint32(elf.PT_GNU_STACK), 0), f.header(hypercall.PTRootFS, 0))
		return nil
	}},
}

// end is where a segment's memory ends, counted from 4 MiB, in bytes.
func end(h []byte) uint64 {
	return binary.LittleEndian.Uint64(h[pVaddr:]) + 1 - 0x40_0000
}

// notes is the number of note headers.
func (f file) notes() (n int) {
	le := binary.LittleEndian
	at := int(le.Uint64(f[32:]))
	for i := range int(le.Uint16(f[56:])) {
		if le.Uint32(f[at+i*phdrSize:]) == uint32(elf.PT_NOTE) {
			n++
		}
	}
	return n
}

// transcript is what a golden file of outcomes is made of.
type transcript struct {
	strings.Builder
	hide []string // old, new pairs
}

func (tr *transcript) add(name string, o outcome) {
	text := strings.NewReplacer(tr.hide...).Replace(o.stdout + o.stderr)
	text = long.ReplaceAllString(text, "N")
	fmt.Fprintf(tr, "# %s: %d\n%s", name, o.code, text)
	if !strings.HasSuffix(text, "\n") {
		tr.WriteString("(no line break)\n")
	}
}

// sizes hides what of an image's layout changes with every build of it.
func sizes(f file) (hide []string) {
	for i := range 3 {
		hide = append(hide, fmt.Sprintf("%#x", binary.LittleEndian.Uint64(f.load(i)[pMemsz:])), fmt.Sprintf("MEMSIZE%d", i))
		if i > 0 {
			hide = append(hide, fmt.Sprintf("%#x", binary.LittleEndian.Uint64(f.load(i)[pVaddr:])), fmt.Sprintf("ADDR%d", i))
		}
	}
	return hide
}

// long are numbers of which only their being there matters.
var long = regexp.MustCompile(`\b\d{5,}\b`)

// oneLine reports an outcome that is not one clear line of pvrun's.
func oneLine(t *testing.T, name string, o outcome, code int) {
	t.Helper()
	if o.code != code {
		t.Errorf("%s: exit code: got %d, want %d", name, o.code, code)
	}
	if o.stdout != "" || !strings.HasPrefix(o.stderr, "pvrun: ") || strings.Count(o.stderr, "\n") != 1 || len(o.stderr) > 300 {
		t.Errorf("%s: got stdout %q, stderr %q, want one line", name, o.stdout, o.stderr)
	}
}

func TestBadImages(t *testing.T) {
	t.Parallel()
	need.KVM(t)
	good, err := os.ReadFile(built(t, script.image))
	if err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(t.TempDir(), "bad.img")
	tr := transcript{hide: append(sizes(good), name, "bad.img")}
	for _, bad := range badImages {
		f := file(bytes.Clone(good))
		if text := bad.change(f); text != nil {
			f = text
		}
		if err := os.WriteFile(name, f, 0o644); err != nil {
			t.Fatal(err)
		}
		need.Count(1)
		got := finish(t, command("run", "--timeout", "10s", name))
		oneLine(t, bad.name, got, 125)
		tr.add(bad.name, got)
		for _, args := range [][]string{{"inspect", name}, {"inspect", "--sensitive", "--strict", name}} {
			if got := finish(t, command(args...)); got.code != 0 && got.code != 1 {
				t.Errorf("%q %s: got %+v", args, bad.name, got)
			}
		}
	}
	golden(t, "bad-images", tr.String())
}

// A program of this machine's own is an ELF file, too.
func TestNativeProgram(t *testing.T) {
	t.Parallel()
	got := finish(t, command("run", built(t, hello.native)))
	oneLine(t, "native", got, 125)
	if !strings.Contains(got.stderr, "no pvrun note") {
		t.Errorf("got %q", got.stderr)
	}
}

func TestBadCommandLines(t *testing.T) {
	t.Parallel()
	need.KVM(t)
	image := built(t, hello.image)
	dir := write(t, map[string]string{"file": "x", "env": "A=1\n=2\n", "noread/x": ""})
	tests := []struct {
		code int
		line string
		more bool // the program's output or go's message comes before
	}{
		{2, "frobnicate", false},
		{2, "--frobnicate", false},
		{125, "run", false},
		{125, "run --frobnicate IMAGE", false},
		{125, "run -x IMAGE", false},
		{125, "run -m", false},
		{125, "run -m lots IMAGE", false},
		{125, "run -m -1 IMAGE", false},
		{125, "run -m 0 IMAGE", false},
		{125, "run -m 64x IMAGE", false},
		{125, "run -m 99999999999g IMAGE", false},
		{125, "run -m 2000g IMAGE", false},
		{125, "run -m 1k IMAGE", false},
		{125, "run -m 1000001 IMAGE", false},
		{125, "run -m 1m IMAGE", false},
		{125, "run --timeout soon IMAGE", false},
		{125, "run --timeout -1s IMAGE", false},
		{125, "run -e =x IMAGE", false},
		{125, "run --env-file DIR/none IMAGE", false},
		{125, "run --env-file DIR/env IMAGE", false},
		{125, "run --rootfs DIR/none IMAGE", false},
		{125, "run --rootfs DIR/file IMAGE", false},
		{125, "run --stats DIR/none/s.json IMAGE", false},
		{127, "run DIR/none.img", false},
		{127, "run ./none", false},
		{127, "run none.go", false},
		{127, "run example.com/none", true},
		{125, "run DIR/noread", true},
		{2, "build --frobnicate", false},
		{2, "build -m 64m", false},
		{1, "build ./none", false},
		{1, "build DIR/file", false},
		{1, "build -o DIR/none/x PKG", false},
		{1, "build --rootfs DIR/none PKG", false},
		{1, "build PKG PKG", false},
		{2, "inspect", false},
		{2, "inspect a b", false},
		{2, "inspect -o xml IMAGE", false},
		{2, "inspect --strict IMAGE", false},
		{1, "inspect --sensitive DIR/file", false},
		{1, "inspect DIR/none", false},
		{1, "inspect DIR/file", false},
		{2, "doctor now", false},
		{2, "doctor -o xml", false},
	}
	pkg, err := filepath.Abs(filepath.Join(imagesDir, "hello"))
	if err != nil {
		t.Fatal(err)
	}
	tr := transcript{hide: []string{dir, "DIR", image, "IMAGE", pkg, "PKG"}}
	for _, test := range tests {
		line := strings.NewReplacer("DIR", dir, "IMAGE", image, "PKG", pkg).Replace(test.line)
		got := finish(t, command(strings.Fields(line)...))
		if test.more {
			got.stdout, got.stderr = "", got.stderr[max(0, strings.LastIndex(got.stderr, "pvrun: ")):]
		}
		oneLine(t, test.line, got, test.code)
		tr.add(test.line, got)
	}
	golden(t, "bad-command-lines", tr.String())
}

// Memory that holds the image but not the program ends it with Go's message,
// and no size in between does anything worse.
func TestSmallMemory(t *testing.T) {
	t.Parallel()
	eachMode(t, func(t *testing.T, mode string) {
		for _, size := range []string{"1m", "2m", "3m", "4m", "5m", "6m", "7m", "8m", "10m", "12m", "16m"} {
			got := run(t, hello, in(mode, "-m", size))
			switch {
			case got.code == 0 && got.stdout == "hello from a unikernel\n" && got.stderr == "":
			case got.code == 125 && strings.Contains(got.stderr, "not enough memory") && strings.Count(got.stderr, "\n") == 1:
			case got.code == 2 && strings.Contains(got.stderr, "out of memory"):
			case got.code == 2 && strings.Contains(got.stderr, "cannot allocate"):
			case got.code == 139 && strings.Contains(got.stderr, "out of memory"): // none was left for the traceback either
			default:
				t.Errorf("-m %s: got code %d, stdout %q, stderr %.300q", size, got.code, got.stdout, got.stderr)
			}
		}
	})
}

// Packages that cannot be images. Go's own message comes whole.
func TestBadPackages(t *testing.T) {
	t.Parallel()
	need.KVM(t)
	const mod = "module example.com/bad\n\ngo 1.26\n"
	tests := []struct {
		name, source string
		files        map[string]string
	}{
		{"cgo", "package main\n\n// int f(void) { return 1; }\nimport \"C\"\n\nfunc main() { println(C.f()) }\n", nil},
		{"cgo in a package", "package main\n\nimport \"example.com/bad/c\"\n\nfunc main() { println(c.F()) }\n",
			map[string]string{"c/c.go": "package c\n\n// int f(void) { return 1; }\nimport \"C\"\n\nfunc F() int { return int(C.f()) }\n"}},
		{"does not compile", "package main\n\nimport \"os\"\n\nfunc main() {\n\tx := undefined(1)\n\treturn \"y\"\n}\n", nil},
		{"does not parse", "package main\n\nfunc main( {\n", nil},
		{"not main", "package other\n\nfunc F() {}\n", nil},
		{"no main", "package main\n\nfunc F() {}\n", nil},
		{"no such import", "package main\n\nimport \"example.com/bad/none\"\n\nfunc main() { none.F() }\n", nil},
		{"assembly that does not assemble", "package main\n\nfunc f()\n\nfunc main() { f() }\n",
			map[string]string{"f_amd64.s": "TEXT ·f(SB), 4, $0\n\tFROB AX\n\tRET\n"}},
		{"tests only", "", map[string]string{"x_test.go": "package main\n"}},
		{"nothing", "", nil},
	}
	tr := transcript{}
	for _, test := range tests {
		files := map[string]string{"go.mod": mod}
		if test.source != "" {
			files["main.go"] = test.source
		}
		for name, text := range test.files {
			files[name] = text
		}
		dir := write(t, files)
		tr.hide = []string{dir, "DIR"}
		for _, verb := range []string{"run", "build"} {
			cmd := command(verb, ".")
			cmd.Dir = dir
			got := finish(t, cmd)
			want := map[string]int{"run": 125, "build": 1}[verb]
			if got.code != want || got.stdout != "" || !strings.Contains(got.stderr, "pvrun: ") {
				t.Errorf("%s %s: got %+v, want code %d", verb, test.name, got, want)
			}
			if verb == "run" {
				tr.add(test.name, got)
			}
		}
		if test.name == "does not compile" {
			goOwn := exec.Command("go", "build", "-o", os.DevNull, ".")
			goOwn.Dir = dir
			text, _ := goOwn.CombinedOutput()
			cmd := command("build", ".")
			cmd.Dir = dir
			if got := finish(t, cmd); !strings.Contains(got.stderr, string(text)) {
				t.Errorf("got %q, want go's own message in it: %q", got.stderr, text)
			}
		}
	}
	golden(t, "bad-packages", tr.String())
}

func TestNoGoCommand(t *testing.T) {
	t.Parallel()
	need.KVM(t)
	image := built(t, hello.image)
	cmd := command("run", "../../images/hello")
	cmd.Env = append(cmd.Env, "PATH="+t.TempDir())
	got := finish(t, cmd)
	oneLine(t, "package", got, 125)
	if !strings.Contains(got.stderr, "no go command") {
		t.Errorf("got %q", got.stderr)
	}
	need.Count(1)
	cmd = command("run", image) // needs none
	cmd.Env = append(cmd.Env, "PATH="+t.TempDir())
	wants(t, finish(t, cmd), 0, "hello from a unikernel\n", "")
}

// The host may lack the device, the right to it, or what stands behind it.
// Each is made in a mount namespace of its own, which takes root.
func TestNoKVM(t *testing.T) {
	t.Parallel()
	image := built(t, hello.image)
	tests := []struct{ name, prepare, want string }{
		{"another engine", "rm /dev/kvm", "behind seccomp alone"},
		{"no device", "rm /dev/kvm", "no such file or directory"},
		{"no permission", "chmod 000 /dev/kvm", "permission denied"},
		{"not a KVM", "rm /dev/kvm; mknod /dev/kvm c 1 3; chmod 666 /dev/kvm", "KVM is not available"},
		{"nothing behind it", "rm /dev/kvm; mknod /dev/kvm c 10 250; chmod 666 /dev/kvm", "/dev/kvm"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			engine := "kvm"
			if test.name == "another engine" {
				engine = "auto"
			}
			// Not t.Parallel: the namespaces are quick, and mounting is global work.
			const mount = `mount -t tmpfs -o mode=755 none /dev && mknod /dev/null c 1 3 && chmod 666 /dev/null && mknod /dev/kvm c 10 232 && chmod 666 /dev/kvm && `
			cmd := exec.Command("/bin/sh", "-c", mount+test.prepare+` && exec setpriv --reuid=65534 --regid=65534 --clear-groups "$0" "$@"`,
				pvrun, "run", "--engine", engine, image)
			cmd.Dir = "/"
			cmd.SysProcAttr = &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNS}
			var stdout, stderr bytes.Buffer
			cmd.Stdout, cmd.Stderr = &stdout, &stderr
			err := cmd.Run()
			if cmd.ProcessState == nil || strings.Contains(stderr.String(), "mount:") ||
				strings.Contains(stderr.String(), "mknod:") || strings.Contains(stderr.String(), "setpriv:") {
				t.Skipf("this takes root and a mount namespace: %v %s", err, stderr.String())
			}
			got := outcome{stdout.String(), stderr.String(), shellCode(cmd.ProcessState)}
			if engine == "auto" {
				wants(t, got, 0, "hello from a unikernel\n", test.want)
				return
			}
			oneLine(t, test.name, got, 125)
			if !strings.Contains(got.stderr, test.want) {
				t.Errorf("got %q, want %q in it", got.stderr, test.want)
			}
		})
	}
}

// A machine larger than what the process may have.
func TestNoHostMemory(t *testing.T) {
	t.Parallel()
	need.KVM(t)
	cmd := exec.Command("/bin/sh", "-c", `ulimit -v 100000000; exec "$0" "$@"`,
		pvrun, "run", "-m", "900g", built(t, hello.image))
	got := finish(t, cmd)
	oneLine(t, "ulimit", got, 125)
	if !strings.Contains(got.stderr, "memory") {
		t.Errorf("got %q", got.stderr)
	}
}

// A guest that is broken outside Go: registers, code 126. What each mode cannot
// go on from is its own.
func TestGuestFault(t *testing.T) {
	t.Parallel()
	eachMode(t, func(t *testing.T, mode string) {
		got := run(t, cases, in(mode), map[string]string{"pv": "crash", "trap": "halt"}[mode])
		if got.code != 126 || !strings.HasPrefix(got.stderr, "pvrun: guest fault: ") || !strings.Contains(got.stderr, "rip") {
			t.Errorf("got %+v", got)
		}
	})
}
