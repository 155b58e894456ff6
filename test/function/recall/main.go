// Command recall is a function that tells what it remembers, and what it finds in its
// memory: what a life of a machine must not know of another.
package main

import (
	crand "crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"hash/maphash"
	"io"
	v1 "math/rand"
	"math/rand/v2"
	"os"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"syscall"
	"time"
	"unsafe"
)

const page = 4096

// memory is mapped when the program starts: pages to unmap, to protect, to write and to
// map anew.
var memory []byte

const pages = 64

var remembered []string

var start = time.Now()

// seeded is a generator that the program has seeded itself: no host can know of it.
var seeded = rand.New(rand.NewPCG(1, 2))

func main() {
	var err error
	memory, err = syscall.Mmap(-1, 0, pages*page, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_ANON|syscall.MAP_PRIVATE)
	if err != nil {
		panic(err)
	}
	for i := range memory[:pages/2*page] {
		memory[i] = byte(i >> 12)
	}
	debug.SetPanicOnFault(true)
	for {
		if err := serve(); err != nil {
			fmt.Fprintln(os.Stderr, "recall:", err)
			os.Exit(1)
		}
	}
}

func serve() error {
	f, err := os.OpenFile("/dev/function", os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	var head [24]byte
	if _, err := io.ReadFull(f, head[:]); err != nil {
		return err
	}
	message := make([]byte, binary.LittleEndian.Uint64(head[8:]))
	if _, err := io.ReadFull(f, message); err != nil {
		return err
	}
	_, err = f.WriteString(answer(strings.Fields(string(message))))
	return err
}

func answer(words []string) string {
	command, arg := words[0], ""
	if len(words) > 1 {
		arg = words[1]
	}
	n, _ := strconv.Atoi(arg)
	switch command {
	case "echo":
		return strings.Join(words[1:], " ")
	case "remember":
		remembered = append(remembered, arg)
		return fmt.Sprint(remembered)
	case "change":
		return change(arg)
	case "look":
		return look()
	case "use":
		return use(n)
	case "goroutines":
		for range n {
			go func() { select {} }()
		}
		return fmt.Sprint(runtime.NumGoroutine())
	case "zero":
		return zero(n)
	case "random":
		return strings.Join(random(), " ")
	case "clocks":
		return fmt.Sprint(time.Since(start).Nanoseconds(), time.Now().UnixNano())
	case "segments":
		return fmt.Sprintf("%#x", segments())
	case "name":
		name, _ := os.Hostname()
		return name
	}
	return "what is " + command + "?"
}

// segments are DS, ES, FS and GS as they were; they are another thing then.
func segments() (before uint64)

// random is a value of every kind of randomness, and the last of one that is none.
func random() (values []string) {
	var b [16]byte
	crand.Read(b[:])
	values = append(values, fmt.Sprintf("%x", b))
	for range 2 {
		values = append(values, fmt.Sprintf("%x%x", rand.Uint64(), rand.Uint64()), fmt.Sprintf("%x%x", v1.Uint64(), v1.Uint64()))
	}
	var h maphash.Hash
	h.WriteString("one")
	values = append(values, fmt.Sprintf("%x%x", h.Sum64(), maphash.String(maphash.MakeSeed(), "two")))
	m := map[int]bool{}
	for i := range 64 {
		m[i] = true
	}
	order := sha256.New()
	for i := range m {
		fmt.Fprint(order, i, " ")
	}
	values = append(values, fmt.Sprintf("%x", order.Sum(nil)[:16]))
	ids := make(chan string)
	for range 4 { // on other threads, perhaps
		go func() {
			runtime.LockOSThread()
			ids <- fmt.Sprintf("%x%x", rand.Uint64(), rand.Uint64())
		}()
		values = append(values, <-ids)
	}
	return append(values, fmt.Sprint(seeded.Uint64()))
}

// change does everything to the memory that calls can do.
func change(secret string) string {
	fill := func(b []byte) {
		for i := range b {
			b[i] = secret[i%len(secret)]
		}
	}
	fill(memory[:4*page])
	check := func(err error) {
		if err != nil {
			panic(err)
		}
	}
	at := uintptr(unsafe.Pointer(unsafe.SliceData(memory)))
	check(munmap(at+4*page, 4*page))
	check(syscall.Mprotect(memory[8*page:12*page], syscall.PROT_READ))
	check(syscall.Mprotect(memory[12*page:16*page], syscall.PROT_NONE))
	check(syscall.Madvise(memory[16*page:20*page], syscall.MADV_DONTNEED))
	check(mmapAt(at+20*page, 4*page))
	fill(memory[20*page : 24*page])
	fill(memory[pages/2*page:])
	for range 8 { // and what nobody had
		b, err := syscall.Mmap(-1, 0, 64*page, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_ANON|syscall.MAP_PRIVATE)
		check(err)
		fill(b)
	}
	return "changed"
}

func munmap(at, n uintptr) error {
	if _, _, errno := syscall.Syscall(syscall.SYS_MUNMAP, at, n, 0); errno != 0 {
		return errno
	}
	return nil
}

func mmapAt(at, n uintptr) error {
	_, _, errno := syscall.Syscall6(syscall.SYS_MMAP, at, n, syscall.PROT_READ|syscall.PROT_WRITE,
		syscall.MAP_ANON|syscall.MAP_PRIVATE|syscall.MAP_FIXED, ^uintptr(0), 0)
	if errno != 0 {
		return errno
	}
	return nil
}

// look tells whether the memory is as it was at first: readable, writable, with its
// contents.
func look() (result string) {
	at := 0
	defer func() {
		if r := recover(); r != nil {
			result = fmt.Sprintf("page %d: %v", at/page, r)
		}
	}()
	for ; at < len(memory); at++ {
		want := byte(0)
		if at < pages/2*page {
			want = byte(at >> 12)
		}
		if memory[at] != want {
			return fmt.Sprintf("page %d has %q", at/page, memory[at:at+16])
		}
		memory[at] = want
	}
	return "as it was"
}

// use takes n MiB of heap.
func use(n int) string {
	b := make([]byte, n<<20)
	for i := range b {
		b[i] = 1
	}
	return fmt.Sprint(len(b))
}

// zero maps n MiB and says whether they are zero.
func zero(n int) string {
	b, err := syscall.Mmap(-1, 0, n<<20, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_ANON|syscall.MAP_PRIVATE)
	if err != nil {
		return err.Error()
	}
	for i, c := range b {
		if c != 0 {
			return fmt.Sprintf("%q at %#x", b[i:i+16], i)
		}
	}
	return "zero"
}
