package hv_test

import (
	"context"
	"fmt"
	"os"
	"time"

	"github.com/pvrun/pvrun/hv"
)

// One machine from an image that `pvrun build` made.
func Example() {
	vm, err := hv.New(hv.Config{
		Image: "hello.img", Args: []string{"hello"}, Memory: 64 << 20,
		Stdout: os.Stdout, Stderr: os.Stderr,
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer vm.Close()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	exit, err := vm.Run(ctx)
	fmt.Println(exit.Code, err, vm.Stats().Exits.Total)
}
