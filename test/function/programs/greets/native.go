//go:build !pvrun

package main

import (
	"io"
	"os"
)

// serve links no server, which a process for one message has no use for.
func serve() error {
	message, err := io.ReadAll(os.Stdin)
	if err != nil {
		return err
	}
	response, err := greet(message)
	if err != nil {
		return err
	}
	_, err = os.Stdout.Write(response)
	return err
}
