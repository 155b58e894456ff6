// Command function does with package function what its messages say.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"syscall"
	"time"

	"github.com/pvrun/pvrun/function"
)

func main() {
	if err := function.Handle(answer); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	fmt.Println("ended")
}

func answer(ctx context.Context, message []byte) ([]byte, error) {
	switch string(message) {
	case "panic":
		panic("at once")
	case "fail":
		return []byte("ignored"), errors.New("no good")
	case "long":
		return make([]byte, function.MaxMessage+1), nil
	case "large":
		return make([]byte, function.MaxMessage), nil
	case "deadline":
		at, ok := ctx.Deadline()
		return fmt.Append(nil, ok && time.Until(at) > 0 && time.Until(at) < 10*time.Minute), nil
	case "done":
		<-ctx.Done()
		return nil, ctx.Err()
	case "goroutines":
		return fmt.Append(nil, runtime.NumGoroutine() < 10), nil
	case "identity":
		return fmt.Append(nil, function.Generation(), len(function.InstanceID()), function.InstanceID() == function.InstanceID()), nil
	case "end":
		return []byte("ending"), syscall.Kill(os.Getpid(), syscall.SIGTERM)
	}
	return message, nil
}
