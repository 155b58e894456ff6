// Command stamper fills a file or a disk with stamped sectors, by several
// goroutines at once, until it is ended. Each operation is synced, and then said.
//
//	stamper FILE WRITERS
package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"strconv"

	"github.com/pvrun/pvrun/test/durability/stamps"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "stamper:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) != 2 {
		return errors.New("usage: stamper FILE WRITERS")
	}
	writers, err := strconv.ParseUint(args[1], 10, 8)
	if err != nil {
		return err
	}
	f, err := os.OpenFile(args[0], os.O_RDWR|os.O_CREATE, 0o666)
	if err != nil {
		return err
	}
	failed := make(chan error)
	for w := range writers {
		go func() { failed <- stamp(f, w) }()
	}
	return <-failed
}

// stamp goes on where a writer was ended: what it did last is done again, since
// it may be there in part.
func stamp(f *os.File, writer uint64) error {
	n, err := last(f, writer)
	if err != nil {
		return err
	}
	for n = max(n, 1); ; n++ {
		o := stamps.Op{Writer: writer, N: n}
		first, _ := o.Run()
		if _, err := f.WriteAt(o.Bytes(), stamps.Offset(writer, first)); err != nil {
			return err
		}
		if err := f.Sync(); err != nil {
			return err
		}
		fmt.Printf("synced %d %d\n", writer, n)
		runtime.Gosched() // where no call waits, the others would never write
	}
}

// last is the last operation that a region shows, 0 for none.
func last(f *os.File, writer uint64) (uint64, error) {
	region := make([]byte, stamps.RegionSectors*stamps.Sector)
	// What the file does not have yet is zeros.
	if _, err := f.ReadAt(region, stamps.Offset(writer, 0)); err != nil && err != io.EOF {
		return 0, err
	}
	most := uint64(0)
	for i := range uint64(stamps.RegionSectors) {
		o, err := stamps.Read(region[i*stamps.Sector:][:stamps.Sector], writer, i)
		if err != nil {
			return 0, err
		}
		most = max(most, o.N)
	}
	return most, nil
}
