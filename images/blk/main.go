// Command blk reads, writes or syncs a disk.
package main

import (
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"strconv"
	"sync"
	"sync/atomic"

	"github.com/pvrun/pvrun/images/internal/ops"
)

// sequential is the size from which on transfers follow each other, in bytes.
const sequential = 1 << 20

// job is what the arguments say.
type job struct {
	f     *os.File
	kind  string
	bytes int
	depth int
	parts int64 // of the disk, of so many bytes
	next  atomic.Int64
}

func main() { ops.Main(work) }

func work(n int) error {
	j, err := parse(os.Args[2:])
	if err != nil {
		return err
	}
	defer j.f.Close()
	errs := make([]error, j.depth)
	var wg sync.WaitGroup
	for i := range j.depth {
		wg.Go(func() { errs[i] = j.run(int64(n), rand.New(rand.NewPCG(1, uint64(i)))) })
	}
	wg.Wait()
	return errors.Join(errs...)
}

// parse takes KIND, BYTES, DEPTH and perhaps FILE.
func parse(args []string) (*job, error) {
	if len(args) < 3 {
		return nil, errors.New("usage: blk OPERATIONS read|write|sync BYTES DEPTH [FILE]")
	}
	name := "/dev/vda"
	if len(args) > 3 {
		name = args[3]
	}
	j := &job{kind: args[0]}
	var err1, err2, err3 error
	j.bytes, err1 = strconv.Atoi(args[1])
	j.depth, err2 = strconv.Atoi(args[2])
	j.f, err3 = os.OpenFile(name, os.O_RDWR, 0)
	if err := errors.Join(err1, err2, err3); err != nil {
		return nil, err
	}
	size, err := j.f.Seek(0, io.SeekEnd)
	if err != nil {
		return nil, err
	}
	if j.bytes < 1 || size < int64(j.bytes) {
		return nil, fmt.Errorf("%s: %d bytes, less than one transfer", name, size)
	}
	j.parts = size / int64(j.bytes)
	return j, nil
}

// run does operations until all goroutines together have done n.
func (j *job) run(n int64, r *rand.Rand) error {
	b := make([]byte, j.bytes)
	for {
		i := j.next.Add(1) - 1
		if i >= n {
			return nil
		}
		part := i % j.parts
		if j.bytes < sequential {
			part = r.Int64N(j.parts)
		}
		if err := j.do(b, part*int64(j.bytes)); err != nil {
			return err
		}
	}
}

func (j *job) do(b []byte, off int64) error {
	switch j.kind {
	case "read":
		_, err := j.f.ReadAt(b, off)
		return err
	case "write":
		_, err := j.f.WriteAt(b, off)
		return err
	case "sync":
		if _, err := j.f.WriteAt(b, off); err != nil {
			return err
		}
		return j.f.Sync()
	}
	return fmt.Errorf("%q: must be read, write or sync", j.kind)
}
