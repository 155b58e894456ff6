// Command works copies its input and its arguments.
package main

import (
	"fmt"
	"io"
	"os"
)

func main() {
	io.Copy(os.Stdout, os.Stdin)
	fmt.Println(os.Args[1:])
}
