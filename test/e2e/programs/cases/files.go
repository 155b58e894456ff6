package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sort"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

var (
	_ = add("files", inTemp(files))
	_ = add("folders", inTemp(folders))
	_ = add("links", inTemp(links))
	_ = add("permissions", inTemp(permissions))
	_ = add("root", inTemp(osRoot))
	_ = add("many", inTemp(many))
	_ = add("big", inTemp(big))
	_ = add("errors", inTemp(wrong))
	_ = add("walk", func(args []string) { walk(args[0]) })
	_ = add("system", func([]string) { system() })
)

// inTemp runs a case in a new folder, so that names are relative to it.
func inTemp(f func()) func([]string) {
	return func([]string) {
		dir := must(os.MkdirTemp("", "cases-"))
		check(os.Chdir(dir))
		f()
		check(os.Chdir("/"))
		check(os.RemoveAll(dir))
		_, err := os.Stat(dir)
		fmt.Println("gone", errors.Is(err, fs.ErrNotExist))
	}
}

func files() {
	check(os.WriteFile("a", []byte("hello, file\n"), 0o644))
	fmt.Printf("%q\n", must(os.ReadFile("a")))
	f := must(os.OpenFile("a", os.O_RDWR|os.O_APPEND, 0))
	must(f.WriteString("more\n"))
	fmt.Println(must(f.Seek(0, io.SeekCurrent)), must(f.Seek(-3, io.SeekEnd)))
	b := make([]byte, 10)
	n, err := f.Read(b)
	fmt.Println(n, err)
	n, err = f.Read(b)
	fmt.Println(n, err)
	n, err = f.ReadAt(b, 7)
	fmt.Printf("%d %v %q\n", n, err, b[:n])
	_, err = f.WriteAt(b, 0)
	fmt.Println(err)
	check(f.Close())
	_, err = f.Read(b)
	fmt.Println(err)

	f = must(os.Create("sparse"))
	must(f.WriteAt([]byte("end"), 100_000))
	check(f.Truncate(200_000))
	info := must(f.Stat())
	fmt.Println(info.Name(), info.Size(), info.Mode(), info.IsDir(), info.Sys().(*syscall.Stat_t).Nlink)
	check(f.Truncate(2))
	check(f.Sync())
	must(f.Seek(0, 0))
	fmt.Printf("%q\n", must(io.ReadAll(f)))
	check(f.Close())

	when := time.Date(2020, 2, 3, 4, 5, 6, 789, time.UTC)
	check(os.Chtimes("a", when, when))
	fmt.Println(must(os.Stat("a")).ModTime().UTC())
	check(os.Rename("a", "b"))
	check(os.Rename("b", "sparse"))
	fmt.Println(must(os.Stat("sparse")).Size())
	_, err = os.Stat("a")
	fmt.Println(err)
	open := must(os.Open("sparse"))
	check(os.Remove("sparse"))
	fmt.Println(len(must(io.ReadAll(open))))
	check(open.Close())
	temp := must(os.CreateTemp(".", "t*.txt"))
	fmt.Println(strings.HasSuffix(temp.Name(), ".txt"))
	check(temp.Close())
	f = must(os.OpenFile("x", os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600))
	check(f.Close())
	_, err = os.OpenFile("x", os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	fmt.Println(err)
	check(unix.Fallocate(int(must(os.OpenFile("x", os.O_RDWR, 0)).Fd()), 0, 0, 5000))
	fmt.Println(must(os.Stat("x")).Size())
	dup := must(unix.Dup(1))
	must(unix.Write(dup, []byte("to a duplicate\n")))
	check(unix.Close(dup))
	copyFiles()
}

func copyFiles() {
	check(os.WriteFile("from", bytes.Repeat([]byte("0123456789"), 100_000), 0o644))
	from, to := must(os.Open("from")), must(os.Create("to"))
	fmt.Println(must(io.Copy(to, from)))
	check(to.Close())
	fmt.Println(bytes.Equal(must(os.ReadFile("from")), must(os.ReadFile("to"))))
	check(os.MkdirAll("tree/sub", 0o755))
	check(os.Rename("to", "tree/sub/to"))
	check(os.CopyFS("copy", os.DirFS("tree")))
	fmt.Println(must(os.Stat("copy/sub/to")).Size())
}

func list(dir string) {
	for _, e := range must(os.ReadDir(dir)) {
		info := must(e.Info())
		size := info.Size()
		if e.IsDir() {
			size = 0
		}
		fmt.Println(" ", e.Name(), e.Type(), info.Mode(), size)
	}
}

func folders() {
	check(os.Mkdir("d", 0o755))
	fmt.Println(os.Mkdir("d", 0o755))
	check(os.MkdirAll("d/e/f/g", 0o750))
	check(os.WriteFile("d/e/file", nil, 0o600))
	list("d/e")
	fmt.Println(os.Remove("d/e"))
	check(os.Rename("d/e", "moved"))
	list("moved")
	fmt.Println(os.Rename("moved", "moved/f/inside"))
	fmt.Println(os.Rename("d", "moved"))
	check(os.Chdir("moved/f"))
	fmt.Println(filepath.Base(must(os.Getwd())))
	fmt.Println(must(os.Stat("../file")).Size())
	check(os.Chdir("../.."))
	walk(".")
	check(os.RemoveAll("moved"))
	list(".")
	fmt.Println(must(filepath.Glob("*")))
}

func walk(dir string) {
	check(fs.WalkDir(os.DirFS(dir), ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info := must(d.Info())
		fmt.Println(name, info.Mode(), d.IsDir() || info.Size() >= 0)
		return nil
	}))
}

func links() {
	check(os.WriteFile("a", []byte("text"), 0o644))
	check(os.Link("a", "b"))
	check(os.Symlink("a", "s"))
	check(os.Symlink("nowhere", "dangling"))
	check(os.Symlink("loop2", "loop1"))
	check(os.Symlink("loop1", "loop2"))
	fmt.Println(must(os.Readlink("s")), must(os.Lstat("s")).Mode(), must(os.Stat("s")).Mode())
	fmt.Println(must(os.Stat("a")).Sys().(*syscall.Stat_t).Nlink, os.SameFile(must(os.Stat("a")), must(os.Stat("b"))))
	_, err := os.Open("loop1")
	fmt.Println(err)
	_, err = os.Open("dangling")
	fmt.Println(err)
	check(os.WriteFile("dangling", []byte("made"), 0o644))
	fmt.Printf("%q\n", must(os.ReadFile("nowhere")))
	check(os.Remove("a"))
	fmt.Printf("%q\n", must(os.ReadFile("b")))
	_, err = os.Stat("s")
	fmt.Println(err)
	check(os.Mkdir("d", 0o755))
	check(os.Symlink("../b", "d/up"))
	fmt.Printf("%q %s\n", must(os.ReadFile("d/up")), filepath.Base(must(filepath.EvalSymlinks("d/up"))))
	fmt.Println(os.Link("d", "e"))
	fmt.Println(os.Readlink("b"))
	list(".")
}

func permissions() {
	old := syscall.Umask(0o027)
	check(os.WriteFile("a", nil, 0o666))
	check(os.Mkdir("d", 0o777))
	fmt.Println(must(os.Stat("a")).Mode(), must(os.Stat("d")).Mode(), syscall.Umask(old))
	for _, mode := range []fs.FileMode{0, 0o400, 0o640, 0o777, 0o755 | os.ModeSetuid, 0o1777 | os.ModeSticky} {
		check(os.Chmod("a", mode))
		fmt.Println(must(os.Stat("a")).Mode())
	}
	f := must(os.Open("a"))
	check(f.Chmod(0o600))
	check(f.Close())
	check(os.Chown("a", 7, 8))
	st := must(os.Stat("a")).Sys().(*syscall.Stat_t)
	fmt.Println(st.Uid, st.Gid, must(os.Stat("a")).Mode())
	check(os.Chown("a", 0, 0))
	fmt.Println(unix.Access("a", unix.R_OK), unix.Access("a", unix.X_OK), unix.Access("none", unix.F_OK))
}

func osRoot() {
	check(os.MkdirAll("in/sub", 0o755))
	check(os.WriteFile("outside", []byte("secret"), 0o644))
	root := must(os.OpenRoot("in"))
	check(root.WriteFile("sub/a", []byte("inside"), 0o644))
	fmt.Printf("%q\n", must(root.ReadFile("sub/a")))
	check(os.Symlink("../outside", "in/escape"))
	check(os.Symlink("sub/a", "in/stays"))
	check(os.Symlink("/etc/passwd", "in/absolute"))
	for _, name := range []string{"../outside", "escape", "absolute", "sub/../../outside", "/outside"} {
		_, err := root.Open(name)
		fmt.Println(name, err)
	}
	fmt.Printf("%q\n", must(root.ReadFile("stays")))
	check(root.Mkdir("new", 0o755))
	check(root.Rename("sub/a", "new/b"))
	fmt.Println(must(root.Stat("new/b")).Size(), must(root.Lstat("escape")).Mode(), must(root.Readlink("escape")))
	sub := must(root.OpenRoot("new"))
	fmt.Println(must(fs.ReadDir(sub.FS(), "."))[0].Name())
	check(sub.Close())
	check(root.Symlink("new", "link"))
	fmt.Println(must(root.Stat("link/b")).Size())
	check(root.Chmod("new/b", 0o600))
	check(root.Remove("new/b"))
	check(root.RemoveAll("new"))
	check(root.Close())
	list("in")
}

func many() {
	const n = 2000
	for i := range n {
		check(os.WriteFile(fmt.Sprintf("f%04d", i), []byte{byte(i)}, 0o644))
	}
	entries := must(os.ReadDir("."))
	fmt.Println(len(entries), entries[0].Name(), entries[n-1].Name())
	dir := must(os.Open("."))
	var names []string
	for {
		some, err := dir.Readdirnames(100)
		names = append(names, some...)
		if err == io.EOF {
			break
		}
		check(err)
	}
	sort.Strings(names)
	fmt.Println(len(names), names[n/2])
	must(dir.Seek(0, 0))
	fmt.Println(len(must(dir.ReadDir(-1))))
	check(dir.Close())
	for i := range n {
		if i%2 == 0 {
			check(os.Remove(fmt.Sprintf("f%04d", i)))
		}
	}
	fmt.Println(len(must(os.ReadDir("."))))
}

func big() {
	f := must(os.Create("big"))
	b := make([]byte, 1<<20)
	for i := range 20 {
		b[i] = byte(i)
		must(f.Write(b))
	}
	fmt.Println(must(f.Stat()).Size())
	must(f.ReadAt(b, 19<<20))
	fmt.Println(b[:22])
	check(f.Close())
}

func wrong() {
	check(os.WriteFile("file", nil, 0o644))
	check(os.MkdirAll("full/x", 0o755))
	show := func(_ any, err error) { fmt.Println(err) }
	show(os.Open("none"))
	show(os.Open("file/below"))
	show(os.ReadFile("full"))
	show(os.OpenFile("full", os.O_WRONLY, 0))
	show(os.ReadDir("file"))
	show(os.Open(strings.Repeat("x", 300)))
	show(os.Open(strings.Repeat("x/", 3000)))
	show(os.Open("nul\x00byte"))
	show(os.Open(""))
	show(nil, os.Remove("none"))
	show(nil, os.Remove("full"))
	show(nil, os.Rename("none", "other"))
	show(nil, os.Rename("full", "file"))
	show(nil, os.Rename("file", "full"))
	show(nil, os.Mkdir("none/x", 0o755))
	show(nil, os.Symlink("x", "file"))
	show(nil, os.Link("none", "x"))
	show(nil, os.Truncate("full", 0))
	show(nil, os.Truncate("file", -1))
	show(nil, os.Chmod("none", 0))
	show(nil, os.Chdir("file"))
	f := must(os.Open("file"))
	show(f.Write([]byte("x")))
	show(f.Seek(-1, 0))
	show(f.ReadAt(make([]byte, 1), -1))
	show(nil, f.Truncate(3))
	check(f.Close())
	show(nil, f.Close())
	show(nil, syscall.Close(-1))
	show(unix.Read(0x7fffffff, make([]byte, 1)))
	_, _, e := syscall.Syscall(syscall.SYS_READ, must(os.Open("/dev/zero")).Fd(), 8, 4096)
	fmt.Println(e)
}

// system reads what the Go libraries read of /proc and /etc.
func system() {
	for _, name := range []string{
		"/proc/self/exe", "/proc/self/cmdline", "/proc/self/maps", "/proc/sys/kernel/hostname",
		"/proc/sys/net/core/somaxconn", "/etc/hosts", "/etc/resolv.conf", "/etc/passwd", "/etc/group", "/etc/nsswitch.conf",
	} {
		info, err := os.Stat(name)
		fmt.Println(name, err == nil && !info.IsDir())
	}
	exe := must(os.Executable())
	fmt.Println(exe != "", filepath.IsAbs(exe))
	fmt.Println(len(must(os.ReadDir("/proc/self/fd"))) >= 3)
}
