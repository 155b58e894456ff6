package main

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

var (
	_ = add("disk", func(args []string) { disk(args[0]) })
	_ = add("disk-crowd", func(args []string) { diskCrowd(args[0]) })
	_ = add("disk-own", func(args []string) { diskOwn(args[0]) })
	_ = add("disk-read-only", func(args []string) { diskReadOnly(args[0]) })
	_ = add("disk-slow", func(args []string) { diskSlow(args[0]) })
	_ = add("disk-pairs", func(args []string) { diskPairs(args[0]) })
	_ = add("disk-busy", func(args []string) { diskBusy(args[0]) })
	_ = add("disk-errors", func(args []string) { diskErrors(args[0]) })
)

// pattern is n bytes that tell their own place.
func pattern(n int, seed byte) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i) ^ byte(i>>8) ^ seed
	}
	return b
}

// sum is what a whole disk holds, in short.
func sum(f *os.File) string {
	h := sha256.New()
	check2(io.Copy(h, io.NewSectionReader(f, 0, 1<<40)))
	return fmt.Sprintf("%x", h.Sum(nil)[:8])
}

func check2[T any](_ T, err error) { check(err) }

// disk does on a disk what can be done in a file of the same size too.
func disk(name string) {
	f := must(os.OpenFile(name, os.O_RDWR, 0))
	size := must(f.Seek(0, io.SeekEnd))
	fmt.Println(size, sum(f))
	for i, r := range []struct{ off, n int }{
		{0, 4096}, {512, 512}, {1, 1}, {511, 2}, {4095, 4098}, {100_000, 70_000}, {200_001, 3_000_001}, {1 << 20, 2 << 20}, {int(size) - 7, 7},
	} {
		b := pattern(r.n, byte(i))
		fmt.Print(must(f.WriteAt(b, int64(r.off))), " ")
		got := make([]byte, r.n)
		fmt.Print(must(f.ReadAt(got, int64(r.off))), " ", bytes.Equal(got, b), " ")
		fmt.Println(sum(f))
	}
	onStack(f)
	check(f.Sync())
	many := make([]byte, 5<<19) // several requests
	for range 25 {
		check2(f.ReadAt(many, 512))
	}
	vectors(f)
	_, err := f.ReadAt(make([]byte, 10), size-5)
	fmt.Println(err == io.EOF, must(f.Seek(1000, io.SeekStart)), must(f.Write([]byte("in a row"))), must(f.Seek(0, io.SeekCurrent)))
	check(unix.Fdatasync(int(f.Fd())))
	fmt.Println(sum(f))
	check(f.Close())
}

// onStack moves buffers that are on a stack, which moves.
func onStack(f *os.File) {
	var b, c [3000]byte
	for depth := range 3 {
		b[0], b[2999] = byte(depth), 7
		grow(depth * 20)
		must(unix.Pwrite(int(f.Fd()), b[:], int64(depth*10_000)))
		grow(depth * 40)
		must(unix.Pread(int(f.Fd()), c[:], int64(depth*10_000)))
		fmt.Println(b == c, uintptr(unsafe.Pointer(&b)) != 0)
	}
}

//go:noinline
func grow(n int) (x [1024]byte) {
	if n > 0 {
		x = grow(n - 1)
	}
	x[n]++
	return x
}

func vectors(f *os.File) {
	parts := [][]byte{pattern(100, 1), pattern(5000, 2), pattern(1, 3)}
	fmt.Println(must(unix.Pwritev(int(f.Fd()), parts, 33_333)))
	got := [][]byte{make([]byte, 2000), make([]byte, 3101)}
	fmt.Println(must(unix.Preadv(int(f.Fd()), got, 33_333)), bytes.Equal(bytes.Join(parts, nil), bytes.Join(got, nil)))
}

// diskCrowd has 200 goroutines at once, each with a part of its own that shares
// sectors with its neighbours'.
func diskCrowd(name string) {
	const part = 5001
	f := must(os.OpenFile(name, os.O_RDWR, 0))
	var wg sync.WaitGroup
	for i := range 200 {
		wg.Go(func() {
			got := make([]byte, part)
			for round := range 5 {
				b := pattern(part, byte(i+round))
				must(f.WriteAt(b, int64(i*part)))
				must(f.ReadAt(got, int64(i*part)))
				if !bytes.Equal(got, b) {
					fmt.Println("lost:", i, round)
				}
				if i%50 == 0 {
					check(f.Sync())
				}
			}
		})
	}
	wg.Wait()
	fmt.Println(sum(f))
}

// diskOwn is what only block devices do.
func diskOwn(name string) {
	f := must(os.OpenFile(name, os.O_RDWR|os.O_APPEND, 0))
	fd := int(f.Fd())
	st := must(f.Stat())
	var raw unix.Stat_t
	check(unix.Fstat(fd, &raw))
	fmt.Println(st.Mode(), st.Size(), unix.Major(raw.Rdev), unix.Minor(raw.Rdev))
	size := must(f.Seek(0, io.SeekEnd))
	buf := make([]byte, 8192)
	for _, c := range []struct {
		what string
		err  func() (int, error)
	}{
		{"append", func() (int, error) { return unix.Pwrite(fd, []byte("not at the end"), 7) }},
		{"end", func() (int, error) { return unix.Pwrite(fd, []byte("12345"), size-2) }},
		{"past", func() (int, error) { return unix.Pwrite(fd, []byte("12345"), size) }},
		{"read past", func() (int, error) { return unix.Pread(fd, buf, size) }},
		{"read end", func() (int, error) { return unix.Pread(fd, buf, size-2) }},
		{"truncate", func() (int, error) { return 0, unix.Ftruncate(fd, 0) }},
		{"allocate", func() (int, error) { return 0, unix.Fallocate(fd, 0, 0, 4096) }},
		{"punch", func() (int, error) {
			return 0, unix.Fallocate(fd, unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, 8192, 4096)
		}},
		{"zero", func() (int, error) { return 0, unix.Fallocate(fd, unix.FALLOC_FL_ZERO_RANGE, 0, 4096) }},
		{"zero across", func() (int, error) { return 0, unix.Fallocate(fd, unix.FALLOC_FL_ZERO_RANGE, size-4096, 8192) }},
		{"size", func() (int, error) { return unix.IoctlGetInt(fd, unix.BLKGETSIZE64) }},
		{"sector", func() (int, error) { return unix.IoctlGetInt(fd, unix.BLKSSZGET) }},
		{"read-only", func() (int, error) { return unix.IoctlGetInt(fd, unix.BLKROGET) }},
		{"flush", func() (int, error) { return 0, unix.IoctlSetInt(fd, unix.BLKFLSBUF, 0) }},
		{"discard", func() (int, error) { return 0, blockRange(fd, unix.BLKDISCARD, 4096, 4096) }},
		{"zero out", func() (int, error) { return 0, blockRange(fd, unix.BLKZEROOUT, 0, 8192) }},
		{"zero odd", func() (int, error) { return 0, blockRange(fd, unix.BLKZEROOUT, 1, 8192) }},
	} {
		n, err := c.err()
		fmt.Println(c.what, n, err)
	}
	must(f.ReadAt(buf, 0))
	fmt.Println(bytes.Count(buf, []byte{0}))
	_, err := os.ReadFile("/dev/null")
	fmt.Println(err, errors.Is(blockRange(1, unix.BLKZEROOUT, 0, 512), unix.ENOTTY))
	direct := must(os.OpenFile(name, os.O_RDWR|unix.O_DIRECT|unix.O_DSYNC, 0))
	_, err = direct.ReadAt(make([]byte, 100), 0)
	fmt.Println(err)
	check2(direct.WriteAt(make([]byte, 4096), 4096))
	check(direct.Close())
	check(f.Close())
}

func blockRange(fd int, request uint, off, n uint64) error {
	r := [2]uint64{off, n}
	if _, _, e := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), uintptr(request), uintptr(unsafe.Pointer(&r))); e != 0 {
		return e
	}
	return nil
}

func diskReadOnly(name string) {
	f := must(os.OpenFile(name, os.O_RDWR, 0))
	b := make([]byte, 512)
	check2(f.ReadAt(b, 0))
	_, err := f.WriteAt(b, 0)
	fmt.Println(err, b[0], f.Sync())
	fmt.Println(unix.Fallocate(int(f.Fd()), unix.FALLOC_FL_ZERO_RANGE, 0, 512))
	fmt.Println(must(unix.IoctlGetInt(int(f.Fd()), unix.BLKROGET)))
}

// diskSlow has one goroutine wait for a read that lasts until others have done
// their work: the disk answers it when it has seen theirs.
func diskSlow(name string) {
	f := must(os.OpenFile(name, os.O_RDWR, 0))
	slow := make(chan struct{})
	go func() {
		must(f.ReadAt(make([]byte, 4096), 0))
		close(slow)
	}()
	turns := 0
	for i := range 100 {
		check2(f.WriteAt(pattern(4096, byte(i)), int64(4096*(1+i%10))))
		select {
		case <-slow:
		default:
			turns++
		}
	}
	fmt.Println(turns)
	check2(f.WriteAt(make([]byte, 512), 1<<20-512)) // the sign
	<-slow
	fmt.Println("answered")
}

// diskErrors reads, writes and syncs where the disk says no.
func diskErrors(name string) {
	f := must(os.OpenFile(name, os.O_RDWR, 0))
	b := make([]byte, 4096)
	for off := int64(0); off < 4*4096; off += 4096 {
		_, err := f.ReadAt(b, off)
		_, err2 := f.WriteAt(b, off)
		fmt.Println(err, err2)
	}
	_, err := f.WriteAt(b[:100], 2*4096+50)
	fmt.Println(err, f.Sync(), f.Sync())
}

// diskPairs has two goroutines read, and no other, time and again: whoever takes the
// answers of both must not leave the other one waiting.
func diskPairs(name string) {
	f := must(os.Open(name))
	for range 300 {
		var wg sync.WaitGroup
		for g := range 2 {
			wg.Go(func() {
				b := make([]byte, 1<<20)
				for i := range 4 {
					must(f.ReadAt(b, int64((i+g)%4)<<20))
				}
			})
		}
		wg.Wait()
	}
	fmt.Println("all came back")
}

// diskBusy reads while a goroutine computes and never lets go by itself, after a
// read for which all had waited.
func diskBusy(name string) {
	f := must(os.Open(name))
	b := make([]byte, 1<<20)
	must(f.ReadAt(b, 0))
	go func() {
		for i := 0; ; i++ {
		}
	}()
	must(f.ReadAt(b, 0))
	time.Sleep(time.Millisecond)
	fmt.Println("had its turn")
}
