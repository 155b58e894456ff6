// Command threads hands a token from one thread to another and back.
package main

import (
	"runtime"

	"github.com/pvrun/pvrun/images/internal/ops"
)

func main() { ops.Main(pingPong) }

// pingPong makes n round trips. Both goroutines are locked to a thread, so that
// each hand-over is a switch of threads, with a futex, and not one of goroutines
// that the Go runtime does by itself.
func pingPong(n int) error {
	there, back := make(chan int), make(chan int)
	go func() {
		runtime.LockOSThread()
		for token := range there {
			back <- token
		}
		close(back)
	}()
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	for i := range n {
		there <- i
		<-back
	}
	close(there)
	<-back
	return nil
}
