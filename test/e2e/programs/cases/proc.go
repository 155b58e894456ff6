package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

var (
	_ = add("maps", inTemp(maps))
	_ = add("credentials", func([]string) { credentials() })
	_ = add("thread-names", func([]string) { threadNames() })
)

// mapped is a line of /proc/self/maps.
type mapped struct {
	start, end, offset uint64
	access, dev, ino   string
	name               string
}

// readMaps reads /proc/self/maps, whose lines are in ascending order.
func readMaps() (list []mapped) {
	last := uint64(0)
	for line := range bytes.Lines(must(os.ReadFile("/proc/self/maps"))) {
		f := strings.Fields(string(line))
		lo, hi, _ := strings.Cut(f[0], "-")
		m := mapped{
			start: must(strconv.ParseUint(lo, 16, 64)), end: must(strconv.ParseUint(hi, 16, 64)),
			offset: must(strconv.ParseUint(f[2], 16, 64)), access: f[1], dev: f[3], ino: f[4],
		}
		if m.name = strings.Join(f[5:], " "); m.start < last || m.end <= m.start {
			fmt.Printf("out of order: %s", line)
		}
		last = m.end
		list = append(list, m)
	}
	return list
}

// at is the line of an address; file names are shown without their folder.
func at(list []mapped, p unsafe.Pointer) mapped {
	for _, m := range list {
		if a := uint64(uintptr(p)); a >= m.start && a < m.end {
			if m.name != "" {
				m.name = filepath.Base(m.name)
			}
			return m
		}
	}
	return mapped{name: "nowhere"}
}

var (
	initialized = "data"
	escaped     any
)

func maps() {
	page := os.Getpagesize()
	check(os.WriteFile("a file", make([]byte, 3*page), 0o644))
	f := must(os.OpenFile("a file", os.O_RDWR, 0))
	b := must(unix.Mmap(int(f.Fd()), int64(page), 2*page, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED))
	check(f.Close())
	anon := must(unix.Mmap(-1, 0, 2*page, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON))
	check(unix.Mprotect(anon[page:], unix.PROT_NONE))
	exe, heap := must(os.Executable()), new([4]*int)
	escaped = heap

	list := readMaps()
	for _, m := range list {
		if m.name == exe {
			fmt.Println("program", m.access, m.offset%uint64(page), m.dev != "00:00", m.ino != "0")
		}
	}
	show := func(what string, m mapped) { fmt.Println(what, m.access, m.name != "", m.dev != "00:00", m.ino != "0") }
	show("text", at(list, reflect.ValueOf(maps).UnsafePointer()))
	show("constant", at(list, unsafe.Pointer(unsafe.StringData("constant"))))
	show("data", at(list, unsafe.Pointer(&initialized)))
	show("heap", at(list, unsafe.Pointer(heap)))
	show("readable", at(list, unsafe.Pointer(&anon[0])))
	show("unreadable", at(list, unsafe.Pointer(&anon[page])))
	m := at(list, unsafe.Pointer(&b[0]))
	fmt.Println("file", m.access, m.offset, m.end-m.start, m.name)
	check(os.Remove("a file"))
	fmt.Println("file", at(readMaps(), unsafe.Pointer(&b[0])).name)
	for _, m := range list {
		if m.name == "[stack]" {
			fmt.Println(m.name, m.access, m.offset, m.dev, m.ino)
		}
	}
}

// credentials starts as root and ends as somebody.
func credentials() {
	runtime.LockOSThread()
	raw := func(what string, nr uintptr, a, b, c uintptr) {
		r, _, e := unix.RawSyscall(nr, a, b, c)
		fmt.Println(what, int(r), e)
	}
	const no = ^uintptr(0)
	check(syscall.Setgroups([]int{30, 10, 20}))
	fmt.Println(must(syscall.Getgroups()))
	raw("getgroups", unix.SYS_GETGROUPS, 2, 0, 0)
	statusIDs()
	raw("setregid", unix.SYS_SETREGID, 5, 6, 0)
	raw("setfsgid", unix.SYS_SETFSGID, 7, 0, 0)
	raw("setfsgid", unix.SYS_SETFSGID, no, 0, 0)
	raw("setreuid", unix.SYS_SETREUID, no, 8, 0)
	statusIDs()
	raw("setfsuid", unix.SYS_SETFSUID, 9, 0, 0)
	raw("setgroups", unix.SYS_SETGROUPS, 0, 0, 0)
	raw("setgid", unix.SYS_SETGID, 10, 0, 0)
	raw("setuid", unix.SYS_SETUID, 9, 0, 0)
	raw("setuid", unix.SYS_SETUID, 0, 0, 0)
	raw("setuid", unix.SYS_SETUID, no, 0, 0)
	statusIDs()
	for _, nr := range []uintptr{unix.SYS_GETRESUID, unix.SYS_GETRESGID, unix.SYS_CAPGET, unix.SYS_CAPSET} {
		raw("bad pointers", nr, 8, 16, 24)
	}
	raw("bad pointers", unix.SYS_SETGROUPS, 4, 8, 0)
	raw("too many", unix.SYS_SETGROUPS, 1<<20, 8, 0)

	check(syscall.Setresgid(11, 12, 13))
	check(syscall.Setresuid(1, 2, 3))
	statusIDs()
	fmt.Println(os.Getuid(), os.Geteuid(), os.Getgid(), os.Getegid())
	var head unix.CapUserHeader
	fmt.Println(unix.Capget(&head, nil), head.Version == unix.LINUX_CAPABILITY_VERSION_3)
	var caps [2]unix.CapUserData
	check(unix.Capget(&head, &caps[0]))
	fmt.Println(caps)
	caps[0].Effective = 1
	fmt.Println(unix.Capset(&head, &caps[0]))
	fmt.Println(syscall.Setuid(4), syscall.Setuid(3), syscall.Setuid(0), syscall.Setreuid(-1, 1))
	fmt.Println(syscall.Setgid(0), syscall.Setregid(13, 12), syscall.Setresgid(11, -1, -1), syscall.Setgroups(nil))
	statusIDs()
}

// statusIDs shows what /proc says of the running thread, which /proc/self/task
// has, too.
func statusIDs() {
	for line := range bytes.Lines(must(os.ReadFile("/proc/thread-self/status"))) {
		if k, v, _ := strings.Cut(string(line), ":"); k == "Uid" || k == "Gid" || k == "Groups" {
			fmt.Printf("%s%q ", k, v)
		}
	}
	self := filepath.Base(must(os.Readlink("/proc/thread-self")))
	var names []string
	for _, e := range must(os.ReadDir("/proc/self/task")) {
		names = append(names, e.Name())
	}
	fmt.Println(slices.Contains(names, self), self == fmt.Sprint(unix.Gettid()))
}

func threadNames() {
	runtime.LockOSThread()
	show := func(err error) {
		var b [16]byte
		check(unix.Prctl(unix.PR_GET_NAME, uintptr(unsafe.Pointer(&b)), 0, 0, 0))
		fmt.Printf("%q %q %v\n", unix.ByteSliceToString(b[:]), must(os.ReadFile("/proc/thread-self/comm")), err)
	}
	for _, name := range []string{"short", "", "more than a name can hold"} {
		b := must(unix.BytePtrFromString(name))
		show(unix.Prctl(unix.PR_SET_NAME, uintptr(unsafe.Pointer(b)), 0, 0, 0))
	}
	show(unix.Prctl(unix.PR_SET_NAME, 8, 0, 0, 0))
	for _, op := range []int{unix.PR_GET_NAME, 9999} {
		_, err := unix.PrctlRetInt(op, 8, 0, 0, 0)
		fmt.Println(err)
	}
	for _, v := range []uintptr{1, 0, 2} {
		err := unix.Prctl(unix.PR_SET_KEEPCAPS, v, 0, 0, 0)
		fmt.Println(err, must(unix.PrctlRetInt(unix.PR_GET_KEEPCAPS, 0, 0, 0, 0)))
	}
	show(nil)
}
