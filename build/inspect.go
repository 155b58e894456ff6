package build

import (
	"debug/buildinfo"
	"debug/elf"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime/debug"
	"strings"

	"github.com/u-root/u-root/pkg/cpio"

	"github.com/pvrun/pvrun/hypercall"
	"github.com/pvrun/pvrun/internal/image"
)

// Info is what an image file tells about itself.
type Info struct {
	Size     int64     `json:"size"`
	Entry    string    `json:"entry"` // hexadecimal
	Note     NoteInfo  `json:"note"`
	Manifest Manifest  `json:"manifest"`
	Segments []Segment `json:"segments"`
	RootFS   []File    `json:"rootfs"`
	Go       GoInfo    `json:"go"`
	Syscalls []Site    `json:"syscalls"`
}

// NoteInfo is the fixed part of the note.
type NoteInfo struct {
	ABI      uint32   `json:"abi"`
	Required []string `json:"required"` // features
	Usable   []string `json:"usable"`
}

// Segment is a part of the guest's memory that the image fills.
type Segment struct {
	Addr     string `json:"addr"` // hexadecimal
	MemSize  uint64 `json:"mem_size"`
	FileSize uint64 `json:"file_size"`
	Perm     string `json:"perm"` // like r-x
}

// File is an entry of the root file system.
type File struct {
	Name string `json:"name"`
	Mode string `json:"mode"` // like drwxr-xr-x
	Size int64  `json:"size"`
	Link string `json:"link,omitempty"` // of a symbolic link
}

// GoInfo is what the Go toolchain recorded.
type GoInfo struct {
	Version string   `json:"version"`
	Package string   `json:"package"`
	Modules []Module `json:"modules"` // the main module first
}

// Module is a module that the program is made of.
type Module struct {
	Path    string `json:"path"`
	Version string `json:"version"`
	Sum     string `json:"sum,omitempty"`
	Replace string `json:"replace,omitempty"` // path@version in its place
}

// Site is a place with the bytes of a SYSCALL instruction, 0F 05.
type Site struct {
	Addr string `json:"addr"` // hexadecimal
	Func string `json:"func,omitempty"`
	File string `json:"file,omitempty"`
	Line int    `json:"line,omitempty"`
	// Kind is "instruction", or "bytes" for a part of another instruction.
	Kind string `json:"kind"`
}

// Inspect reads an image. The file may come from anywhere.
func Inspect(path string) (Info, error) {
	info, err := inspect(path)
	if err != nil {
		return Info{}, fmt.Errorf("inspect %s: %w", path, cause(err))
	}
	return info, nil
}

func inspect(path string) (Info, error) {
	f, err := os.Open(path)
	if err != nil {
		return Info{}, err
	}
	defer f.Close()
	img, size, err := parseImage(f)
	if err != nil {
		return Info{}, err
	}
	info := Info{Size: size, Entry: hex(uint64(img.Entry))}
	info.addNote(img)
	if err := json.Unmarshal(img.Manifest, &info.Manifest); err != nil {
		return Info{}, fmt.Errorf("manifest: %w", err)
	}
	if info.RootFS, err = listRootFS(io.NewSectionReader(f, img.RootFS.Offset, img.RootFS.Size)); err != nil {
		return Info{}, fmt.Errorf("root file system: %w", err)
	}
	return info, errors.Join(info.addGo(f), info.addSites(f))
}

func hex(n uint64) string { return fmt.Sprintf("%#x", n) }

func (info *Info) addNote(img *image.Image) {
	info.Note = NoteInfo{img.Note.ABIVersion, features(img.Note.Required), features(img.Note.Usable)}
	for _, s := range img.Segments {
		info.Segments = append(info.Segments, Segment{hex(uint64(s.Addr)), s.MemSize, s.FileSize, s.Perm.String()})
	}
}

func features(f hypercall.Feature) []string {
	return strings.FieldsFunc(f.String(), func(r rune) bool { return r == ',' })
}

// listRootFS lists an archive; an empty one is none.
func listRootFS(r *io.SectionReader) ([]File, error) {
	list := []File{}
	if r.Size() == 0 {
		return list, nil
	}
	err := cpio.ForEachRecord(cpio.Newc.Reader(r), func(rec cpio.Record) error {
		f := File{Name: rec.Name, Mode: cpio.LSInfoFromRecord(rec).Mode.String(), Size: int64(rec.FileSize)}
		if rec.Mode&cpio.S_IFMT == cpio.S_IFLNK {
			to, err := io.ReadAll(io.NewSectionReader(rec, 0, hypercall.MaxPath))
			if err != nil {
				return err
			}
			f.Link = string(to)
		}
		list = append(list, f)
		return nil
	})
	return list, err
}

func (info *Info) addGo(f *os.File) error {
	bi, err := buildinfo.Read(f)
	if err != nil {
		return fmt.Errorf("build information: %w", err)
	}
	info.Go = GoInfo{Version: bi.GoVersion, Package: bi.Path, Modules: []Module{}}
	if bi.Main.Path != "" {
		bi.Deps = append([]*debug.Module{&bi.Main}, bi.Deps...)
	}
	for _, m := range bi.Deps {
		out := Module{Path: m.Path, Version: m.Version, Sum: m.Sum}
		if m.Replace != nil {
			out.Replace = strings.TrimSuffix(m.Replace.Path+"@"+m.Replace.Version, "@")
		}
		info.Go.Modules = append(info.Go.Modules, out)
	}
	return nil
}

func (info *Info) addSites(f *os.File) error {
	e, err := elf.NewFile(f)
	if err != nil {
		return err
	}
	p, err := readProgram(e)
	if err != nil {
		return err
	}
	info.Syscalls = []Site{}
	for _, addr := range p.hits() {
		info.Syscalls = append(info.Syscalls, p.site(addr))
	}
	return nil
}

// site describes the place addr.
func (p *program) site(addr uint64) Site {
	s := Site{Addr: hex(addr), Kind: "bytes"}
	fn := p.function(addr)
	if fn == nil {
		return s
	}
	s.Func = fn.Name
	s.File, s.Line, _ = p.table.PCToLine(addr)
	if p.isSyscall(fn, addr) {
		s.Kind = "instruction"
	}
	return s
}
