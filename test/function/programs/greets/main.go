// Command greets answers a message that has a name: those of its machine, or natively
// the one that is its stdin, with its response on stdout.
package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
)

func main() {
	if err := serve(); err != nil {
		fmt.Fprintln(os.Stderr, "greets:", err)
		os.Exit(1)
	}
}

func greet(message []byte) ([]byte, error) {
	var who struct{ Name string }
	if err := json.Unmarshal(message, &who); err != nil {
		return nil, err
	}
	if who.Name == "" {
		return nil, errors.New("no name")
	}
	return []byte("hello " + who.Name + "\n"), nil
}
