// Command exceptions dereferences nil and recovers from it.
package main

import (
	"errors"
	"fmt"
	"runtime"
	"strings"

	"github.com/pvrun/pvrun/images/internal/ops"
)

func main() { ops.Main(fault) }

// nothing is nil. That it could be changed keeps the compiler from knowing.
var nothing *int

func fault(n int) error {
	for range n {
		if _, err := dereference(); err == nil || !strings.Contains(err.Error(), "nil pointer") {
			return fmt.Errorf("dereferencing nil: got %v", err)
		}
	}
	return nil
}

// dereference reads through nil, which the processor finds out and the runtime
// turns into a panic.
func dereference() (v int, err error) {
	defer func() {
		var fault runtime.Error
		if e, _ := recover().(error); errors.As(e, &fault) {
			err = fault
		}
	}()
	return *nothing, nil
}
