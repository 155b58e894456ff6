package build

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/u-root/u-root/pkg/cpio"

	"github.com/pvrun/pvrun"
	"github.com/pvrun/pvrun/hypercall"
)

// TestImageLayout reads an image back with debug/elf.
func TestImageLayout(t *testing.T) {
	cfg := testConfig(t, writeFiles(t, hello(nil)))
	cfg.RootFS = writeFiles(t, map[string]string{"etc/motd": "welcome\n"})
	image := mustBuild(t, cfg).Image
	f, err := elf.Open(image)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var note, archive *elf.Prog
	for _, p := range f.Progs {
		switch {
		case p.Type == elf.PT_NOTE && p.Vaddr == 0:
			note = p
		case p.Type == hypercall.PTRootFS:
			archive = p
		case p.Type == elf.PT_PHDR && p.Filesz != uint64(len(f.Progs))*56:
			t.Errorf("PT_PHDR spans %d bytes of %d headers", p.Filesz, len(f.Progs))
		}
	}
	if note == nil || archive == nil {
		t.Fatal("a program header is missing")
	}
	if archive.Off%hypercall.PageSize != 0 || archive.Vaddr != 0 || archive.Memsz != 0 {
		t.Errorf("archive: %+v", archive.ProgHeader)
	}
	packed, err := PackRootFS(cfg.RootFS)
	if err != nil {
		t.Fatal(err)
	}
	if got := readAll(t, archive); !bytes.Equal(got, packed) {
		t.Error("the archive differs from PackRootFS")
	}
	checkNote(t, readAll(t, note))
}

func readAll(t *testing.T, p *elf.Prog) []byte {
	t.Helper()
	b, err := io.ReadAll(p.Open())
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func checkNote(t *testing.T, b []byte) {
	t.Helper()
	le := binary.LittleEndian
	if le.Uint32(b) != 6 || le.Uint32(b[8:]) != hypercall.NoteType || string(b[12:20]) != "pvrun\x00\x00\x00" {
		t.Errorf("note begins with %q", b[:20])
	}
	desc := b[20 : 20+le.Uint32(b[4:])]
	var n hypercall.Note
	if err := binary.Read(bytes.NewReader(desc), le, &n); err != nil {
		t.Fatal(err)
	}
	if n.ABIVersion != hypercall.Version || n.Required != hypercall.FeatureConsole || n.Usable&n.Required != n.Required {
		t.Errorf("note: %+v", n)
	}
	text := desc[24:]
	if len(text) != int(n.ManifestLen) || strings.Contains(string(text), os.TempDir()) {
		t.Errorf("manifest of %d bytes: %s", n.ManifestLen, text)
	}
	var m Manifest
	if err := json.Unmarshal(text, &m); err != nil {
		t.Fatal(err)
	}
	if m.Format != 1 || m.Pvrun != pvrun.Version || m.Package != "example.com/hello" || m.Module != "example.com/hello" ||
		!supported(m.Go) || m.RootFS == nil || m.RootFS.Files != 2 || len(m.RootFS.SHA256) != 64 {
		t.Errorf("manifest: %s", text)
	}
}

// TestNoRoom refuses programs whose headers cannot grow.
func TestNoRoom(t *testing.T) {
	name := filepath.Join(t.TempDir(), "program")
	e := elfFile{
		head:  elf.Header64{Phoff: 64, Phnum: 1, Shoff: 4096},
		progs: make([]elf.Prog64, 2),
	}
	var err error
	if e.f, err = os.Create(name); err != nil {
		t.Fatal(err)
	}
	defer e.f.Close()
	if err := e.f.Truncate(8192); err != nil {
		t.Fatal(err)
	}
	if err := e.checkRoom(); err != nil {
		t.Errorf("free room: %v", err)
	}
	e.sects = []elf.Section64{{Type: uint32(elf.SHT_PROGBITS), Off: 170, Size: 10}}
	if err := e.checkRoom(); err == nil {
		t.Error("no error for a section in the way")
	}
	e.sects = nil
	if _, err := e.f.WriteAt([]byte{1}, 64+56+55); err != nil {
		t.Fatal(err)
	}
	if err := e.checkRoom(); err == nil {
		t.Error("no error for bytes in the way")
	}
}

func TestPackRootFS(t *testing.T) {
	dir := writeFiles(t, map[string]string{"b/c": "text", "a": "", "link->": "/b/c", "b/dangling->": "none"})
	if err := os.Link(filepath.Join(dir, "b/c"), filepath.Join(dir, "b/hard")); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(filepath.Join(dir, "a"), 0o750|os.ModeSetuid); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mkfifo(filepath.Join(dir, "fifo"), 0o600); err != nil {
		t.Fatal(err)
	}
	packed, err := PackRootFS(dir)
	if err != nil {
		t.Fatal(err)
	}
	var got strings.Builder
	err = cpio.ForEachRecord(cpio.Newc.Reader(bytes.NewReader(packed)), func(r cpio.Record) error {
		text, err := io.ReadAll(io.NewSectionReader(r, 0, int64(r.FileSize)))
		got.WriteString(strings.Join([]string{r.Name, cpio.LSInfoFromRecord(r).Mode.String(), string(text)}, " ") + "\n")
		if r.MTime != 0 || r.UID != 0 || r.GID != 0 || r.Dev != 0 || r.NLink != 1 {
			t.Errorf("%s depends on the disk: %v", r.Name, r.Info)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	want := `a urwxr-x--- 
b drwxr-xr-x 
b/c -rw-r--r-- text
b/dangling Lrwxrwxrwx none
b/hard -rw-r--r-- text
fifo prw------- 
link Lrwxrwxrwx /b/c
`
	if got.String() != want {
		t.Errorf("got\n%swant\n%s", got.String(), want)
	}
}

func TestPackSocket(t *testing.T) {
	dir := t.TempDir()
	fd, err := syscall.Socket(syscall.AF_UNIX, syscall.SOCK_STREAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer syscall.Close(fd)
	if err := syscall.Bind(fd, &syscall.SockaddrUnix{Name: filepath.Join(dir, "s")}); err != nil {
		t.Fatal(err)
	}
	if _, err := PackRootFS(dir); err == nil || !strings.Contains(err.Error(), "s: a socket cannot be packed") {
		t.Errorf("got %v", err)
	}
}
