package build

import (
	"cmp"
	"debug/elf"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"

	"github.com/pvrun/pvrun/internal/image"
	"github.com/pvrun/pvrun/internal/sensitive"
)

// SensitiveInfo is what the text of an image has for a CPU that is not real.
type SensitiveInfo struct {
	Sites []SensitiveSite `json:"sites"`
	// Bytes are those that look like sensitive instructions and are not
	// executed as such unless something jumps into the middle of another one.
	Bytes []SensitiveBytes `json:"bytes"`
	// Undecoded is where no instruction is in the way from a function's
	// beginning to its end. What is there has not been looked at.
	Undecoded []Place `json:"undecoded"`
}

// Place is an address in the text, and what the Go toolchain says of it.
type Place struct {
	Addr string `json:"addr"` // hexadecimal
	Func string `json:"func,omitempty"`
	File string `json:"file,omitempty"`
	Line int    `json:"line,omitempty"`
}

// SensitiveSite is a sensitive instruction.
type SensitiveSite struct {
	Place
	Class sensitive.Class `json:"class"`
	Name  string          `json:"name"`
	Code  string          `json:"code"`  // hexadecimal
	Modes []string        `json:"modes"` // that are meant to execute it
	Door  Door            `json:"door"`  // why; "" for no reason that is known
}

// SensitiveBytes are the places that look like one instruction.
type SensitiveBytes struct {
	Class sensitive.Class `json:"class"`
	Name  string          `json:"name"`
	Count int             `json:"count"`
	Addrs []string        `json:"addrs"` // hexadecimal; the first ones when they are many
}

// maxListed bounds the addresses in all SensitiveBytes of an image.
const maxListed = 1 << 16

// Outside counts the privileged, sensitive unprivileged and SYSCALL
// instructions behind no known door, and the places that are not decoded.
func (info *SensitiveInfo) Outside() int {
	n := len(info.Undecoded)
	for _, s := range info.Sites {
		if s.Door == DoorNone {
			n++
		}
	}
	return n
}

// InspectSensitive finds the sensitive instructions of an image. The file may
// come from anywhere; without Go's tables in it, instructions are decoded from
// the beginning of each segment, and have no names.
func InspectSensitive(path string) (SensitiveInfo, error) {
	info, err := inspectSensitive(path)
	if err != nil {
		return SensitiveInfo{}, fmt.Errorf("inspect %s: %w", path, cause(err))
	}
	return info, nil
}

func inspectSensitive(path string) (info SensitiveInfo, err error) {
	f, err := os.Open(path)
	if err != nil {
		return info, err
	}
	defer f.Close()
	img, size, err := parseImage(f)
	if err != nil {
		return info, err
	}
	s := scan{
		starts: sensitive.Functions(f, size), names: readNames(f),
		sites: []SensitiveSite{}, bytes: map[string]*SensitiveBytes{}, bad: []Place{},
	}
	for _, seg := range img.Segments {
		if seg.Perm&image.PermX == 0 {
			continue
		}
		code := make([]byte, seg.FileSize)
		if _, err := io.ReadFull(io.NewSectionReader(f, seg.Offset, int64(seg.FileSize)), code); err != nil {
			return info, err
		}
		if err := s.segment(code, uint64(seg.Addr)); err != nil {
			return info, err
		}
	}
	return s.info(), nil
}

// parseImage parses a regular file.
func parseImage(f *os.File) (*image.Image, int64, error) {
	st, err := f.Stat()
	if err != nil {
		return nil, 0, err
	}
	if !st.Mode().IsRegular() {
		return nil, 0, errors.New("not a regular file")
	}
	img, err := image.Parse(f, st.Size())
	return img, st.Size(), err
}

// readNames reads the functions' names; nil if there are none.
func readNames(f *os.File) *program {
	e, err := elf.NewFile(f)
	if err != nil {
		return nil
	}
	p, err := readProgram(e)
	if err != nil {
		return nil
	}
	return p
}

// scan collects what an image's segments have.
type scan struct {
	starts []uint64
	names  *program // nil for none
	sites  []SensitiveSite
	bytes  map[string]*SensitiveBytes // by name
	listed int
	bad    []Place
}

func (s *scan) segment(code []byte, addr uint64) error {
	decoded := map[uint64]bool{} // opcodes
	for site := range sensitive.Sites(code, addr, s.starts) {
		if len(s.sites) == sensitive.MaxPatches {
			return sensitive.ErrTooMany
		}
		decoded[site.Opcode()] = true
		s.sites = append(s.sites, s.describe(&site))
	}
	for site := range sensitive.Bytes(code, addr) {
		if !decoded[site.Opcode()] {
			s.count(&site)
		}
	}
	for at := range sensitive.Undecoded(code, addr, s.starts) {
		if p := s.place(at); !isData(p.Func) && len(s.bad) < maxListed {
			s.bad = append(s.bad, p)
		}
	}
	return nil
}

func (s *scan) describe(site *sensitive.Site) SensitiveSite {
	out := SensitiveSite{Place: s.place(site.Addr), Class: site.Class, Name: site.Name, Code: fmt.Sprintf("%x", site.Code())}
	out.Door, out.Modes = door(out)
	return out
}

// place says what is at addr.
func (s *scan) place(addr uint64) Place {
	p := Place{Addr: hex(addr)}
	if s.names == nil {
		return p
	}
	if f := s.names.function(addr); f != nil {
		p.Func = f.Name
		p.File, p.Line, _ = s.names.table.PCToLine(addr)
	}
	return p
}

func (s *scan) count(site *sensitive.Site) {
	b := s.bytes[site.Name]
	if b == nil {
		b = &SensitiveBytes{Class: site.Class, Name: site.Name}
		s.bytes[site.Name] = b
	}
	b.Count++
	if s.listed < maxListed {
		s.listed++
		b.Addrs = append(b.Addrs, hex(site.Addr))
	}
}

// info is what has been collected, in an order that does not change.
func (s *scan) info() SensitiveInfo {
	info := SensitiveInfo{Sites: s.sites, Bytes: []SensitiveBytes{}, Undecoded: s.bad}
	for _, b := range s.bytes {
		info.Bytes = append(info.Bytes, *b)
	}
	slices.SortFunc(info.Bytes, func(a, b SensitiveBytes) int {
		return cmp.Or(cmp.Compare(a.Class, b.Class), cmp.Compare(a.Name, b.Name))
	})
	return info
}
