// Command listens is ready when it listens, and then answers itself.
package main

import (
	"fmt"
	"io"
	"net"
	"os"
)

func main() {
	if err := listen(); err != nil {
		fmt.Fprintln(os.Stderr, "listens:", err)
		os.Exit(1)
	}
}

func listen() error {
	fmt.Println("before")
	l, err := net.Listen("tcp", "127.0.0.1:8080")
	if err != nil {
		return err
	}
	go func() {
		if c, err := l.Accept(); err == nil {
			io.WriteString(c, "after")
			c.Close()
		}
	}()
	c, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		return err
	}
	text, err := io.ReadAll(c)
	fmt.Println(string(text))
	return err
}
