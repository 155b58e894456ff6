// Command hostile is a function that does what its message says, such as what it must
// not. It uses /dev/function itself, to leave it at any moment.
package main

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// version is told by "version": argument or environment say which build this is to be.
var version = os.Getenv("VERSION") + strings.Join(os.Args[1:], " ")

var (
	remembered []string
	eaten      [][]byte
)

func main() {
	if version == "never" {
		time.Sleep(1000 * time.Hour) // is never ready
	}
	if version == "exit" {
		fmt.Fprintln(os.Stderr, "not today")
		os.Exit(3)
	}
	if version == "slow" {
		time.Sleep(time.Second)
	}
	for {
		if err := serve(); err != nil {
			fmt.Fprintln(os.Stderr, "hostile:", err)
			os.Exit(1)
		}
	}
}

func serve() error {
	f, err := os.OpenFile("/dev/function", os.O_RDWR, 0)
	if err != nil {
		return err
	}
	var head [24]byte
	if _, err := io.ReadFull(f, head[:]); err != nil {
		return err
	}
	message := make([]byte, binary.LittleEndian.Uint64(head[8:]))
	if _, err := io.ReadFull(f, message); err != nil {
		return err
	}
	command, arg, _ := strings.Cut(string(message), " ")
	if err := do(f, command, arg); err != nil {
		return err
	}
	return f.Close() // not deferred: one that panics is not to respond
}

func do(f *os.File, command, arg string) error {
	n, _ := strconv.Atoi(arg)
	switch command {
	case "panic":
		panic(arg)
	case "exit":
		os.Exit(n)
	case "kill":
		syscall.Kill(os.Getpid(), syscall.SIGKILL)
	case "null":
		*(*int)(nil) = 1
	case "spin":
		for n >= 0 {
			n &= 1
		}
	case "hang":
		time.Sleep(1000 * time.Hour)
	case "sleep":
		time.Sleep(time.Duration(n) * time.Millisecond)
	case "eat":
		eat()
	case "write":
		return write(n)
	case "say":
		fmt.Println(arg)
	case "early": // answers and is gone
		go func() { panic("after the answer") }()
	case "fail":
		const ioctl, functionFail = 16, 0x4670 // of the guest's kernel
		syscall.Syscall(ioctl, f.Fd(), functionFail, 0)
		f.WriteString(arg)
		return nil
	case "garbage":
		_, err := f.Write(bytes.Repeat([]byte{0, 0xff, 0xfe, '\r', '\n', '<'}, 1000))
		return err
	case "long":
		_, err := f.Write(make([]byte, n))
		return err
	case "remember":
		remembered = append(remembered, arg)
		_, err := fmt.Fprint(f, remembered)
		return err
	case "version":
		_, err := f.WriteString(version)
		return err
	}
	_, err := f.WriteString(command + " " + arg)
	return err
}

// eat takes memory until there is none.
func eat() {
	for {
		b := make([]byte, 1<<20)
		for i := range b {
			b[i] = 1
		}
		eaten = append(eaten, b)
	}
}

// write writes n MiB of lines.
func write(n int) error {
	line := []byte(strings.Repeat("x", 99) + "\n")
	chunk := bytes.Repeat(line, 640)
	for done := 0; done < n<<20; done += len(chunk) {
		if _, err := os.Stdout.Write(chunk); err != nil {
			return err
		}
	}
	return nil
}
