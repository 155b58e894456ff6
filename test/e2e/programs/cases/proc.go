package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strconv"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"
)

var _ = add("maps", inTemp(maps))

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
