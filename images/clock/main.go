// Command clock reads the time.
package main

import (
	"errors"
	"time"

	"github.com/pvrun/pvrun/images/internal/ops"
)

func main() { ops.Main(read) }

// read reads the wall clock and the monotonic one n times, as time.Now does.
func read(n int) error {
	last := time.Now()
	for range n {
		now := time.Now()
		if now.Before(last) {
			return errors.New("the time went back")
		}
		last = now
	}
	return nil
}
