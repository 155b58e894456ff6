package main

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/u-root/u-root/pkg/cpio"

	"github.com/pvrun/pvrun/test/svm/plan"
)

// archive is the machine's file system: a cpio (Linux,
// Documentation/driver-api/early-userspace/buffer-format.rst).
type archive struct{ records []cpio.Record }

// file adds a file of the host's.
func (a *archive) file(to, from string) error {
	info, err := os.Stat(from)
	if err != nil {
		return err
	}
	text, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	a.text(to, text, uint64(info.Mode().Perm()))
	return nil
}

func (a *archive) text(to string, text []byte, mode uint64) {
	a.records = append(a.records, cpio.StaticFile(strings.TrimPrefix(to, "/"), string(text), mode))
}

// program adds a program of the host's, with the libraries that it is linked to.
func (a *archive) program(name string) error {
	from, err := exec.LookPath(name)
	if err != nil {
		return err
	}
	text, err := exec.Command("ldd", from).Output()
	if err != nil {
		return fmt.Errorf("ldd %s: %w", from, err)
	}
	for _, lib := range library.FindAllString(string(text), -1) {
		if err := a.file(lib, lib); err != nil {
			return err
		}
	}
	return a.file("/bin/"+name, from)
}

var library = regexp.MustCompile(`/\S+`)

// tree adds what git knows of the sources, below to: tests read their testdata.
func (a *archive) tree(to string) error {
	list, err := exec.Command("git", "ls-files", "-z", "--cached", "--others", "--exclude-standard").Output()
	if err != nil {
		return err
	}
	for _, name := range strings.Split(strings.TrimSuffix(string(list), "\x00"), "\x00") {
		info, err := os.Lstat(name)
		switch {
		case os.IsNotExist(err): // deleted, and not yet committed
		case err != nil:
			return err
		case info.Mode()&os.ModeSymlink != 0:
			target, err := os.Readlink(name)
			if err != nil {
				return err
			}
			a.records = append(a.records, cpio.Symlink(strings.TrimPrefix(path.Join(to, name), "/"), target))
		default:
			if err := a.file(path.Join(to, name), name); err != nil {
				return err
			}
		}
	}
	return nil
}

// write writes the archive, folders first.
func (a *archive) write(name string) error {
	f, err := os.Create(name)
	if err != nil {
		return err
	}
	defer f.Close()
	w := cpio.NewDedupWriter(cpio.Newc.Writer(f))
	records := append([]cpio.Record{
		cpio.Directory("dev", 0o755),
		cpio.CharDev("dev/console", 0o600, 5, 1),
		cpio.Directory("tmp", 0o1777),
		cpio.Directory("var/run", 0o755),
		cpio.StaticFile("etc/passwd", "root:x:0:0::/:/bin/sh\n", 0o644),
		cpio.StaticFile("etc/group", "root:x:0:\n", 0o644),
		cpio.StaticFile("etc/hosts", "127.0.0.1 localhost\n", 0o644),
	}, a.records...)
	if err := cpio.WriteRecordsAndDirs(w, records); err != nil {
		return err
	}
	if err := cpio.WriteTrailer(w); err != nil {
		return err
	}
	return f.Close()
}

// sources is where the machine has pvrun's, with what was built beside them.
const sources = "/src"

// pack makes the machine's file system.
func pack(k kernel, shell string, p plan.Plan, b *builder, name string) error {
	a := &archive{}
	if err := a.file("/init", b.init); err != nil {
		return err
	}
	if err := a.file("/bin/busybox", shell); err != nil {
		return err
	}
	for _, c := range commands {
		a.records = append(a.records, cpio.Symlink("bin/"+c, "busybox"))
	}
	if err := a.program("ip"); err != nil { // busybox's knows no namespaces
		return err
	}
	for _, m := range modules {
		to := "/modules/" + path.Base(m)
		p.Modules = append(p.Modules, to)
		if err := a.file(to, filepath.Join(k.modules, m)); err != nil {
			return err
		}
	}
	text, err := json.Marshal(p)
	if err != nil {
		return err
	}
	a.text(plan.File, text, 0o644)
	if err := a.tree(sources); err != nil {
		return err
	}
	for to, from := range b.files {
		if err := a.file(path.Join(sources, to), from); err != nil {
			return err
		}
	}
	return a.write(name)
}
