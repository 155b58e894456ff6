package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime/debug"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

var (
	_ = add("mapfile", func(args []string) { mapFile(args[0]) })
	_ = add("mapgrows", func(args []string) { mapGrows(args[0]) })
	_ = add("mapshrinks", func(args []string) { mapShrinks(args[0]) })
	_ = add("maptalk", func(args []string) { mapTalk(args[0]) })
	_ = add("mapfull", func(args []string) { mapFull(args[0]) })
)

const pageBytes = 4096

// mapOf maps part of a file shared.
func mapOf(f *os.File, off int64, n, prot int) []byte {
	return must(unix.Mmap(int(f.Fd()), off, n, prot, unix.MAP_SHARED))
}

const readWrite = unix.PROT_READ | unix.PROT_WRITE

// touched says what an access ends with: nothing, or where in b it faults.
func touched(b []byte, do func()) (what string) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		r := recover()
		if r == nil {
			return
		}
		at, ok := r.(interface{ Addr() uintptr })
		if !ok {
			what = fmt.Sprint(r)
			return
		}
		what = fmt.Sprintf("fault at %d", at.Addr()-uintptr(unsafe.Pointer(unsafe.SliceData(b))))
	}()
	do()
	return "none"
}

var sink byte

func reads(b []byte, i int) string  { return touched(b, func() { sink = b[i] }) }
func writes(b []byte, i int) string { return touched(b, func() { b[i] = 7 }) }

func numbered(n int) []byte {
	var b bytes.Buffer
	for i := 0; b.Len() < n; i++ {
		fmt.Fprintf(&b, "%07d\n", i)
	}
	return b.Bytes()[:n]
}

// mapFile does with one mapping what a database does, and more.
func mapFile(dir string) {
	check(os.Chdir(dir))
	check(os.WriteFile("m", numbered(5*pageBytes), 0o644))
	f := must(os.OpenFile("m", os.O_RDWR, 0))
	b := mapOf(f, 0, 5*pageBytes, readWrite)
	must(f.WriteAt([]byte("written"), 2*pageBytes))
	fmt.Printf("%s %s\n", b[:7], b[2*pageBytes:][:7])
	copy(b[3*pageBytes:], "through the mapping")
	back := make([]byte, 19)
	must(f.ReadAt(back, 3*pageBytes))
	fmt.Printf("%s\n", back)
	check(unix.Msync(b, unix.MS_SYNC))
	check(unix.Msync(b[pageBytes:2*pageBytes], unix.MS_ASYNC))
	fmt.Println(unix.Msync(b, unix.MS_ASYNC|unix.MS_SYNC))

	// Other views of the same file.
	r := must(os.Open("m"))
	ro, part := mapOf(r, 0, 5*pageBytes, unix.PROT_READ), mapOf(f, 3*pageBytes, pageBytes, readWrite)
	private := must(unix.Mmap(int(f.Fd()), 0, pageBytes, readWrite, unix.MAP_PRIVATE))
	copy(part, "by another way")
	copy(private, "nobody sees it")
	copy(b[100:], "all see it")
	fmt.Printf("%s %s %s\n", ro[3*pageBytes:][:14], b[3*pageBytes:][:14], ro[:7])
	fmt.Printf("%s\n", ro[100:110])
	fmt.Println(writes(ro, 5), reads(ro, 5), unix.Mprotect(ro, readWrite))
	_, err := unix.Mmap(int(r.Fd()), 0, pageBytes, readWrite, unix.MAP_SHARED)
	fmt.Println(err)
	check(unix.Mprotect(b, unix.PROT_READ))
	fmt.Println(writes(b, 4*pageBytes+1), reads(b, 4*pageBytes+1))
	check(unix.Mprotect(b[pageBytes:2*pageBytes], unix.PROT_NONE))
	fmt.Println(reads(b, pageBytes+2), reads(b, 2*pageBytes))
	check(unix.Mprotect(b, readWrite))
	fmt.Println(writes(b, pageBytes+2), writes(b, 4*pageBytes+1))
	check(unix.Madvise(b, unix.MADV_RANDOM))
	check(unix.Madvise(b, unix.MADV_DONTNEED))
	fmt.Printf("%s\n", b[3*pageBytes:][:14])

	// Calls that read and write the mapping.
	must(os.Stdout.Write(b[3*pageBytes:][:14]))
	fmt.Println()
	check(os.WriteFile("other", []byte("from another file"), 0o644))
	o := must(os.Open("other"))
	fmt.Println(must(o.Read(b[4*pageBytes:])))
	fmt.Printf("%s\n", ro[4*pageBytes:][:17])
	must(f.WriteAt(b[3*pageBytes:][:14], pageBytes))
	fmt.Printf("%s\n", ro[pageBytes:][:14])
	_, err = o.ReadAt(ro, 0)
	fmt.Println(errors.Is(err, syscall.EFAULT))

	// A mapping outlives its descriptor and its name.
	check(f.Close())
	check(os.Remove("m"))
	copy(b, "without a name")
	fmt.Printf("%s\n", ro[:14])
	check(unix.Msync(b, unix.MS_SYNC))
	hole := b[2*pageBytes : 3*pageBytes]
	_, _, e := unix.Syscall(unix.SYS_MUNMAP, uintptr(unsafe.Pointer(unsafe.SliceData(hole))), pageBytes, 0)
	fmt.Println(e, reads(b, 2*pageBytes), writes(b, 3*pageBytes), reads(b, pageBytes))
	fmt.Println(reads(ro, 2*pageBytes))
	for _, m := range [][]byte{b, ro, part, private} {
		check(unix.Munmap(m))
	}
	_, err = unix.Mmap(int(must(os.Open(".")).Fd()), 0, pageBytes, unix.PROT_READ, unix.MAP_SHARED)
	fmt.Println(err)
	check(os.Remove("other"))
}

// mapGrows maps as bbolt does, anew with twice the size, and as SQLite does its
// shared memory, in pieces of 32 KiB.
func mapGrows(dir string) {
	check(os.Chdir(dir))
	f := must(os.Create("grows"))
	last := 0
	for size := 32 << 10; size <= 32<<20; size *= 2 {
		b := mapOf(f, 0, size, readWrite)
		fmt.Print(reads(b, last), " ", last > 0 && b[last-1] == byte(last>>15), " ")
		fmt.Println(reads(b, size-1))
		check(f.Truncate(int64(size)))
		fmt.Println(writes(b, size-1))
		b[size-1] = byte(size >> 15)
		last = size
		check(f.Sync())
		check(unix.Munmap(b))
	}
	check(f.Close())
	s := must(os.Create("pieces"))
	var pieces [][]byte
	for i := range 600 {
		check(s.Truncate(int64(i+1) << 15))
		pieces = append(pieces, mapOf(s, int64(i)<<15, 1<<15, readWrite))
		pieces[i][i] = byte(i)
	}
	for i := 0; i < len(pieces); i += 2 {
		check(unix.Munmap(pieces[i]))
	}
	text := must(os.ReadFile("pieces"))
	wrong := 0
	for i := range pieces {
		if text[i<<15+i] != byte(i) || i%2 == 1 && pieces[i][i] != byte(i) {
			wrong++
		}
	}
	fmt.Println(len(text), wrong)
	check(errors.Join(s.Close(), os.Remove("grows"), os.Remove("pieces")))
}

// mapShrinks loses the file under a mapping, and has it back.
func mapShrinks(dir string) {
	check(os.Chdir(dir))
	check(os.WriteFile("s", numbered(40*pageBytes), 0o644))
	f := must(os.OpenFile("s", os.O_RDWR, 0))
	b := mapOf(f, 0, 64*pageBytes, readWrite)
	fmt.Println(reads(b, 40*pageBytes-1), reads(b, 40*pageBytes), reads(b, 63*pageBytes))
	for range 3 {
		check(f.Truncate(10*pageBytes + 5))
		fmt.Println(reads(b, 10*pageBytes), reads(b, 11*pageBytes+3), writes(b, 30*pageBytes), b[10*pageBytes+7])
		check(f.Truncate(20 * pageBytes))
		fmt.Println(reads(b, 19*pageBytes), b[12*pageBytes], writes(b, 20*pageBytes))
		check(f.Truncate(0))
		fmt.Println(reads(b, 0), writes(b, 1))
		check(os.WriteFile("s", numbered(40*pageBytes), 0o644))
		fmt.Printf("%s %s\n", b[39*pageBytes:][:7], reads(b, 40*pageBytes))
	}
	// A call is told, and not killed.
	check(f.Truncate(pageBytes))
	_, err := os.Stderr.Write(b[3*pageBytes:][:10])
	fmt.Println(errors.Is(err, syscall.EFAULT))
	_, err = f.ReadAt(b[3*pageBytes:][:10], 0)
	fmt.Println(errors.Is(err, syscall.EFAULT))
	check(unix.Munmap(b))
	check(errors.Join(f.Close(), os.Remove("s")))
}

// mapTalk shows a word of a mapping, and changes it, line by line.
func mapTalk(name string) {
	f := must(os.OpenFile(name, os.O_RDWR, 0))
	b := mapOf(f, 0, 1<<20, readWrite)
	in := bufio.NewScanner(os.Stdin)
	for in.Scan() {
		var at, n int
		var text string
		switch k, _ := fmt.Sscan(in.Text(), &at, &n, &text); k {
		case 2:
			what := reads(b, at)
			if what == "none" {
				what = string(b[at:][:n])
			}
			fmt.Println(what)
		case 3:
			fmt.Println(touched(b, func() { copy(b[at:], text) }))
		}
	}
}

// mapFull fills a file system, by a call and by a mapping of a hole.
func mapFull(dir string) {
	check(os.Chdir(dir))
	f := must(os.Create("hole"))
	check(f.Truncate(64 << 20))
	b := mapOf(f, 0, 64<<20, readWrite)
	const block = 32 << 20
	copy(b[block:], numbered(16*pageBytes))
	full := must(os.Create("full"))
	n, err := io.Copy(full, io.LimitReader(zeros{}, 64<<20))
	fmt.Println(n > 0 && n < 64<<20, errors.Is(err, syscall.ENOSPC))
	for i := 0; ; i += pageBytes {
		if what := writes(b, i); what != "none" {
			fmt.Println(what == fmt.Sprintf("fault at %d", i), i < 1<<20)
			break
		}
	}
	// One instruction that reads a page and writes its neighbour, which cannot be.
	check(unix.Fallocate(int(f.Fd()), unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, block+5*pageBytes, pageBytes))
	must(full.Write(make([]byte, pageBytes)))
	what := touched(b, func() { moveBytes(b[block+5*pageBytes:][:pageBytes], b[block+4*pageBytes:]) })
	fmt.Println(what == fmt.Sprintf("fault at %d", block+5*pageBytes), what)
	check(os.Truncate("full", 0))
	fmt.Println(writes(b, block+5*pageBytes), unix.Msync(b, unix.MS_SYNC))
	check(errors.Join(unix.Munmap(b), f.Close(), full.Close()))
	for _, name := range must(filepath.Glob("*")) {
		check(os.Remove(name))
	}
}

// moveBytes is REP MOVSB.
func moveBytes(to, from []byte)

type zeros struct{}

func (zeros) Read(b []byte) (int, error) { clear(b); b[0] = 1; return len(b), nil }
