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

// shareFlag is a folder of the host's for the program to see.
type shareFlag struct {
	host     string
	guest    string // absolute
	writable bool
	root     *os.Root // host, where it is open already
}

// shareFlags is a flag that may be given several times: HOST[:GUEST[:rw]].
type shareFlags []shareFlag

func (s *shareFlags) Type() string { return "share" }

func (s *shareFlags) String() string {
	var all []string
	for _, f := range *s {
		all = append(all, f.String())
	}
	return strings.Join(all, " ")
}

func (f shareFlag) String() string {
	if f.writable {
		return f.host + ":" + f.guest + ":rw"
	}
	return f.host + ":" + f.guest
}

func (s *shareFlags) Set(text string) error {
	f, err := parseShare(text)
	if err != nil {
		return err
	}
	for _, other := range *s {
		if other.guest == f.guest {
			return fmt.Errorf("%s is shown at %s already", other.host, other.guest)
		}
	}
	*s = append(*s, f)
	return nil
}

// parseShare reads HOST[:GUEST[:rw]].
func parseShare(text string) (f shareFlag, err error) {
	part := strings.Split(text, ":")
	f.host = part[0]
	switch {
	case f.host == "":
		return f, errors.New("must be HOST[:GUEST[:rw]]")
	case len(part) > 3 || len(part) == 3 && part[2] != "rw" && part[2] != "ro":
		return f, errors.New("must be HOST[:GUEST[:rw]]; a path with a colon cannot be given")
	case len(part) > 1 && part[1] != "":
		f.guest = part[1]
	default:
		if f.guest, err = filepath.Abs(f.host); err != nil {
			return f, err
		}
	}
	f.writable = len(part) == 3 && part[2] == "rw"
	switch f.guest = path.Clean(f.guest); {
	case f.guest[0] != '/':
		return f, fmt.Errorf("%s: where the program sees it must be an absolute path", f.guest)
	case f.guest == "/":
		return f, errors.New("the program cannot see it as /: give a folder")
	}
	return f, nil
}

// openShares opens the folders for a machine; done closes them after it.
func openShares(list []shareFlag) (shares []hv.Share, done func(), err error) {
	done = func() {
		for _, s := range shares {
			s.Root.Close()
		}
	}
	for _, f := range list {
		root, err := f.root, error(nil)
		if root == nil {
			root, err = os.OpenRoot(f.host)
		}
		if err != nil {
			done()
			return nil, func() {}, fmt.Errorf("share %s: %w", f.host, cause(err))
		}
		shares = append(shares, hv.Share{Root: root, Guest: f.guest, Writable: f.writable})
	}
	return shares, done, nil
}
