package build

import (
	"context"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"
)

// linkTop fills the root of a derived tree: the installed folders by link,
// but src, and the files that the go command reads by copy.
func linkTop(tree, installed string) error {
	list, err := os.ReadDir(installed)
	if err != nil {
		return err
	}
	for _, e := range list {
		from, to := filepath.Join(installed, e.Name()), filepath.Join(tree, e.Name())
		switch {
		case e.Name() == "src":
		case e.Name() == "VERSION" || e.Name() == "go.env":
			err = copyFile(to, from)
		default:
			err = os.Symlink(from, to)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// copyTree copies the tree from to the new folder to, cmd excepted: it holds
// the go command's own sources, and a link serves. Some distributions have
// links to folders in the tree, from itself among them.
func copyTree(ctx context.Context, to, from string) error {
	from, err := filepath.EvalSymlinks(from)
	if err != nil {
		return err
	}
	g := new(errgroup.Group)
	g.SetLimit(2 * runtime.GOMAXPROCS(0))
	err = filepath.WalkDir(from, func(name string, d fs.DirEntry, err error) error {
		if err := firstError(err, ctx.Err()); err != nil {
			return err
		}
		rel, err := filepath.Rel(from, name)
		if err != nil {
			return err
		}
		dst := filepath.Join(to, rel)
		switch {
		case rel == "cmd":
			return firstError(os.Symlink(name, dst), fs.SkipDir)
		case d.IsDir():
			return os.Mkdir(dst, 0o755)
		case d.Type()&fs.ModeSymlink != 0 && isDir(name):
			return os.Symlink(name, dst)
		}
		g.Go(func() error { return copyFile(dst, name) })
		return nil
	})
	return firstError(err, g.Wait())
}

func isDir(name string) bool {
	info, err := os.Stat(name)
	return err == nil && info.IsDir()
}

// copyFile copies a file to a new one. Between two files io.Copy uses
// copy_file_range(2), which shares the blocks where the file system can.
func copyFile(to, from string) error {
	r, err := os.Open(from)
	if err != nil {
		return err
	}
	defer r.Close()
	w, err := os.OpenFile(to, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	_, err = io.Copy(w, r)
	return firstError(err, w.Close())
}

func firstError(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// prune removes what matches pattern in dir and was last used longer than age
// ago, but for the newest few. It is housekeeping: errors do no harm.
func prune(dir, pattern string, few int, age time.Duration) {
	type entry struct {
		name string
		used time.Time
	}
	names, _ := filepath.Glob(filepath.Join(dir, pattern))
	var list []entry
	for _, name := range names {
		if info, err := os.Stat(name); err == nil {
			list = append(list, entry{name, info.ModTime()})
		}
	}
	slices.SortFunc(list, func(a, b entry) int { return b.used.Compare(a.used) })
	for i, e := range list {
		if i >= few && time.Since(e.used) > age {
			os.RemoveAll(e.name)
		}
	}
}
