package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

var (
	_ = add("shared", func(args []string) { shared(args[0]) })
	_ = add("unwritable", func(args []string) { unwritable(args[0]) })
	_ = add("watch", func([]string) { watch() })
	_ = add("appends", func(args []string) { appends(args[0]) })
	_ = add("names", func(args []string) { names(args[0]) })
	_ = add("limits", func(args []string) { limits(args[0]) })
)

// shared does in a folder what tests of other programs do in theirs.
func shared(dir string) {
	check(os.Chdir(dir))
	list(".")
	fmt.Println(len(must(os.ReadFile("big"))), must(os.Readlink("link")))
	stack := [100]byte{} // a buffer that is on the stack
	f := must(os.Open("big"))
	n := must(f.ReadAt(stack[:], 1_000_000))
	fmt.Println(n, bytes.Count(stack[:n], []byte("x")))
	check(f.Close())
	fmt.Println(os.SameFile(must(os.Stat("hard")), must(os.Stat("big"))), os.SameFile(must(os.Stat("link")), must(os.Stat("big"))))
	fmt.Println(os.SameFile(must(os.Stat("deep/er")), must(os.Stat("deep/er/../er/."))))
	check(os.WriteFile("deep/er/new", bytes.Repeat([]byte("0123456789abcdef"), 200_000), 0o640))
	fmt.Println(must(os.Stat("deep/er/new")).Size(), must(os.Stat("deep/er/new")).Mode())
	when := time.Unix(1_000_000_000, 123)
	check(os.Chtimes("deep/er/new", when, when))
	fmt.Println(must(os.Stat("deep/er/new")).ModTime().UTC())
	f = must(os.OpenFile("deep/er/new", os.O_RDWR, 0))
	check(f.Chmod(0o600))
	check(f.Truncate(1 << 20))
	check(f.Sync())
	fmt.Println(must(f.Seek(0, io.SeekEnd)), must(f.Stat()).Mode())
	b := must(unix.Mmap(int(f.Fd()), 4096, 4096, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE))
	fmt.Printf("%s\n", b[:20])
	b[0] = 'X'
	check(unix.Munmap(b))
	check(f.Close())
	r := must(os.Open("deep/er/new"))
	b = must(unix.Mmap(int(r.Fd()), 0, 4096, unix.PROT_READ, unix.MAP_SHARED))
	fmt.Printf("%s\n", b[4000:4020])
	check(unix.Munmap(b))
	check(r.Close())
	root := must(os.OpenRoot("deep"))
	fmt.Printf("%d\n", len(must(root.ReadFile("er/new"))))
	_, err := root.Open("../big")
	fmt.Println(err)
	check(root.Close())
	check(os.Mkdir("deep/dir", 0o755))
	check(os.Rename("deep/dir", "moved"))
	check(os.Symlink(filepath.Join(dir, "deep"), "moved/absolute"))
	fmt.Println(must(os.Stat("moved/absolute/er/new")).Size())
	fmt.Println(strings.TrimPrefix(must(filepath.EvalSymlinks("moved/absolute")), dir))
	walk(".")
	check(os.RemoveAll("deep"))
	fmt.Println(must(filepath.Glob("*")))
}

// unwritable tries to change a folder that is shared read-only.
func unwritable(dir string) {
	check(os.Chdir(dir))
	show := func(_ any, err error) { fmt.Println(errors.Is(err, syscall.EROFS), err) }
	show(os.Create("new"))
	show(os.OpenFile("f", os.O_RDWR, 0))
	show(os.OpenFile("f", os.O_TRUNC, 0))
	show(nil, os.Mkdir("new", 0o755))
	show(nil, os.Remove("f"))
	show(nil, os.RemoveAll("d"))
	show(nil, os.Rename("f", "g"))
	show(nil, os.Chmod("f", 0o777))
	show(nil, os.Chtimes("f", time.Now(), time.Now()))
	show(nil, os.Symlink("f", "new"))
	show(nil, os.Link("f", "new"))
	show(nil, os.Truncate("f", 0))
	show(nil, unix.Access("f", unix.W_OK))
	fmt.Printf("%q\n", must(os.ReadFile("f")))
	list(".")
}

// watch says for each line what the file of that name is now.
func watch() {
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		text, err := os.ReadFile(lines.Text())
		fmt.Printf("%q %v\n", text, err)
	}
}

// appends adds lines to a log that others add to.
func appends(name string) {
	f := must(os.OpenFile(name, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644))
	for i := range 100 {
		fmt.Fprintf(f, "line %d\n", i)
	}
	check(f.Close())
}

func names(dir string) {
	list := must(os.ReadDir(dir))
	known := map[string]bool{}
	for _, e := range list {
		known[e.Name()] = true
	}
	fmt.Printf("%d names, %d of them different\n", len(list), len(known))
}

// limits goes as far as the host allows.
func limits(dir string) {
	check(os.Chdir(dir))
	f := must(os.Create("large"))
	n, err := f.Write(make([]byte, 1<<20))
	for err == nil {
		var more int
		more, err = f.Write(make([]byte, 1<<20))
		n += more
	}
	fmt.Printf("%v, 8192 bytes or more: %v\n", errors.Unwrap(err), n >= 8192)
	var open []*os.File
	for err = nil; err == nil; open = append(open, f) {
		f, err = os.Open("large")
	}
	fmt.Println(errors.Unwrap(err), len(open) > 50)
}
