package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

var (
	_ = add("locks", inTemp(locks))
	_ = add("mmap", inTemp(mmaps))
	_ = add("pipes", func([]string) { pipes() })
	_ = add("devices", func([]string) { devices() })
)

func locks() {
	a, b := must(os.Create("lock")), must(os.Open("lock"))
	check(syscall.Flock(int(a.Fd()), syscall.LOCK_EX))
	fmt.Println(syscall.Flock(int(b.Fd()), syscall.LOCK_SH|syscall.LOCK_NB))
	got := make(chan error)
	go func() { got <- syscall.Flock(int(b.Fd()), syscall.LOCK_EX) }()
	time.Sleep(5 * time.Millisecond)
	select {
	case err := <-got:
		fmt.Println("too early:", err)
	default:
	}
	check(syscall.Flock(int(a.Fd()), syscall.LOCK_UN))
	fmt.Println(<-got)
	check(b.Close())
	check(syscall.Flock(int(a.Fd()), syscall.LOCK_EX|syscall.LOCK_NB))
	lk := syscall.Flock_t{Type: syscall.F_WRLCK, Start: 10, Len: 5}
	check(syscall.FcntlFlock(a.Fd(), syscall.F_SETLK, &lk))
	check(syscall.FcntlFlock(a.Fd(), syscall.F_GETLK, &lk))
	fmt.Println(lk.Type == syscall.F_UNLCK)
	lk = syscall.Flock_t{Type: syscall.F_UNLCK}
	check(syscall.FcntlFlock(a.Fd(), syscall.F_SETLKW, &lk))
	check(a.Close())
}

func mmaps() {
	page := os.Getpagesize()
	check(os.WriteFile("m", bytes.Repeat([]byte("abcd"), page), 0o644))
	f := must(os.OpenFile("m", os.O_RDWR, 0))
	fd := int(f.Fd())
	shared := must(unix.Mmap(fd, 0, 4*page, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED))
	private := must(unix.Mmap(fd, int64(page), page, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE))
	read := must(unix.Mmap(fd, 0, 4*page, unix.PROT_READ, unix.MAP_SHARED))
	fmt.Printf("%q %q %q\n", shared[:6], private[:6], read[:6])
	copy(shared, "written")
	must(f.WriteAt([]byte("by write"), int64(2*page)))
	copy(private, "private")
	fmt.Printf("%q %q\n", read[:9], read[2*page:2*page+9])
	b := make([]byte, 8)
	must(f.ReadAt(b, 0))
	fmt.Printf("%q ", b)
	must(f.ReadAt(b, int64(page)))
	fmt.Printf("%q %q\n", b, private[:8])
	check(unix.Msync(shared, unix.MS_SYNC))
	check(unix.Madvise(read, unix.MADV_RANDOM))
	check(f.Truncate(int64(8 * page)))
	grown := must(unix.Mmap(fd, int64(4*page), 4*page, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED))
	grown[page] = 'g'
	must(f.ReadAt(b, int64(5*page)))
	fmt.Printf("%q\n", b)
	check(f.Close())
	shared[3] = '!'
	check(unix.Munmap(shared))
	fmt.Printf("%q %q\n", read[:9], must(os.ReadFile("m"))[:9])
	check(unix.Munmap(private))
	check(unix.Munmap(read))
	check(unix.Munmap(grown))
	anon := must(unix.Mmap(-1, 0, 1<<20, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON))
	anon[1<<19] = 1
	check(unix.Mprotect(anon, unix.PROT_READ))
	check(unix.Munmap(anon))
	_, err := unix.Mmap(99, 0, page, unix.PROT_READ, unix.MAP_SHARED)
	fmt.Println(err)
	_, err = unix.Mmap(must(unix.Open("m", unix.O_RDONLY, 0)), 0, page, unix.PROT_WRITE, unix.MAP_SHARED)
	fmt.Println(err)
}

func pipes() {
	r, w, err := os.Pipe()
	check(err)
	go func() {
		for i := range 1000 {
			fmt.Fprintf(w, "line %d\n", i)
		}
		must(w.Write(make([]byte, 300_000)))
		check(w.Close())
	}()
	fmt.Println(len(must(io.ReadAll(r))))
	check(r.Close())
	r, w, err = os.Pipe()
	check(err)
	check(r.SetReadDeadline(time.Now().Add(2 * time.Millisecond)))
	_, err = r.Read(make([]byte, 1))
	fmt.Println(err, errors.Is(err, os.ErrDeadlineExceeded))
	check(r.Close())
	_, err = w.Write([]byte("x"))
	fmt.Println(errors.Is(err, syscall.EPIPE))
	check(w.Close())
	check(syscall.Mkfifo("/tmp/cases-fifo", 0o600))
	go func() { check(os.WriteFile("/tmp/cases-fifo", []byte("through a fifo"), 0)) }()
	fmt.Printf("%q\n", must(os.ReadFile("/tmp/cases-fifo")))
	check(os.Remove("/tmp/cases-fifo"))
}

func devices() {
	null := must(os.OpenFile("/dev/null", os.O_RDWR, 0))
	fmt.Println(must(null.Write(make([]byte, 1000))), len(must(io.ReadAll(null))), must(null.Stat()).Mode())
	b := []byte("12345")
	must(io.ReadFull(must(os.Open("/dev/zero")), b))
	fmt.Println(b)
	must(io.ReadFull(must(os.Open("/dev/urandom")), b))
	must(io.ReadFull(must(os.Open("/dev/random")), b))
	fmt.Println(bytes.Equal(b, make([]byte, 5)))
	fmt.Println(must(os.Stat("/dev/zero")).Mode(), must(os.Stat("/tmp")).Mode())
	must(fmt.Fprintln(must(os.OpenFile("/dev/stdout", os.O_WRONLY, 0)), "by name"))
	_, err := os.Open("/dev/none")
	fmt.Println(err)
}
