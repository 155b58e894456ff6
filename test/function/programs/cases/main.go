// Command cases does what its first argument says, or each message.
package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/pvrun/pvrun/function"
)

func main() {
	if err := start(append(os.Args[1:], "")[0]); err != nil {
		fmt.Fprintln(os.Stderr, "cases:", err)
		os.Exit(1)
	}
}

func start(word string) error {
	switch word {
	case "exit":
		fmt.Println("not asking")
		os.Exit(3)
	case "panic":
		panic("at the start")
	case "sleep":
		time.Sleep(time.Hour)
	case "spin":
		for {
		}
	case "call":
		return call()
	}
	return function.Handle(answer)
}

// call is ready and then like any program.
func call() error {
	caught := make(chan os.Signal, 1)
	signal.Notify(caught, syscall.SIGUSR1)
	fmt.Println("before")
	if err := function.Ready(); err != nil {
		return err
	}
	host, _ := os.Hostname()
	fmt.Println("after", function.InstanceID(), host, os.Getenv("COLOR"), os.Args[2:])
	for in := bufio.NewScanner(os.Stdin); in.Scan(); {
		switch in.Text() {
		case "spin":
			for {
			}
		case "signal":
			fmt.Println(<-caught)
		}
		fmt.Fprintln(os.Stderr, "read", in.Text())
	}
	os.Exit(5)
	return nil
}

var count int

func answer(ctx context.Context, message []byte) ([]byte, error) {
	word, rest, _ := bytes.Cut(message, []byte(" "))
	switch string(word) {
	case "echo":
		return rest, nil
	case "fail":
		return []byte("not this"), errors.New(string(rest))
	case "count":
		count++
		return strconv.AppendInt(nil, int64(count), 10), nil
	case "life":
		return fmt.Append(nil, function.InstanceID()), nil
	case "say":
		fmt.Println("to stdout")
		fmt.Fprintln(os.Stderr, "to stderr")
		return rest, nil
	case "args":
		return []byte(strings.Join(os.Args[1:], " ") + os.Getenv("COLOR")), nil
	case "deadline":
		<-ctx.Done()
		return nil, ctx.Err()
	}
	return nil, end(string(word))
}

// end does what no answer comes of.
func end(word string) error {
	switch word {
	case "exit":
		os.Exit(7)
	case "zero":
		os.Exit(0)
	case "panic":
		panic("at work")
	case "spin":
		for {
		}
	case "sleep":
		time.Sleep(time.Hour)
	case "kill":
		syscall.Kill(os.Getpid(), syscall.SIGKILL)
		time.Sleep(time.Hour)
	case "eat":
		for all := [][]byte{}; ; {
			all = append(all, bytes.Repeat([]byte("x"), 1<<20))
		}
	}
	return errors.New("there is no " + word)
}
