package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

var (
	_ = add("vol-make", volume(volMake))
	_ = add("vol-change", volume(volChange))
	_ = add("vol-map", volume(volMap))
	_ = add("vol-crowd", func(args []string) { check(os.Chdir(args[0])); volCrowd(must(strconv.Atoi(args[1]))) })
	_ = add("vol-leave", volume(volLeave))
	_ = add("sums", func(args []string) { sums(args[0]) })
	_ = add("vol-full", volume(volFull))
	_ = add("vol-end", func(args []string) { check(os.Chdir(args[0])); volEnd(args[1]) })
	_ = add("vol-power", func(args []string) { check(os.Chdir(args[0])); volPower(must(strconv.Atoi(args[1]))) })
	_ = add("vol-errors", volume(volErrors))
	_ = add("root-disk", func(args []string) { rootDisk(args[0]) })
	_ = add("disk-copy", func(args []string) { diskCopy(args) })
	_ = add("disk-line", func(args []string) { diskLine(args[0]) })
	_ = add("disk-full", func(args []string) { diskFull(args[0]) })
)

// volume has a case run in the folder that its argument names.
func volume(f func()) func([]string) {
	return func(args []string) { check(os.Chdir(args[0])); f() }
}

// sums lists a tree with what its files hold.
func sums(dir string) {
	check(fs.WalkDir(os.DirFS(dir), ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info := must(d.Info())
		switch path := filepath.Join(dir, name); {
		case d.Type() == fs.ModeSymlink:
			fmt.Println(name, must(os.Readlink(path)))
		case d.IsDir():
			fmt.Println(name, info.Mode())
		default:
			fmt.Printf("%s %v %d %08x\n", name, info.Mode(), info.Size(), crc32.ChecksumIEEE(must(os.ReadFile(path))))
		}
		return nil
	}))
}

func volMake() {
	check(os.MkdirAll("a/deep/folder", 0o750))
	check(os.WriteFile("a/text", []byte("text\n"), 0o600))
	check(os.WriteFile("a/big", numbered(3<<20+17), 0o644))
	check(os.Symlink("../text", "a/deep/link"))
	check(os.Link("a/text", "second"))
	f := must(os.Create("a/sparse"))
	must(f.WriteAt([]byte("end"), 5<<20))
	check(errors.Join(f.Sync(), f.Close()))
	check(os.Chtimes("a/text", time.Unix(1, 0), time.Unix(1e9, 5)))
	sums(".")
}

func volChange() {
	fmt.Println(must(os.Stat("a/text")).ModTime().UnixNano(), os.SameFile(must(os.Stat("second")), must(os.Stat("a/text"))))
	check(os.Rename("a/big", "a/deep/big"))
	check(os.Rename("a/deep", "moved"))
	check(os.Rename("a/sparse", "second")) // in place of what is there
	f := must(os.OpenFile("moved/big", os.O_RDWR|os.O_APPEND, 0))
	must(f.Write([]byte("appended")))
	check(errors.Join(f.Close(), os.Truncate("second", 5<<20+1), os.Chmod("a/text", 0o444), os.Remove("moved/folder")))
	sums(".")
}

func volMap() {
	f := must(os.OpenFile("mapped", os.O_RDWR|os.O_CREATE, 0o644))
	check(f.Truncate(20*pageBytes + 10))
	b := mapOf(f, 0, 21*pageBytes, readWrite)
	copy(b[19*pageBytes:], numbered(pageBytes+10))
	must(f.WriteAt([]byte("by a call"), 5*pageBytes))
	fmt.Printf("%q %v\n", b[5*pageBytes:][:9], unix.Msync(b, unix.MS_SYNC))
	b[0] = 'x'
	c := make([]byte, 3)
	must(f.ReadAt(c, 0))
	fmt.Printf("%q\n", c)
	check(errors.Join(unix.Munmap(b), f.Close()))
	sums(".")
}

// volCrowd has many files in a folder, and removes every third.
func volCrowd(files int) {
	check(os.Mkdir("crowd", 0o755))
	for i := range files {
		check(os.WriteFile(fmt.Sprintf("crowd/file %05d", i), []byte(strconv.Itoa(i)), 0o644))
	}
	for i := 0; i < files; i += 3 {
		check(os.Remove(fmt.Sprintf("crowd/file %05d", i)))
	}
	fmt.Println(len(must(os.ReadDir("crowd"))))
}

func volLeave() {
	list := must(os.ReadDir("crowd"))
	wrong := 0
	for i, e := range list {
		n := i/2*3 + i%2 + 1
		text, err := os.ReadFile(filepath.Join("crowd", e.Name()))
		if err != nil || e.Name() != fmt.Sprintf("file %05d", n) || string(text) != strconv.Itoa(n) {
			wrong++
		}
	}
	fmt.Println(len(list), wrong)
	for _, e := range must(os.ReadDir(".")) {
		check(os.RemoveAll(e.Name()))
	}
	fmt.Println(len(must(os.ReadDir("."))))
}

// volFull fills a volume, which does not hurt what was there, and empties it.
func volFull() {
	check(os.WriteFile("kept", []byte("kept"), 0o644))
	for range 3 {
		var err error
		n := 0
		for ; err == nil; n++ {
			err = os.WriteFile(fmt.Sprint("filler", n), numbered(200_000), 0o644)
		}
		fmt.Println(n > 10, errors.Is(err, syscall.ENOSPC), string(must(os.ReadFile("kept"))))
		_, err = os.Stat("filler0")
		fmt.Println(err)
		for i := range n {
			check(os.Remove(fmt.Sprint("filler", i)))
		}
	}
	check(os.WriteFile("after", numbered(1<<20), 0o644))
	sums(".")
}

// volEnd ends without having synced.
func volEnd(how string) {
	check(os.WriteFile("old", []byte("old"), 0o644))
	switch how {
	case "return":
	case "exit":
		os.Exit(7)
	case "fatal": // when a line says so, with something new
		fmt.Println("written")
		bufio.NewReader(os.Stdin).ReadString('\n')
		check(os.WriteFile("new", []byte("new"), 0o644))
		panic("on purpose")
	case "signal":
		check(syscall.Kill(os.Getpid(), syscall.SIGTERM))
		select {}
	case "hold":
		fmt.Println("open")
		bufio.NewReader(os.Stdin).ReadString('\n')
	}
}

// version is what volPower's file number n%4 holds in version n.
func version(n int) []byte {
	return bytes.Repeat(fmt.Appendf(nil, "version %d\n", n), 50+n*37%4000)
}

// volPower replaces files as editors do and says when each is sure to stay, while
// others come and go.
func volPower(times int) {
	for n := range times {
		name := fmt.Sprint("file", n%4)
		f := must(os.Create(name + ".new"))
		must(f.Write(version(n)))
		check(errors.Join(f.Sync(), f.Close(), os.Rename(name+".new", name)))
		noise := fmt.Sprint("noise", n%3)
		check(os.WriteFile(noise, version(n*7), 0o644))
		if n%3 == 2 {
			check(os.Remove(noise))
		}
		d := must(os.Open("."))
		check(errors.Join(d.Sync(), d.Close()))
		fmt.Println(n)
	}
}

// volErrors goes on where the disk says no: line by line, until the end.
func volErrors() {
	in := bufio.NewScanner(os.Stdin)
	for in.Scan() {
		verb, arg, _ := strings.Cut(in.Text(), " ")
		switch verb {
		case "write":
			fmt.Println("write", os.WriteFile(arg, numbered(100_000), 0o644))
		case "sync":
			f := must(os.OpenFile(arg, os.O_RDWR, 0))
			fmt.Println("sync", f.Sync())
			f.Close()
		case "read":
			b, err := os.ReadFile(arg)
			fmt.Println("read", len(b), err)
		case "list":
			fmt.Println("list", len(must(os.ReadDir("."))))
		}
	}
	os.Exit(3)
}

// rootDisk reads all of a root file system that cannot be written.
func rootDisk(dir string) {
	sums(dir)
	fmt.Println(os.WriteFile("/new", nil, 0o644), os.Remove(dir), os.Mkdir(dir+"/x", 0o755))
	check(os.WriteFile("/tmp/file", []byte("text"), 0o644))
	status := string(must(os.ReadFile("/proc/self/status")))
	fmt.Println(string(must(os.ReadFile("/tmp/file"))), strings.HasPrefix(status, "Name:\t"), len(must(os.ReadDir("/dev"))) > 3)
}

// diskCopy copies between places: from to from to ...
func diskCopy(names []string) {
	for ; len(names) > 0; names = names[2:] {
		from, to := must(os.Open(names[0])), must(os.OpenFile(names[1], os.O_RDWR|os.O_CREATE, 0o644))
		fmt.Println(must(io.Copy(to, io.LimitReader(from, 2<<20))), to.Sync())
		check(errors.Join(from.Close(), to.Close()))
	}
}

// diskLine reads or writes a sector for each line.
func diskLine(name string) {
	f := must(os.OpenFile(name, os.O_RDWR, 0))
	in := bufio.NewScanner(os.Stdin)
	b := make([]byte, 4096)
	for in.Scan() {
		verb, at, _ := strings.Cut(in.Text(), " ")
		off := int64(must(strconv.Atoi(at)))
		switch verb {
		case "read":
			n, err := f.ReadAt(b, off)
			fmt.Println(n, err)
		case "write":
			n, err := f.WriteAt(b, off)
			fmt.Println(n, err)
		case "sync":
			fmt.Println(f.Sync())
		}
	}
	os.Exit(4)
}

// diskFull writes more than the host has room for, reads what it has written, and
// gives room back.
func diskFull(name string) {
	f := must(os.OpenFile(name, os.O_RDWR, 0))
	b := numbered(256 << 10)
	off, err := int64(0), error(nil)
	for ; err == nil; off += int64(len(b)) {
		_, err = f.WriteAt(b, off)
	}
	fmt.Println(off > 1<<20, errors.Is(err, syscall.ENOSPC))
	c := make([]byte, len(b))
	must(f.ReadAt(c, 0))
	fmt.Println(bytes.Equal(b, c))
	check(unix.Fallocate(int(f.Fd()), unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, 0, 1<<20))
	_, err = f.WriteAt(b, off)
	fmt.Println(err, f.Sync())
}
