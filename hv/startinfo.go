package hv

import (
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"path"
	"slices"
	"strings"

	"github.com/pvrun/pvrun/hypercall"
	"golang.org/x/sys/unix"
)

// startInfo is the host's copy of the start-info page and its strings.
type startInfo struct {
	info  hypercall.StartInfo
	blob  []byte // the strings, as they follow the structure
	frame frame
}

// end is where the guest finds what is appended next.
func (s *startInfo) end() hypercall.GVA {
	return hypercall.StartInfoGVA + hypercall.GVA(len(bytesOf(&s.info))+len(s.blob))
}

// add appends a string and returns where the guest finds it.
func (s *startInfo) add(text string) hypercall.Extent {
	at := s.end()
	s.blob = append(s.blob, text...)
	s.blob = append(s.blob, 0)
	return hypercall.Extent{Addr: at, Len: uint64(len(text))}
}

// addName appends a string that a clone may have another in place of.
func (s *startInfo) addName(name string) hypercall.Extent {
	e := s.add(name)
	s.blob = append(s.blob, make([]byte, max(0, maxHostname-len(name)))...)
	return e
}

// addAll appends strings one after the other.
func (s *startInfo) addAll(list []string) hypercall.Extent {
	e := hypercall.Extent{Addr: s.end()}
	for _, text := range list {
		e.Len += s.add(text).Len + 1
	}
	return e
}

// addRecords appends structures, on a multiple of 8.
func (s *startInfo) addRecords(records []byte) hypercall.Extent {
	for len(s.blob)%8 != 0 {
		s.blob = append(s.blob, 0)
	}
	e := hypercall.Extent{Addr: s.end(), Len: uint64(len(records))}
	s.blob = append(s.blob, records...)
	return e
}

func (vm *VM) loadStartInfo() error {
	s, cfg := &vm.start, &vm.cfg
	s.info.Magic, s.info.Version, s.info.Mode = hypercall.StartMagic, hypercall.Version, cfg.Mode
	s.info.Features, s.info.MemBytes, s.info.VCPUs = offered(cfg.Mode), uint64(cfg.Memory), 1
	s.info.ImageEnd = vm.img.Segments[len(vm.img.Segments)-1].End()
	s.info.Args, s.info.ArgCount = s.addAll(cfg.Args), uint32(len(cfg.Args))
	s.info.Env, s.info.EnvCount = s.addAll(cfg.Env), uint32(len(cfg.Env))
	s.info.Dir = s.add(orDefault(cfg.Dir, "/"))
	s.info.Hostname = s.addName(orDefault(cfg.Hostname, defaultHostname))
	vm.describeConsole()
	if err := vm.describeShares(); err != nil {
		return err
	}
	if cfg.Mode != hypercall.ModeTrap {
		s.info.Ready, s.info.ReadyPort = cfg.Ready, uint32(cfg.ReadyPort)
		s.info.ServicePort = uint32(cfg.ServicePort)
	}
	vm.describeDisks()
	vm.describeNICs()
	if len(s.blob) > hypercall.MaxStartInfo-pageSize {
		return fmt.Errorf("arguments and environment of %d bytes: %w", len(s.blob), unix.E2BIG)
	}
	rand.Read(s.info.InstanceID[:])
	if err := vm.renewStartInfo(); err != nil {
		return err
	}
	first, b, err := vm.place(hypercall.StartInfoGVA, int64(len(bytesOf(&s.info))+len(s.blob)), pteNX)
	if err != nil {
		return err
	}
	s.frame = first
	s.info.FreeBytes = uint64(vm.boot.mem.left) << pageShift
	if cfg.Mode == hypercall.ModeTrap {
		s.info.FreeFrom = hypercall.GPA(vm.boot.mem.total-vm.boot.mem.left) << pageShift
	}
	copy(b, bytesOf(&s.info))
	copy(b[len(bytesOf(&s.info)):], s.blob)
	return nil
}

// renewStartInfo makes the parts fresh that no two lives may share.
func (vm *VM) renewStartInfo() error {
	if _, err := rand.Read(vm.start.info.Entropy[:]); err != nil {
		return errors.New("no entropy")
	}
	return nil
}

func (vm *VM) describeConsole() {
	info := &vm.start.info
	info.Console, info.Rows, info.Cols = 0, 0, 0 // a clone has not the snapshot's
	for i, s := range []any{vm.cfg.Stdin, vm.cfg.Stdout, vm.cfg.Stderr} {
		f, ok := s.(*os.File)
		if !ok {
			continue
		}
		withFD(f, func(fd int) {
			if _, err := unix.IoctlGetTermios(fd, unix.TCGETS); err != nil {
				return
			}
			info.Console |= 1 << i
			if ws, err := unix.IoctlGetWinsize(fd, unix.TIOCGWINSZ); err == nil {
				info.Rows, info.Cols = ws.Row, ws.Col
			}
		})
	}
}

// describeShares tells of the shared folders in the order of the configuration.
func (vm *VM) describeShares() error {
	s := &vm.start
	var records []byte
	for i, share := range vm.cfg.Shares {
		if err := share.check(vm.cfg.Shares[:i]); err != nil {
			return &HostError{"share " + share.Guest, err}
		}
		r := hypercall.Share{Path: s.add(path.Clean(share.Guest))}
		if share.Writable {
			r.Flags = hypercall.ShareWritable
		}
		records = append(records, bytesOf(&r)...)
	}
	s.info.Shares = s.addRecords(records)
	s.info.ShareCount = uint32(len(vm.cfg.Shares))
	return nil
}

// check finds what is wrong with a share that comes after others.
func (s *Share) check(others []Share) error {
	clean := path.Clean(s.Guest)
	same := func(o Share) bool { return path.Clean(o.Guest) == clean }
	switch {
	case s.Root == nil:
		return errors.New("no folder")
	case clean[0] != '/' || clean == "/":
		return errors.New("must be an absolute path and not the root")
	case strings.ContainsRune(clean, 0) || len(clean) >= hypercall.MaxPath:
		return errors.New("no path")
	case slices.ContainsFunc(others, same):
		return errors.New("another folder is there")
	}
	return nil
}

func orDefault(s, d string) string {
	if s == "" {
		return d
	}
	return s
}
