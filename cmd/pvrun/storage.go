package main

import (
	"errors"
	"runtime"
	"strings"

	"github.com/hashicorp/go-multierror"
	"github.com/spf13/pflag"

	"github.com/pvrun/pvrun/hv"
	"github.com/pvrun/pvrun/hv/disk"
	"github.com/pvrun/pvrun/internal/volume"
)

// storage is what a command line says of files that outlive the machine.
type storage struct {
	volumes mountFlags
	disks   diskFlags
	rootfs  string // a disk image or the name of a volume
}

// addFlags adds the flags; short is the short name of --volume, or none.
func (s *storage) addFlags(f *pflag.FlagSet, short string) {
	f.VarP(&s.volumes, "volume", short, "show a folder of the host, `DIR[:PATH[:ro]]`, at PATH or where DIR is, or mount a volume, NAME:PATH[:ro] (see 'pvrun volume'); may be repeated")
	f.Var(&s.disks, "disk", "attach `FILE[:ro]`, a raw image or a block device, as /dev/vda; the next as /dev/vdb, and so on")
	f.StringVar(&s.rootfs, "rootfs-disk", "", "mount the volume in `FILE` or of that NAME as root file system, read-only")
}

// diskFlag is a disk for the machine.
type diskFlag struct {
	file     string
	readOnly bool
}

// diskFlags is a flag that may be given several times.
type diskFlags []diskFlag

func (d *diskFlags) Type() string { return "disk" }

func (d *diskFlags) String() string {
	var all []string
	for _, f := range *d {
		all = append(all, f.String())
	}
	return strings.Join(all, " ")
}

func (f diskFlag) String() string {
	if f.readOnly {
		return f.file + ":ro"
	}
	return f.file
}

func (d *diskFlags) Set(text string) error {
	file, readOnly := strings.CutSuffix(text, ":ro")
	if file == "" {
		return errors.New("must be FILE[:ro]")
	}
	*d = append(*d, diskFlag{file, readOnly})
	return nil
}

// words are the flags for another pvrun, with folders and files named by abs.
func (s *storage) words(abs func(string) (string, error)) (list []string, err error) {
	for _, f := range s.volumes {
		if !f.named {
			if f.source, err = abs(f.source); err != nil {
				return nil, err
			}
		}
		list = append(list, "--volume="+f.String())
	}
	for _, f := range s.disks {
		if f.file, err = abs(f.file); err != nil {
			return nil, err
		}
		list = append(list, "--disk="+f.String())
	}
	if s.rootfs != "" {
		root := s.rootfs
		if strings.Contains(root, "/") {
			if root, err = abs(root); err != nil {
				return nil, err
			}
		}
		list = append(list, "--rootfs-disk="+root)
	}
	return list, nil
}

// attached is what a machine uses.
type attached struct {
	shares []hv.Share
	disks  []hv.Disk
}

// attach opens everything for a machine; close it after that. The disks that the
// command line names come first: they are the ones that it counts.
func (s *storage) attach(cfg *hv.Config) (*attached, error) {
	a := &attached{}
	err := a.openAll(s)
	if err != nil {
		return nil, errors.Join(err, a.close())
	}
	cfg.Shares, cfg.Disks = a.shares, a.disks
	if len(a.shares)+len(a.disks) > 0 {
		runtime.GOMAXPROCS(runtime.NumCPU() + waitingThreads)
	}
	return a, nil
}

// waitingThreads are those of a machine that Go's scheduler counts as running while
// they only wait: the one in the guest, and some with the host's files.
const waitingThreads = 1

func (a *attached) openAll(s *storage) error {
	for _, f := range s.disks {
		if err := a.openDisk(f.file, f.readOnly); err != nil {
			return err
		}
	}
	for _, f := range s.volumes {
		if !f.named {
			share, err := f.openShare()
			if err != nil {
				return err
			}
			a.shares = append(a.shares, share)
		} else if err := a.openVolume(f.source, f.guest, f.readOnly); err != nil {
			return err
		}
	}
	if s.rootfs != "" {
		return a.openVolume(s.rootfs, "/", true)
	}
	return nil
}

// openVolume attaches the disk of a volume.
func (a *attached) openVolume(name, guest string, readOnly bool) error {
	b, err := volume.Disk(name, readOnly)
	return a.add(b, guest, err)
}

func (a *attached) openDisk(file string, readOnly bool) error {
	b, err := disk.Open(file, readOnly)
	return a.add(b, "", err)
}

func (a *attached) add(b disk.Backend, guest string, err error) error {
	if err == nil {
		a.disks = append(a.disks, hv.Disk{Backend: b, Path: guest})
	}
	return err
}

func (a *attached) close() error {
	var all *multierror.Error
	for _, s := range a.shares {
		all = multierror.Append(all, s.Root.Close())
	}
	for _, d := range a.disks {
		all = multierror.Append(all, d.Backend.Close())
	}
	return all.ErrorOrNil()
}
