package hv

import (
	"crypto/rand"
	"errors"
	"fmt"
	"os"

	"github.com/pvrun/pvrun/hypercall"
	"golang.org/x/sys/unix"
)

// startInfo is the host's copy of the start-info page and its strings.
type startInfo struct {
	info  hypercall.StartInfo
	blob  []byte // the strings, as they follow the structure
	frame frame
}

// add appends a string and returns where the guest finds it.
func (s *startInfo) add(text string) hypercall.Extent {
	at := hypercall.StartInfoGVA + hypercall.GVA(len(bytesOf(&s.info))+len(s.blob))
	s.blob = append(s.blob, text...)
	s.blob = append(s.blob, 0)
	return hypercall.Extent{Addr: at, Len: uint64(len(text))}
}

// addAll appends strings one after the other.
func (s *startInfo) addAll(list []string) hypercall.Extent {
	e := hypercall.Extent{Addr: hypercall.StartInfoGVA + hypercall.GVA(len(bytesOf(&s.info))+len(s.blob))}
	for _, text := range list {
		e.Len += s.add(text).Len + 1
	}
	return e
}

func (vm *VM) loadStartInfo() error {
	s, cfg := &vm.start, &vm.cfg
	s.info.Magic, s.info.Version, s.info.Mode = hypercall.StartMagic, hypercall.Version, hypercall.ModePV
	s.info.Features, s.info.MemBytes, s.info.VCPUs = offered, uint64(cfg.Memory), 1
	s.info.ImageEnd = vm.img.Segments[len(vm.img.Segments)-1].End()
	s.info.Args, s.info.ArgCount = s.addAll(cfg.Args), uint32(len(cfg.Args))
	s.info.Env, s.info.EnvCount = s.addAll(cfg.Env), uint32(len(cfg.Env))
	s.info.Dir = s.add(orDefault(cfg.Dir, "/"))
	s.info.Hostname = s.add(orDefault(cfg.Hostname, "pvrun"))
	vm.describeConsole()
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
	s.info.FreeBytes = uint64(vm.mem.left) << pageShift
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

func orDefault(s, d string) string {
	if s == "" {
		return d
	}
	return s
}
