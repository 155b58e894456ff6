package main

import (
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/pvrun/pvrun/hv"
)

// mountFlag is a volume for the program to see: a folder of the host's, or a
// volume on a disk.
type mountFlag struct {
	source   string // a folder, or the name of a volume
	named    bool
	guest    string // absolute
	readOnly bool
	root     *os.Root // the folder, where it is open already
}

// mountFlags is a flag that may be given several times.
type mountFlags []mountFlag

func (m *mountFlags) Type() string { return "volume" }

func (m *mountFlags) String() string {
	var all []string
	for _, f := range *m {
		all = append(all, f.String())
	}
	return strings.Join(all, " ")
}

func (f mountFlag) String() string {
	if f.readOnly {
		return f.source + ":" + f.guest + ":ro"
	}
	return f.source + ":" + f.guest
}

func (m *mountFlags) Set(text string) error {
	f, err := parseMount(text)
	if err != nil {
		return err
	}
	for _, other := range *m {
		if other.guest == f.guest {
			return fmt.Errorf("%s is shown at %s already", other.source, other.guest)
		}
	}
	*m = append(*m, f)
	return nil
}

var errMountForm = errors.New("must be DIR[:PATH[:ro]] or NAME:PATH[:ro]")

// parseMount reads DIR[:PATH[:ro]] or NAME:PATH[:ro]. A source with a slash, "."
// and ".." are folders.
func parseMount(text string) (f mountFlag, err error) {
	part := strings.Split(text, ":")
	f.source = part[0]
	f.named = !strings.Contains(f.source, "/") && f.source != "." && f.source != ".."
	switch {
	case f.source == "":
		return f, errMountForm
	case len(part) > 3 || len(part) == 3 && part[2] != "rw" && part[2] != "ro":
		return f, fmt.Errorf("%w; a path with a colon cannot be given", errMountForm)
	case len(part) > 1 && part[1] != "":
		f.guest = part[1]
	case f.named:
		return f, fmt.Errorf("%w; a folder is written ./%s", errMountForm, f.source)
	default:
		if f.guest, err = filepath.Abs(f.source); err != nil {
			return f, err
		}
	}
	f.readOnly = len(part) == 3 && part[2] == "ro"
	switch f.guest = path.Clean(f.guest); {
	case f.guest[0] != '/':
		return f, fmt.Errorf("%s: where the program sees it must be an absolute path", f.guest)
	case f.guest == "/":
		return f, errors.New("the program cannot see it as /: give a folder, or use --rootfs-disk")
	}
	return f, nil
}

// openShare opens the folder for a machine.
func (f mountFlag) openShare() (hv.Share, error) {
	root := f.root
	if root == nil {
		var err error
		if root, err = os.OpenRoot(f.source); err != nil {
			return hv.Share{}, fmt.Errorf("volume %s: %w", f.source, cause(err))
		}
	}
	return hv.Share{Root: root, Guest: f.guest, Writable: !f.readOnly}, nil
}
